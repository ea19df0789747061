//! RMSNorm on every head, then the rotary position embedding (Su et al., 2021) in the half-split form of GPT-NeoX and Qwen.
//!
//! Within a head, element `i` of the first half and element `i` of the second half turn together by `position * theta^(-2i/D)`.

/// Sizes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Params {
    /// Rows.
    pub rows: usize,
    /// Heads in a row.
    pub heads: usize,
    /// D: elements of a head.
    pub head_dim: usize,
    /// Base of the angles.
    pub theta: f32,
    /// The norm's epsilon.
    pub eps: f32,
}

/// Largest scaled error of an f32 kernel.
pub const TOLERANCE: f32 = 5e-6;

/// `[D / 2]` frequencies: `theta^(-2i/D)`, rounded to f32 where the reference implementation (transformers) rounds them, which at
/// thousands of positions is more than the rounding of everything else.
pub fn frequencies(theta: f32, head_dim: usize) -> Vec<f32> {
    let power = |i: usize| f64::from(theta).powf(2.0 * i as f64 / head_dim as f64) as f32;
    (0..head_dim / 2).map(|i| 1.0 / power(i)).collect()
}

/// Cosine and sine of `position * frequency`, the angle rounded to f32 as in the reference implementation.
pub fn turn(position: usize, frequency: f32) -> [f32; 2] {
    let angle = f64::from(position as f32 * frequency);
    [angle.cos() as f32, angle.sin() as f32]
}

/// x `[rows, heads * D]` in place, positions `[rows]`, w `[D]`.
pub fn twin(p: Params, x: &mut [f32], positions: &[u32], w: &[f32]) {
    let half = p.head_dim / 2;
    for (row, &position) in x.chunks_exact_mut(p.heads * p.head_dim).zip(positions).take(p.rows) {
        for head in row.chunks_exact_mut(p.head_dim) {
            let mean = head.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>() / p.head_dim as f64;
            let scale = 1.0 / (mean + f64::from(p.eps)).sqrt();
            let normed: Vec<f64> = head.iter().zip(w).map(|(&v, &w)| f64::from(v) * scale * f64::from(w)).collect();
            for i in 0..half {
                let angle = f64::from(position) * f64::from(p.theta).powf(-2.0 * i as f64 / p.head_dim as f64);
                let (sin, cos) = angle.sin_cos();
                head[i] = (normed[i] * cos - normed[i + half] * sin) as f32;
                head[i + half] = (normed[i + half] * cos + normed[i] * sin) as f32;
            }
        }
    }
}

/// Small and odd heads; positions are `7 * row` so that they are not the rows.
pub fn cases() -> Vec<Params> {
    [(1, 1, 2), (3, 2, 16), (5, 3, 34), (4, 8, 128)]
        .into_iter()
        .map(|(rows, heads, head_dim)| Params { rows, heads, head_dim, theta: 1e6, eps: 1e-6 })
        .collect()
}
