// Weights as they are: [N, K / 4] of four.
@group(1) @binding(2) var<storage, read> weights: array<vec4<f32>>;

fn values4(row: u32, k4: u32) -> vec4<f32> {
  return weights[row * params.inputs4 + k4];
}
