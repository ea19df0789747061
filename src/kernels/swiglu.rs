//! The gated activation of the feed-forward layer (Shazeer, 2020): `gate = gate / (1 + exp(-gate)) * up`.

/// Largest scaled error of an f32 kernel.
pub const TOLERANCE: f32 = 3e-6;

/// gate and up of equal length; the result is in gate.
pub fn twin(gate: &mut [f32], up: &[f32]) {
    for (g, &u) in gate.iter_mut().zip(up) {
        let x = f64::from(*g);
        *g = (x / (1.0 + (-x).exp()) * f64::from(u)) as f32;
    }
}

/// Lengths around vector edges.
pub fn cases() -> Vec<usize> {
    vec![1, 15, 16, 17, 96, 3072]
}
