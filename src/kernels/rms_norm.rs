//! Root mean square normalisation (Zhang and Sennrich, 2019): `y = x / sqrt(mean(x^2) + eps) * w`.

/// Sizes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Params {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub width: usize,
    /// Added to the mean square.
    pub eps: f32,
}

/// Largest scaled error of an f32 kernel.
pub const TOLERANCE: f32 = 3e-6;

/// x `[rows, width]`, w `[width]`, y `[rows, width]`.
pub fn twin(p: Params, x: &[f32], w: &[f32], y: &mut [f32]) {
    for (x, y) in x.chunks_exact(p.width).zip(y.chunks_exact_mut(p.width)).take(p.rows) {
        let mean = x.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>() / p.width as f64;
        let scale = 1.0 / (mean + f64::from(p.eps)).sqrt();
        for ((y, &x), &w) in y.iter_mut().zip(x).zip(w) {
            *y = (f64::from(x) * scale * f64::from(w)) as f32;
        }
    }
}

/// Odd widths and one row.
pub fn cases() -> Vec<Params> {
    [(1, 1), (1, 16), (3, 17), (5, 64), (2, 1024), (7, 1000)]
        .into_iter()
        .map(|(rows, width)| Params { rows, width, eps: 1e-6 })
        .collect()
}
