//! From the blocks of quantised files to quants, scales and least values, exactly: `w = q * scale + least`.
//!
//! The bit layouts are those of ggml (`ggml-common.h`, `ggml-quants.c`); a test compares every type with candle's dequantisers.

use half::f16;

use crate::weights::DType;

/// Inputs that share one scale in what [`decode`] gives: the smallest block of any type.
pub(super) const GROUP: usize = 16;

/// One group's scale and least value.
pub(super) type Scale = [f32; 2];

/// Quants of `bytes` (whole blocks of `dtype`) into `quants`, and for every [`GROUP`] of them a scale and a least value.
///
/// # Panics
/// For a type without blocks, or lengths that do not fit each other.
pub(super) fn decode(dtype: DType, bytes: &[u8], quants: &mut [i8], scales: &mut [Scale]) {
    let (len, size) = (dtype.block_len(), dtype.block_bytes());
    let blocks = bytes.chunks_exact(size).zip(quants.chunks_exact_mut(len)).zip(scales.chunks_exact_mut(len / GROUP));
    for ((b, q), s) in blocks {
        match dtype {
            DType::Q4_0 => {
                halves(&b[2..18], q);
                s.fill([half(b, 0), -8.0 * half(b, 0)]);
            }
            DType::Q4_1 => {
                halves(&b[4..20], q);
                s.fill([half(b, 0), half(b, 2)]);
            }
            DType::Q5_0 => {
                halves(&b[6..22], q);
                fifth_bits(&b[2..6], q);
                q.iter_mut().for_each(|q| *q -= 16);
                s.fill([half(b, 0), 0.0]);
            }
            DType::Q5_1 => {
                halves(&b[8..24], q);
                fifth_bits(&b[4..8], q);
                s.fill([half(b, 0), half(b, 2)]);
            }
            DType::Q8_0 => {
                q.iter_mut().zip(&b[2..]).for_each(|(q, &b)| *q = b.cast_signed());
                s.fill([half(b, 0), 0.0]);
            }
            DType::Q2K => q2_k(b, q, s),
            DType::Q3K => q3_k(b, q, s),
            DType::Q4K => {
                pairs(&b[16..144], q);
                scales_and_mins(b, s);
            }
            DType::Q5K => {
                pairs(&b[48..176], q);
                for (i, q) in q.iter_mut().enumerate() {
                    *q += ((b[16 + i % 32] >> (i / 32) & 1) << 4).cast_signed();
                }
                scales_and_mins(b, s);
            }
            DType::Q6K => q6_k(b, q, s),
            DType::F32 | DType::F16 | DType::BF16 => unreachable!("{} has no blocks", dtype.name()),
        }
    }
}

/// Where the halves of a block are, and the largest number that one of them is multiplied by to make a scale or a least value.
///
/// # Panics
/// For a type without blocks.
pub(super) fn halves_at(dtype: DType) -> (&'static [usize], f32) {
    match dtype {
        DType::Q4_0 | DType::Q5_0 | DType::Q8_0 => (&[0], 8.0),
        DType::Q4_1 | DType::Q5_1 => (&[0, 2], 1.0),
        DType::Q2K => (&[80, 82], 15.0),
        DType::Q3K => (&[108], 4.0 * 32.0),
        DType::Q4K | DType::Q5K => (&[0, 2], 63.0),
        DType::Q6K => (&[208], 128.0),
        DType::F32 | DType::F16 | DType::BF16 => unreachable!("{} has no blocks", dtype.name()),
    }
}

fn half(b: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([b[at], b[at + 1]]).to_f32()
}

/// 32 quants: the low half bytes first, then the high ones.
fn halves(bytes: &[u8], q: &mut [i8]) {
    for (i, &b) in bytes.iter().enumerate() {
        q[i] = (b & 15).cast_signed();
        q[i + 16] = (b >> 4).cast_signed();
    }
}

fn fifth_bits(bytes: &[u8], q: &mut [i8]) {
    for (i, q) in q.iter_mut().enumerate() {
        *q |= ((bytes[i / 8] >> (i % 8) & 1) << 4).cast_signed();
    }
}

/// 256 quants: every 32 bytes hold 32 low and then 32 high half bytes.
fn pairs(bytes: &[u8], q: &mut [i8]) {
    for (bytes, q) in bytes.chunks_exact(32).zip(q.chunks_exact_mut(64)) {
        for (i, &b) in bytes.iter().enumerate() {
            q[i] = (b & 15).cast_signed();
            q[i + 32] = (b >> 4).cast_signed();
        }
    }
}

/// The eight 6-bit scales and mins of Q4_K and Q5_K, for 32 quants each.
fn scales_and_mins(b: &[u8], s: &mut [Scale]) {
    let (d, dmin, packed) = (half(b, 0), half(b, 2), &b[4..16]);
    for (j, s) in s.chunks_exact_mut(2).enumerate() {
        let (scale, min) = if j < 4 {
            (packed[j] & 63, packed[j + 4] & 63)
        } else {
            (packed[j + 4] & 15 | packed[j - 4] >> 6 << 4, packed[j + 4] >> 4 | packed[j] >> 6 << 4)
        };
        s.fill([d * f32::from(scale), -dmin * f32::from(min)]);
    }
}

fn q2_k(b: &[u8], q: &mut [i8], s: &mut [Scale]) {
    let (scales, bits, d, dmin) = (&b[..16], &b[16..80], half(b, 80), half(b, 82));
    two_bits(bits, q);
    for (s, &packed) in s.iter_mut().zip(scales) {
        *s = [d * f32::from(packed & 15), -dmin * f32::from(packed >> 4)];
    }
}

fn q3_k(b: &[u8], q: &mut [i8], s: &mut [Scale]) {
    let (high, bits, packed, d) = (&b[..32], &b[32..96], &b[96..108], half(b, 108));
    two_bits(bits, q);
    for (i, q) in q.iter_mut().enumerate() {
        *q |= ((high[i % 32] >> (i / 32) & 1) << 2).cast_signed();
    }
    for (j, s) in s.iter_mut().enumerate() {
        let low = packed[j % 8] >> (j / 8 * 4) & 15;
        let top = packed[8 + j % 4] >> (j / 4 * 2) & 3;
        let scale = d * (f32::from(low | top << 4) - 32.0);
        *s = [scale, -4.0 * scale];
    }
}

/// 256 quants of two bits: every 32 bytes hold four times 32.
fn two_bits(bytes: &[u8], q: &mut [i8]) {
    for (i, q) in q.iter_mut().enumerate() {
        *q = (bytes[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3).cast_signed();
    }
}

fn q6_k(b: &[u8], q: &mut [i8], s: &mut [Scale]) {
    let (low, high, scales, d) = (&b[..128], &b[128..192], &b[192..208], half(b, 208));
    for (i, q) in q.iter_mut().enumerate() {
        let (part, i) = (i / 128, i % 128);
        let four = low[part * 64 + i % 64] >> (i / 64 * 4) & 15;
        let two = high[part * 32 + i % 32] >> (i / 32 * 2) & 3;
        *q = (four | two << 4).cast_signed() - 32;
    }
    for (s, &scale) in s.iter_mut().zip(scales) {
        *s = [d * f32::from(scale.cast_signed()), 0.0];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{BLOCK_TYPES, random_blocks};

    #[test]
    fn every_type_decodes_as_its_reference() {
        for dtype in BLOCK_TYPES {
            let len = 40 * dtype.block_len();
            let matrix = random_blocks(dtype, 1, len);
            let want = matrix.row(0);
            let (mut quants, mut scales) = (vec![0; len], vec![[0.0; 2]; len / GROUP]);
            decode(dtype, matrix.row_bytes(0), &mut quants, &mut scales);
            for (i, want) in want.into_iter().enumerate() {
                let [scale, least] = scales[i / GROUP];
                let got = f32::from(quants[i]) * scale + least;
                assert!((got - want).abs() <= want.abs() * 1e-6, "{} {i}: {got}, want {want}", dtype.name());
            }
        }
    }
}
