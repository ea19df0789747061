//! The kernels, each described once: its parameters, what it computes (the twin), how exact an implementation must be, and
//! the cases that every implementation is tried on.
//!
//! A twin takes what its kernel takes and sums in f64; it may be slow. The fast implementations live with the backends and are compared
//! with the twins over `cases()` lists.

pub mod attend;
pub mod head_norm_rope;
pub mod matmul;
pub mod quantize;
pub mod rms_norm;
pub mod row_max;
pub mod swiglu;

/// Deterministic values in -1..1 for kernel cases: a 64-bit linear congruential generator (Knuth's MMIX constants).
pub fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1 << 23) as f32) - 1.0
        })
        .collect()
}

/// The largest difference between two results, scaled by the larger of 1 and the expected magnitude, with its place.
pub fn worst(got: &[f32], want: &[f32]) -> (f32, usize) {
    assert_eq!(got.len(), want.len(), "results of different lengths");
    let error = |i: usize| {
        let (g, w) = (got[i], want[i]);
        let e = (g - w).abs() / w.abs().max(1.0);
        if e.is_nan() && !(g.is_nan() && w.is_nan()) { f32::INFINITY } else { e }
    };
    (0..got.len()).map(|i| (error(i), i)).fold((0.0, 0), |a, b| if b.0 > a.0 { b } else { a })
}
