//! `y = x W^T` or `y += x W^T`: rows of tokens times a weight matrix in its file's own type.

/// Sizes of one product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// Rows of x and y.
    pub rows: usize,
    /// Columns of x: inputs.
    pub inputs: usize,
    /// Columns of y: outputs, the rows of W.
    pub outputs: usize,
    /// Add to y instead of overwriting it.
    pub add: bool,
}

/// Largest scaled error of a kernel that multiplies f32 by f32: rounding of sums over a few thousand products.
pub const TOLERANCE: f32 = 3e-5;

/// Largest scaled error where products and sums of four are f16, for sums over a few hundred products of magnitude 1.
pub const TOLERANCE_F16: f32 = 2e-2;

/// x `[rows, inputs]`, w `[outputs, inputs]` unpacked, y `[rows, outputs]`.
pub fn twin(p: Params, x: &[f32], w: &[f32], y: &mut [f32]) {
    for r in 0..p.rows {
        for o in 0..p.outputs {
            let products = (0..p.inputs).map(|i| f64::from(x[r * p.inputs + i]) * f64::from(w[o * p.inputs + i]));
            let old = if p.add { f64::from(y[r * p.outputs + o]) } else { 0.0 };
            y[r * p.outputs + o] = (old + products.sum::<f64>()) as f32;
        }
    }
}

/// Sizes around every tile edge.
pub fn cases() -> Vec<Params> {
    let mut cases = Vec::new();
    for (rows, inputs, outputs) in [
        (1, 32, 1),
        (1, 256, 33),
        (5, 64, 32),
        (13, 96, 40),
        (12, 512, 64),
        (25, 544, 129),
        (64, 1024, 96),
        (3, 3072, 31),
    ] {
        for add in [false, true] {
            cases.push(Params { rows, inputs, outputs, add });
        }
    }
    cases
}
