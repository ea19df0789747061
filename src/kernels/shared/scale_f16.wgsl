// Scale and least value of a block as two halves, for file types that hold them as halves: [N, K / 4 / BLOCK4].
@group(1) @binding(3) var<storage, read> scales: array<u32>;

fn scale_least(row: u32, k4: u32) -> vec2<f32> {
  return unpack2x16float(scales[(row * params.inputs4 + k4) / BLOCK4]);
}
