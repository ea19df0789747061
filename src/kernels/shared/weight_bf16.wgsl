// bfloat16, the upper half of an f32: [N, K / 4] of four.
@group(1) @binding(2) var<storage, read> weights: array<vec2<u32>>;

fn values4(row: u32, k4: u32) -> vec4<f32> {
  let w = weights[row * params.inputs4 + k4];
  return bitcast<vec4<f32>>(vec4<u32>(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u));
}
