//! The kernels' bodies, generic over the register tile and over whether a fused multiply-add is one instruction.
// Tiles are walked by index: chains of iterators are not inlined into functions of other instruction sets.
#![allow(clippy::needless_range_loop)]

use super::{HeadTask, Target};

/// Inputs in one slice of the product.
pub(super) const DEPTH: usize = 256;
/// Lanes of a sum over a row: a fixed number, so that its rounding is the same on every instruction set of one kind.
const LANES: usize = 16;

#[inline(always)]
fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `MR x NR` sums over the depth of two packed panels.
#[inline(always)]
fn tile<const MR: usize, const NR: usize, const FMA: bool>(a: &[[f32; MR]], b: &[[f32; NR]]) -> [[f32; NR]; MR] {
    let mut sums = [[0.0; NR]; MR];
    for (a, b) in a.iter().zip(b) {
        for i in 0..MR {
            for j in 0..NR {
                sums[i][j] = fma::<FMA>(a[i], b[j], sums[i][j]);
            }
        }
    }
    sums
}

/// Packs up to `N` rows of `width` elements, `stride` apart, into `[width][N]`; absent rows are zeros.
#[inline(always)]
pub(super) fn pack<const N: usize>(rows: usize, width: usize, stride: usize, from: &[f32], to: &mut [f32]) {
    let to = &mut to.as_chunks_mut::<N>().0[..width];
    if rows < N {
        to.fill([0.0; N]);
    }
    // In squares, so that reads and writes both stay within a few cache lines.
    for start in (0..width).step_by(LANES) {
        let end = width.min(start + LANES);
        for r in 0..rows {
            for (to, &v) in to[start..end].iter_mut().zip(&from[r * stride + start..r * stride + end]) {
                to[r] = v;
            }
        }
    }
}

/// x packed in panels `[K][MR]`, some panels `[K][NR]` of W: writes (or adds) their columns of the product.
#[inline(always)]
pub(super) fn matmul<const MR: usize, const NR: usize, const FMA: bool>(
    depth: usize,
    x: &[f32],
    w: &[f32],
    target: &Target,
) {
    let x = x.as_chunks::<MR>().0;
    let w = w.as_chunks::<NR>().0;
    for start in (0..depth).step_by(DEPTH) {
        let end = depth.min(start + DEPTH);
        for (panel, column) in (0..target.columns).step_by(NR).enumerate() {
            let w = &w[panel * depth..][start..end];
            let columns = NR.min(target.columns - column);
            for (panel, row) in (0..target.rows).step_by(MR).enumerate() {
                let sums = tile::<MR, NR, FMA>(&x[panel * depth..][start..end], w);
                let rows = MR.min(target.rows - row);
                for (i, sums) in sums.iter().enumerate().take(rows) {
                    // SAFETY: every task has columns of its own; this is the only borrow of them here.
                    let out = unsafe { target.stripes.row(row + i, target.column + column, columns) };
                    if start > 0 || target.add {
                        out.iter_mut().zip(sums).for_each(|(o, s)| *o += s);
                    } else {
                        out.copy_from_slice(&sums[..columns]);
                    }
                }
            }
        }
    }
}

/// `MR x NR` sums over `depth` steps: `a[step * along + i * across]` times `b[step][j]`.
#[inline(always)]
fn strided_tile<const MR: usize, const NR: usize, const FMA: bool>(
    depth: usize,
    a: &[f32],
    [along, across]: [usize; 2],
    b: &[[f32; NR]],
) -> [[f32; NR]; MR] {
    assert!(depth > 0 && b.len() >= depth && a.len() > (depth - 1) * along + (MR - 1) * across, "a whole tile");
    let mut sums = [[0.0; NR]; MR];
    for (step, b) in b[..depth].iter().enumerate() {
        for i in 0..MR {
            // SAFETY: at most the index compared above.
            let a = unsafe { *a.get_unchecked(step * along + i * across) };
            for j in 0..NR {
                sums[i][j] = fma::<FMA>(a, b[j], sums[i][j]);
            }
        }
    }
    sums
}

/// The queries of one head over its keys, `NR` queries at a time: scores, softmax, weighted values. Queries lie across the lanes, so the softmax goes lane by lane, and
/// keys and values are taken row by row, as they are. `scratch` holds [`attend_scratch`] elements.
#[inline(always)]
pub(super) fn attend<const MR: usize, const NR: usize, const FMA: bool>(task: &HeadTask, scratch: &mut [f32]) {
    let d = task.head_dim;
    let (queries, scores) = scratch.as_chunks_mut::<NR>().0.split_at_mut(d.next_multiple_of(MR));
    let scale = 1.0 / (d as f32).sqrt();
    for start in (0..task.rows).step_by(NR) {
        let rows = NR.min(task.rows - start);
        // SAFETY: every task has rows and columns of its own; this is the only borrow of them here.
        let row = |r: usize| unsafe { task.queries.row(task.row + start + r, task.column, d) };
        queries.fill([0.0; NR]);
        for r in 0..rows {
            let query = row(r);
            for i in 0..d {
                queries[i][r] = query[i] * scale;
            }
        }
        // Keys that the last of these queries sees; the tile's last ones may be zeros.
        let seen = task.first + start + rows;
        let mut max = [f32::NEG_INFINITY; NR];
        for key in (0..seen).step_by(MR) {
            let sums = strided_tile::<MR, NR, FMA>(d, &task.keys[key * d..(key + MR) * d], [1, d], queries);
            for i in 0..MR.min(seen - key) {
                let hidden = (key + i).saturating_sub(task.first + start);
                let to = &mut scores[key + i];
                for j in 0..NR {
                    // Query j sees no key after its own.
                    to[j] = if j < hidden { f32::NEG_INFINITY } else { sums[i][j] };
                    max[j] = if to[j] > max[j] { to[j] } else { max[j] };
                }
            }
        }
        let mut sums = [0.0; NR];
        for score in &mut scores[..seen] {
            for j in 0..NR {
                score[j] = if score[j] == f32::NEG_INFINITY { 0.0 } else { exp::<FMA>(score[j] - max[j]) };
                sums[j] += score[j];
            }
        }
        for column in (0..d).step_by(MR) {
            let from = &task.values[column..];
            let products = strided_tile::<MR, NR, FMA>(seen, from, [d, 1], scores);
            for i in 0..MR.min(d - column) {
                for j in 0..NR {
                    queries[column + i][j] = products[i][j] / sums[j];
                }
            }
        }
        for r in 0..rows {
            let out = row(r);
            for i in 0..d {
                out[i] = queries[i][r];
            }
        }
    }
}

/// Elements of scratch that [`attend`] needs.
pub(super) const fn attend_scratch(mr: usize, nr: usize, head_dim: usize, keys: usize) -> usize {
    nr * (head_dim.next_multiple_of(mr) + keys)
}

/// The sum of `f` over a row, in lanes at fixed places.
#[inline(always)]
fn sum_of(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0.0; LANES];
    let (whole, tail) = row.as_chunks::<LANES>();
    for chunk in whole {
        for (sum, &v) in sums.iter_mut().zip(chunk) {
            *sum += f(v);
        }
    }
    for (sum, &v) in sums.iter_mut().zip(tail) {
        *sum += f(v);
    }
    sums.iter().sum()
}

/// `e^x` within 2 units in the last place for -87 <= x <= 88, clamped outside.
///
/// x is split into `n ln 2 + r` with |r| <= ln 2 / 2 (Cody and Waite's two-part ln 2); e^r is its Taylor polynomial of degree 7
/// and 2^n goes into the exponent.
#[inline(always)]
fn exp<const FMA: bool>(x: f32) -> f32 {
    /// Adding it leaves an integer in the low bits of the mantissa.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = fma::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<FMA>(n, -LN2_LOW, fma::<FMA>(n, -LN2_HIGH, x));
    let mut p = 1.0 / 5040.0;
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = fma::<FMA>(p, r, c);
    }
    let power = (shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits());
    p * f32::from_bits(power)
}

/// `gate = silu(gate) * up`.
#[inline(always)]
pub(super) fn swiglu<const FMA: bool>(gate: &mut [f32], up: &[f32]) {
    for (g, &u) in gate.iter_mut().zip(up) {
        *g = *g / (1.0 + exp::<FMA>(-*g)) * u;
    }
}

/// `y = x / rms(x) * w` for one row.
#[inline(always)]
pub(super) fn rms_norm(eps: f32, x: &[f32], w: &[f32], y: &mut [f32]) {
    let mean = sum_of(x, |v| v * v) / x.len() as f32;
    let scale = 1.0 / (mean + eps).sqrt();
    for ((y, &x), &w) in y.iter_mut().zip(x).zip(w) {
        *y = x * scale * w;
    }
}

/// RMSNorm of every head of one row, then its turn by the angles whose `[cos, sin]` halves are given.
#[inline(always)]
pub(super) fn head_norm_rope(eps: f32, row: &mut [f32], w: &[f32], [cos, sin]: [&[f32]; 2]) {
    let d = w.len();
    let (w_low, w_high) = w.split_at(d / 2);
    for head in row.chunks_exact_mut(d) {
        let mean = sum_of(head, |v| v * v) / d as f32;
        let scale = 1.0 / (mean + eps).sqrt();
        let (low, high) = head.split_at_mut(d / 2);
        for i in 0..d / 2 {
            let (a, b) = (low[i] * scale * w_low[i], high[i] * scale * w_high[i]);
            low[i] = a * cos[i] - b * sin[i];
            high[i] = b * cos[i] + a * sin[i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_keeps_its_bound() {
        for i in -87_000..=88_000 {
            let x = i as f32 / 1000.0;
            for got in [exp::<false>(x), exp::<true>(x)] {
                let want = f64::from(x).exp();
                let ulp = f64::from(f32::EPSILON) * want;
                assert!((f64::from(got) - want).abs() <= 2.0 * ulp, "exp({x}) = {got}, want {want}");
            }
        }
        assert!(exp::<false>(-1e30) < 1e-37 && exp::<false>(1e30) > 1e38);
    }
}
