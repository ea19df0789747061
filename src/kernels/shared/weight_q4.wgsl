// Half bytes, 0 to 15: [N, K / 8] of eight; w = q * scale + least. The low halves of a word's bytes are its first four inputs,
// the high halves the others.
@group(1) @binding(2) var<storage, read> weights: array<u32>;

fn quants4(row: u32, k4: u32) -> u32 {
  let at = row * params.inputs4 + k4;
  return (weights[at >> 1u] >> ((at & 1u) * 4u)) & 0x0f0f0f0fu;
}

fn values4(row: u32, k4: u32) -> vec4<f32> {
  return vec4<f32>((vec4<u32>(quants4(row, k4)) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(0xffu));
}
