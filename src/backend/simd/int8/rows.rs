//! Rows of x as codes.

use super::{BLOCK, Dot, Kernel};
use crate::backend::simd::Threads;

/// What one panel of x holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Shape {
    /// Inputs `K`.
    pub(super) inputs: usize,
    /// Inputs in a group of the weights.
    pub(super) group: usize,
    /// Whether the weights have least values.
    pub(super) least: bool,
}

impl Shape {
    /// Words of a panel: `[K / DEPTH][MR]` steps, `[K / 32][MR]` scales as f32, `[K / group][MR]` sides: the scaled sum of the
    /// group's codes as f32 for weights with least values, else where the row's sums start.
    fn words(self, depth: usize, mr: usize) -> usize {
        mr * (self.inputs / depth + self.inputs / BLOCK + self.inputs / self.group)
    }
}

/// Rows of x in panels of `MR`, for products with weights of one kind.
#[derive(Default)]
pub(in super::super) struct Rows {
    words: Vec<u32>,
    kind: Option<(&'static Kernel, Shape)>,
}

impl Rows {
    /// Quantises x `[rows, inputs]`.
    pub(in super::super) fn fill(&mut self, kernel: &'static Kernel, threads: &Threads, shape: Shape, x: &[f32]) {
        let (mr, rows, inputs) = (kernel.mr, x.len() / shape.inputs, shape.inputs);
        let panel = shape.words(kernel.depth, mr);
        self.words.resize(rows.div_ceil(mr) * panel, 0);
        self.kind = Some((kernel, shape));
        threads.each_piece(&mut self.words, panel, |i, words| {
            let x = &x[i * mr * inputs..(rows * inputs).min((i + 1) * mr * inputs)];
            // SAFETY: a kernel is reached only through an `Isa`, which exists only where its instructions do.
            unsafe { (kernel.quantize)(shape, x, words) }
        });
    }

    /// Whether products with these weights can take what is here.
    pub(in super::super) fn fits(&self, kernel: &'static Kernel, shape: Shape) -> bool {
        self.kind.is_some_and(|(k, s)| std::ptr::eq(k, kernel) && s == shape)
    }

    /// Rows of a panel.
    pub(in super::super) fn mr(&self) -> usize {
        self.kind.map_or(1, |(kernel, _)| kernel.mr)
    }

    /// The panels.
    pub(in super::super) fn panels(&self) -> impl Iterator<Item = &[u32]> {
        let (kernel, shape) = self.kind.expect("rows were packed");
        self.words.chunks_exact(shape.words(kernel.depth, kernel.mr))
    }
}

/// Adding it to a small number leaves that number, rounded, in the low bits.
const ROUND: f32 = 12_582_912.0;

/// Quantises up to `MR` rows into one panel: `code = round(x / scale)`, `scale = max |x| / INPUT_MOST` in each block. What is not a number or not
/// finite makes its block's scale so, and with it the product.
#[inline(always)]
pub(super) fn quantize<D: Dot, const MR: usize>(shape: Shape, x: &[f32], to: &mut [u32]) {
    let inputs = shape.inputs;
    if x.len() < MR * inputs {
        to.fill(0);
    }
    let (steps, rest) = to.split_at_mut(inputs / D::DEPTH * MR);
    let (scales, sides) = rest.split_at_mut(inputs / BLOCK * MR);
    for (r, row) in x.chunks_exact(inputs).enumerate() {
        let blocks = row.as_chunks::<BLOCK>().0.iter();
        let rows = steps.chunks_exact_mut(BLOCK / D::DEPTH * MR).zip(scales.chunks_exact_mut(MR));
        for ((x, (steps, scales)), sides) in blocks.zip(rows).zip(sides.chunks_exact_mut(BLOCK / shape.group * MR)) {
            let (scale, codes, sums) = block(x, D::INPUT_MOST);
            scales[r] = scale.to_bits();
            if D::DEPTH == 4 {
                // Loops over arrays: `map` on as many elements is not made into registers.
                let mut bytes = [0; BLOCK];
                for (byte, code) in bytes.iter_mut().zip(codes) {
                    *byte = (code + D::INPUT_OFFSET) as u8;
                }
                for (s, codes) in bytes.as_chunks().0.iter().enumerate() {
                    steps[s * MR + r] = u32::from_le_bytes(*codes);
                }
            } else {
                let mut words = [0; BLOCK / 2];
                for (word, [a, b]) in words.iter_mut().zip(codes.as_chunks().0) {
                    *word = (a & 0xffff).cast_unsigned() | b.cast_unsigned() << 16;
                }
                for (s, word) in words.into_iter().enumerate() {
                    steps[s * MR + r] = word;
                }
            }
            let side = |sum: i32| {
                if shape.least {
                    (scale * sum as f32).to_bits()
                } else {
                    (-i32::from(D::WEIGHT_OFFSET) * sum).cast_unsigned()
                }
            };
            if shape.group == BLOCK {
                sides[r] = side(sums[0] + sums[1]);
            } else {
                [sides[r], sides[MR + r]] = sums.map(side);
            }
        }
    }
}

/// A block's scale, its codes, and their sums over each half.
#[inline(always)]
fn block(x: &[f32; BLOCK], input_most: f32) -> (f32, [i32; BLOCK], [i32; 2]) {
    // As bits, so that a NaN is the largest of all.
    let mut most = 0;
    for v in x {
        most = most.max((v.to_bits() & 0x7fff_ffff).cast_signed());
    }
    let most = f32::from_bits(most.cast_unsigned());
    let inverse = if most > 0.0 { input_most / most } else { 0.0 };
    let mut codes = [0; BLOCK];
    for (code, v) in codes.iter_mut().zip(x) {
        // The low bits alone, for blocks that are no numbers, whose scale tells.
        *code = (v * inverse + ROUND).to_bits().wrapping_sub(ROUND.to_bits()).cast_signed() << 16 >> 16;
    }
    let mut sums = [0; 2];
    for (sum, codes) in sums.iter_mut().zip(codes.as_chunks::<16>().0) {
        for code in codes {
            *sum += code;
        }
    }
    (most * (1.0 / input_most), codes, sums)
}
