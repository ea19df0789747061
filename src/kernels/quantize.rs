//! Rows to bytes in blocks for products with 8-bit activations: `q = round(x / scale)`, `scale = max |x| / 127`.

/// Sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// Rows.
    pub rows: usize,
    /// Columns, whole blocks.
    pub width: usize,
    /// Elements of a block.
    pub block: usize,
}

/// Largest difference of a byte: where `x / scale` lies half way, rounding may fall either way.
pub const TOLERANCE: i8 = 1;

/// x `[rows, width]` to bytes `[rows, width]`, and for every block its scale and its scale * sum of bytes.
pub fn twin(p: Params, x: &[f32]) -> (Vec<i8>, Vec<[f32; 2]>) {
    let block = |x: &[f32]| {
        let scale = x.iter().fold(0.0, |most: f32, v| most.max(v.abs())) / 127.0;
        let bytes = x.iter().map(|v| if scale > 0.0 { (v / scale).round() as i8 } else { 0 });
        let bytes: Vec<i8> = bytes.collect();
        let sum: f32 = bytes.iter().map(|&q| f32::from(q)).sum();
        (bytes, [scale, scale * sum])
    };
    let (bytes, scales): (Vec<_>, Vec<_>) = x[..p.rows * p.width].chunks_exact(p.block).map(block).unzip();
    (bytes.concat(), scales)
}

/// Both block sizes, one block, more blocks than a workgroup has threads.
pub fn cases() -> Vec<Params> {
    [(1, 32, 32), (1, 32, 16), (5, 96, 32), (3, 3072, 16), (70, 64, 32)]
        .into_iter()
        .map(|(rows, width, block)| Params { rows, width, block })
        .collect()
}
