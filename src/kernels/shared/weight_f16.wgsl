// IEEE half precision, read without shader-f16: [N, K / 4] of four.
@group(1) @binding(2) var<storage, read> weights: array<vec2<u32>>;

fn values4(row: u32, k4: u32) -> vec4<f32> {
  let w = weights[row * params.inputs4 + k4];
  return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y));
}
