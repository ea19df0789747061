// Scale and least value of a block, for file types whose scales are products: [N, K / 4 / BLOCK4].
@group(1) @binding(3) var<storage, read> scales: array<vec2<f32>>;

fn scale_least(row: u32, k4: u32) -> vec2<f32> {
  return scales[(row * params.inputs4 + k4) / BLOCK4];
}
