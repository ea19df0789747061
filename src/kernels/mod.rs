//! The kernels, each described once: its parameters, what it computes (the twin), how exact an implementation must be, and
//! the cases that every implementation is tried on.
//!
//! A twin takes what its kernel takes and sums in f64; it may be slow. The fast implementations live with the backends and are compared
//! with the twins over `cases()` lists.

use crate::weights::{DType, Matrix};

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

/// The file types that hold their weights in blocks.
pub const BLOCK_TYPES: [DType; 10] = [
    DType::Q4_0,
    DType::Q4_1,
    DType::Q5_0,
    DType::Q5_1,
    DType::Q8_0,
    DType::Q2K,
    DType::Q3K,
    DType::Q4K,
    DType::Q5K,
    DType::Q6K,
];

/// `[rows, columns]` of random bits, but with scales that make weights of moderate size: those of k-quants are multiplied by small integers.
///
/// # Panics
/// For a type without blocks, or rows that hold no whole blocks.
pub fn random_blocks(dtype: DType, rows: usize, columns: usize) -> Matrix {
    let scales: &[usize] = match dtype {
        DType::Q4_0 | DType::Q5_0 | DType::Q8_0 => &[0],
        DType::Q4_1 | DType::Q5_1 | DType::Q4K | DType::Q5K => &[0, 2],
        DType::Q2K => &[80, 82],
        DType::Q3K => &[108],
        DType::Q6K => &[208],
        DType::F32 | DType::F16 | DType::BF16 => panic!("{} has no blocks", dtype.name()),
    };
    let len = rows * dtype.row_bytes(columns).expect("whole blocks");
    let mut bytes: Vec<u8> = noise(7, len).iter().map(|v| ((v + 1.0) * 127.9) as u8).collect();
    for block in bytes.chunks_exact_mut(dtype.block_bytes()) {
        for &at in scales {
            block[at + 1] = (block[at + 1] & 0x83) | if dtype.block_len() == 256 { 0x10 } else { 0x20 };
        }
    }
    Matrix::new(dtype, rows, columns, bytes.into()).expect("a length of whole rows")
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
