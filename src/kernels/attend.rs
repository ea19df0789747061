//! Causal attention of one sequence: a query at position p sees the keys at positions 0 to p.
//!
//! The keys and values come in two pieces, the shared prefix's and the sequence's own, so that the prefix is stored once for all
//! sequences. Query heads share key/value heads in groups (Ainslie et al., 2023).

/// Sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// Query rows, at consecutive positions.
    pub queries: usize,
    /// Position of the first query row.
    pub first: usize,
    /// Keys in the prefix.
    pub prefix: usize,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads.
    pub kv_heads: usize,
    /// D: elements of a head.
    pub head_dim: usize,
}

impl Params {
    /// Keys that the last query sees.
    pub fn keys(self) -> usize {
        self.first + self.queries
    }
}

/// Largest scaled error of an f32 kernel.
pub const TOLERANCE: f32 = 1e-5;

/// Largest scaled error of an f32 kernel on a GPU, whose exponentials are less exact.
pub const TOLERANCE_GPU: f32 = 5e-5;

/// q `[queries, heads * D]` in place; keys and values `[prefix, kv_heads * D]` and `[own, kv_heads * D]`.
pub fn twin(p: Params, q: &mut [f32], keys: [&[f32]; 2], values: [&[f32]; 2]) {
    let (width, group, d) = (p.kv_heads * p.head_dim, p.heads / p.kv_heads, p.head_dim);
    let row = |pieces: [&[f32]; 2], key: usize, kv: usize| -> Vec<f64> {
        let (piece, at) = if key < p.prefix { (pieces[0], key) } else { (pieces[1], key - p.prefix) };
        piece[at * width + kv * d..][..d].iter().map(|&v| f64::from(v)).collect()
    };
    for r in 0..p.queries {
        for h in 0..p.heads {
            let q = &mut q[(r * p.heads + h) * d..][..d];
            let scores: Vec<f64> = (0..=p.first + r)
                .map(|key| {
                    row(keys, key, h / group).iter().zip(&*q).map(|(k, &q)| k * f64::from(q)).sum::<f64>()
                        / (d as f64).sqrt()
                })
                .collect();
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
            let sum: f64 = weights.iter().sum();
            let mut out = vec![0.0; d];
            for (key, weight) in weights.iter().enumerate() {
                for (o, v) in out.iter_mut().zip(row(values, key, h / group)) {
                    *o += weight * v / sum;
                }
            }
            for (q, o) in q.iter_mut().zip(out) {
                *q = o as f32;
            }
        }
    }
}

/// One query, tile edges, queries in the middle of a sequence, with and without a prefix.
pub fn cases() -> Vec<Params> {
    let mut cases = Vec::new();
    for (queries, first, prefix) in
        [(1, 0, 0), (1, 40, 40), (5, 0, 0), (13, 3, 3), (33, 64, 64), (20, 31, 7), (70, 10, 10)]
    {
        for (heads, kv_heads, head_dim) in [(1, 1, 2), (4, 2, 16), (6, 2, 34), (2, 1, 128)] {
            cases.push(Params { queries, first, prefix, heads, kv_heads, head_dim });
        }
    }
    cases
}
