// Signed bytes: [N, K / 4] of four; w = q * scale + least.
@group(1) @binding(2) var<storage, read> weights: array<u32>;

fn quants4(row: u32, k4: u32) -> u32 {
  return weights[row * params.inputs4 + k4];
}

fn values4(row: u32, k4: u32) -> vec4<f32> {
  return vec4<f32>(vec4<i32>(vec4<u32>(quants4(row, k4)) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
}
