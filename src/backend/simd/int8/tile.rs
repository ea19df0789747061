//! The register tile.
// Tiles are walked by index: chains of iterators are not inlined into functions of other instruction sets.
#![allow(clippy::needless_range_loop)]

use std::hint::black_box;

use super::{BLOCK, Dot};

/// `NR` columns of W, ready to multiply.
pub(super) struct WeightPanel<'a> {
    /// `[K / DEPTH][NR][DEPTH]` codes.
    pub(super) codes: &'a [u8],
    /// `[K / GROUP][NR]`
    pub(super) scales: &'a [f32],
    /// `[K / GROUP][NR]`, or nothing where all are 0.
    pub(super) least: &'a [f32],
    /// `[K / GROUP][NR]` where the columns' sums start, or nothing where the rows say it.
    pub(super) starts: &'a [i32],
}

/// Products of a panel of x (see [`super::rows`]) and a panel of W over `inputs` inputs: `[MR][NV * LANES]` into `out`.
///
/// # Safety
/// The instructions of `D` exist.
#[inline(always)]
pub(super) unsafe fn tile<D: Dot, const MR: usize, const NV: usize, const GROUP: usize, const LEAST: bool>(
    inputs: usize,
    x: &[u32],
    w: &WeightPanel,
    out: &mut [f32],
) {
    let nr = NV * D::LANES;
    let (groups, blocks) = (inputs / GROUP, inputs / BLOCK);
    let (codes, rest) = x.split_at(inputs / D::DEPTH * MR);
    let (row_scales, row_sides) = rest.split_at(blocks * MR);
    assert!(inputs.is_multiple_of(BLOCK) && row_sides.len() == groups * MR && out.len() == MR * nr, "panels of x");
    assert!(w.codes.len() == inputs * nr && w.scales.len() == groups * nr, "panels of W");
    assert!(!LEAST || w.least.len() == groups * nr);
    assert!(D::INPUT_OFFSET == 0 || LEAST || w.starts.len() == groups * nr);
    // SAFETY: the caller promises the instructions; every pointer below stays in its slice by the lengths just compared.
    unsafe {
        let (mut x, mut scale_x, mut side) = (codes.as_ptr(), row_scales.as_ptr().cast::<f32>(), row_sides.as_ptr());
        let (mut codes, mut scale_w, mut least) = (w.codes.as_ptr(), w.scales.as_ptr(), w.least.as_ptr());
        let mut starts = w.starts.as_ptr();
        // Where registers are few, the f32 sums stay in memory while a group's sums need them. There the compiler must see neither the
        // number of steps nor what `to` is, or it unrolls the steps and takes the registers back.
        let hide = D::FLOATS_IN_MEMORY;
        let steps = if hide { black_box(GROUP / D::DEPTH) } else { GROUP / D::DEPTH };
        out.fill(0.0);
        let mut floats = [[D::splat(0.0); NV]; MR];
        for group in 0..groups {
            let mut sums = [[D::zero(); NV]; MR];
            if !LEAST {
                for i in 0..MR {
                    for v in 0..NV {
                        sums[i][v] = D::start(side.add(i).cast(), starts.wrapping_add(v * D::LANES));
                    }
                }
            }
            for _ in 0..steps {
                let mut weights = [D::weights(codes); NV];
                for v in 1..NV {
                    weights[v] = D::weights(codes.add(v * D::LANES * D::DEPTH));
                }
                for i in 0..MR {
                    let inputs = D::inputs(x.add(i));
                    for v in 0..NV {
                        sums[i][v] = D::dot(sums[i][v], weights[v], inputs);
                    }
                }
                x = x.add(MR);
                codes = codes.add(nr * D::DEPTH);
            }
            let to = if hide { black_box(out.as_mut_ptr()) } else { out.as_mut_ptr() };
            for v in 0..NV {
                let scale = D::load(scale_w.add(v * D::LANES));
                for i in 0..MR {
                    let at = to.add(i * nr + v * D::LANES);
                    let mut float = if hide { D::load(at) } else { floats[i][v] };
                    if LEAST {
                        let least = D::load(least.add(v * D::LANES));
                        float = D::mul_add(least, D::splat(*side.add(i).cast()), float);
                    }
                    let product = D::mul(D::floats(sums[i][v]), scale);
                    float = D::mul_add(product, D::splat(*scale_x.add(i)), float);
                    if hide {
                        D::store(float, at);
                    } else {
                        floats[i][v] = float;
                    }
                }
            }
            scale_w = scale_w.add(nr);
            least = least.wrapping_add(nr);
            starts = starts.wrapping_add(nr);
            side = side.add(MR);
            if ((group + 1) * GROUP).is_multiple_of(BLOCK) {
                scale_x = scale_x.add(MR);
            }
        }
        if hide {
            return;
        }
        for i in 0..MR {
            for v in 0..NV {
                D::store(floats[i][v], out.as_mut_ptr().add(i * nr + v * D::LANES));
            }
        }
    }
}

/// Halves, times `unit * 2^-112`. Numbers below the least normal half are exact too.
#[inline(always)]
pub(super) fn widen(unit: f32, halves: &[u8], to: &mut [f32]) {
    let halves = halves.as_chunks::<2>().0;
    assert_eq!(halves.len(), to.len());
    for i in 0..to.len() {
        let bits = u32::from(u16::from_le_bytes(halves[i]));
        to[i] = f32::from_bits((bits & 0x8000) << 16 | (bits & 0x7fff) << 13) * unit;
    }
}

/// 32 bytes hold 32 codes in their low halves and the next 32 in their high ones; `add` is added to each.
#[inline(always)]
pub(super) fn spread(add: u8, bytes: &[u8], to: &mut [u8]) {
    let (bytes, to) = (bytes.as_chunks::<32>().0, to.as_chunks_mut::<64>().0);
    assert_eq!(bytes.len(), to.len());
    for i in 0..to.len() {
        for j in 0..32 {
            to[i][j] = (bytes[i][j] & 15).wrapping_add(add);
            to[i][j + 32] = (bytes[i][j] >> 4).wrapping_add(add);
        }
    }
}

/// The tile's steps alone, `repeats` times over; see [`super::Kernel::ceiling`].
///
/// # Safety
/// The instructions of `D` exist.
#[inline(always)]
pub(super) unsafe fn peak<D: Dot, const MR: usize, const NV: usize>(
    repeats: usize,
    inputs: usize,
    x: &[u32],
    w: &[u8],
) -> i32 {
    let nr = NV * D::LANES;
    assert!(x.len() == inputs / D::DEPTH * MR && w.len() == inputs * nr, "whole panels");
    let mut out = 0;
    // SAFETY: as in `tile`; the sums are read back as the numbers of 32 bits that they are.
    unsafe {
        let mut sums = [[D::zero(); NV]; MR];
        for _ in 0..repeats {
            let (mut x, mut codes) = (x.as_ptr(), w.as_ptr());
            for _ in 0..inputs / D::DEPTH {
                let mut weights = [D::weights(codes); NV];
                for v in 1..NV {
                    weights[v] = D::weights(codes.add(v * D::LANES * D::DEPTH));
                }
                for i in 0..MR {
                    let inputs = D::inputs(x.add(i));
                    for v in 0..NV {
                        sums[i][v] = D::dot(sums[i][v], weights[v], inputs);
                    }
                }
                x = x.add(MR);
                codes = codes.add(nr * D::DEPTH);
            }
        }
        for sums in sums.as_flattened() {
            out ^= std::ptr::from_ref(sums).cast::<i32>().read();
        }
    }
    out
}
