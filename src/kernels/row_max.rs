//! The largest magnitude of every row: what brings rows into the range of f16 before a product in it.

/// Sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// Rows.
    pub rows: usize,
    /// Columns, a multiple of 4.
    pub width: usize,
}

/// It is one of the row's own values.
pub const TOLERANCE: f32 = 0.0;

/// x `[rows, width]` to `[rows]`.
pub fn twin(p: Params, x: &[f32]) -> Vec<f32> {
    let most = |row: &[f32]| row.iter().fold(0.0, |most: f32, v| most.max(v.abs()));
    x[..p.rows * p.width].chunks_exact(p.width).map(most).collect()
}

/// Fewer columns than threads, and more.
pub fn cases() -> Vec<Params> {
    [(1, 4), (3, 100), (5, 3072)].into_iter().map(|(rows, width)| Params { rows, width }).collect()
}
