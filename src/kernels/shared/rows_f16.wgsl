// Halves end at 65,504: rows of x are brought to 1 at the most before they become halves, and their products back afterwards.
@group(1) @binding(1) var<storage, read> x_scales: array<f32>; // [rows] largest magnitudes

fn row_scale(row: u32) -> f32 {
  return max(x_scales[row], 1e-30);
}
