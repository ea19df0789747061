//! Rows of x as codes.
// Tiles are walked by index: chains of iterators are not inlined into functions of other instruction sets.
#![allow(clippy::needless_range_loop)]

use std::hint::black_box;

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
// Loops of a length that the compiler does not see, since it unrolls those that it sees, and then finds no vectors in them.
#[inline(always)]
pub(super) fn quantize<D: Dot, const MR: usize>(shape: Shape, x: &[f32], to: &mut [u32]) {
    let (blocks, length) = (shape.inputs / BLOCK, black_box(BLOCK));
    let rows = x.len() / shape.inputs;
    if rows < MR {
        to.fill(0);
    }
    let (steps, rest) = to.split_at_mut(shape.inputs / D::DEPTH * MR);
    let (scales, sides) = rest.split_at_mut(blocks * MR);
    let x = x.as_chunks::<BLOCK>().0;
    let side = |scale: f32, sum: i32| {
        if shape.least { (scale * sum as f32).to_bits() } else { (-i32::from(D::WEIGHT_OFFSET) * sum).cast_unsigned() }
    };
    for r in 0..rows {
        for b in 0..blocks {
            let x = &x[r * blocks + b][..length];
            // As bits, so that a NaN is the largest of all.
            let mut most = 0;
            for i in 0..length {
                most = most.max((x[i].to_bits() & 0x7fff_ffff).cast_signed());
            }
            let most = f32::from_bits(most.cast_unsigned());
            let inverse = if most > 0.0 { D::INPUT_MOST / most } else { 0.0 };
            let mut codes = [0i16; BLOCK];
            for i in 0..length {
                codes[i] = (x[i] * inverse + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i16;
            }
            let mut sums = [0; 2];
            for i in 0..length / 2 {
                sums[0] += i32::from(codes[i]);
                sums[1] += i32::from(codes[BLOCK / 2 + i]);
            }
            let mut words = [0u32; BLOCK / 2];
            if D::DEPTH == 4 {
                let mut bytes = [0u8; BLOCK];
                for i in 0..length {
                    bytes[i] = (codes[i] + D::INPUT_OFFSET) as u8;
                }
                for s in 0..BLOCK / 4 {
                    words[s] = u32::from_le_bytes(bytes.as_chunks().0[s]);
                }
            } else {
                for s in 0..BLOCK / 2 {
                    words[s] =
                        u32::from(codes[2 * s].cast_unsigned()) | u32::from(codes[2 * s + 1].cast_unsigned()) << 16;
                }
            }
            let count = BLOCK / D::DEPTH;
            let steps = &mut steps[b * count * MR..(b + 1) * count * MR];
            for s in 0..count {
                steps[s * MR + r] = words[s];
            }
            let scale = most * (1.0 / D::INPUT_MOST);
            scales[b * MR + r] = scale.to_bits();
            if shape.group < BLOCK {
                sides[2 * b * MR + r] = side(scale, sums[0]);
                sides[(2 * b + 1) * MR + r] = side(scale, sums[1]);
            } else {
                sides[b * MR + r] = side(scale, sums[0] + sums[1]);
            }
        }
    }
}
