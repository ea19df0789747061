// Weights that are their own values.
fn scale_least(row: u32, k4: u32) -> vec2<f32> {
  return vec2<f32>(1.0, 0.0);
}
