//! Weights as codes, in panels of columns: made once when a model loads.

use std::ops::Range;

use half::f16;

use super::{Kernel, Kernels, WeightPanel};
use crate::{
    backend::{
        blocks::{self, GROUP},
        simd::Threads,
    },
    error::{Error, ErrorKind, Result},
    weights::{DType, Matrix},
};

/// A cache line: panels start at one, so that no load of a register crosses two.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// A quantised matrix `[rows, columns]`, whose rows are the product's columns.
///
/// A panel holds, each part from a line of its own: codes `[K / DEPTH][NR][DEPTH]`, as bytes or, for types of at most 4 bits, two to a byte; scales, least values and
/// sums of codes `[K / group][NR]` of 16 bits, where the type and the kernel have them. A scale is half-precision times a power of two that is the
/// matrix's own: those of types without sub-blocks are kept exactly, those of k-quants (products of a half and a small integer) within 2^-11.
pub(in super::super) struct Panels {
    kernel: &'static Kernel,
    rows: usize,
    layout: Layout,
    /// Added to codes of half a byte.
    offset: u8,
    /// Turns a half's bits, moved to an f32's mantissa, into the scale.
    unit: f32,
    lines: Vec<Line>,
}

/// Where the parts of a panel are.
#[derive(Clone, Copy)]
struct Layout {
    inputs: usize,
    group: usize,
    nr: usize,
    /// Two codes to a byte.
    nibbles: bool,
    least: bool,
    /// Sums of codes, for kernels whose sums start at the columns'.
    sums: bool,
}

impl Layout {
    fn codes(self) -> usize {
        self.inputs * self.nr
    }

    fn scales(self) -> usize {
        self.inputs / self.group * self.nr
    }

    /// Byte ranges of codes, scales, least values and sums.
    fn parts(self) -> [Range<usize>; 4] {
        let mut end = 0;
        let halves = 2 * self.scales();
        let codes = self.codes() / if self.nibbles { 2 } else { 1 };
        [codes, halves, if self.least { halves } else { 0 }, if self.sums { halves } else { 0 }].map(|len| {
            let start = end;
            end = (start + len).next_multiple_of(size_of::<Line>());
            start..start + len
        })
    }

    fn panel_bytes(self) -> usize {
        self.parts()[3].end.next_multiple_of(size_of::<Line>())
    }
}

/// How a type's weights become codes.
struct Coding {
    /// Inputs that share a scale.
    group: usize,
    /// The quant that stands for 0; none where groups have a least value.
    zero: Option<i8>,
    /// Bits of a code.
    bits: u32,
}

impl Coding {
    fn of(dtype: DType) -> Option<Self> {
        let (group, zero, bits) = match dtype {
            DType::Q4_0 => (32, Some(8), 4),
            DType::Q4_1 | DType::Q4K => (32, None, 4),
            DType::Q5_0 => (32, Some(0), 5),
            DType::Q5_1 | DType::Q5K => (32, None, 5),
            DType::Q8_0 => (32, Some(0), 8),
            DType::Q2K => (16, None, 2),
            DType::Q3K => (16, Some(4), 3),
            DType::Q6K => (16, Some(0), 6),
            DType::F32 | DType::F16 | DType::BF16 => return None,
        };
        Some(Self { group, zero, bits })
    }
}

/// Codes, scales and the rest of some columns, ready for a kernel; reused from task to task.
#[derive(Default)]
pub(in super::super) struct Unpacked {
    codes: Vec<u8>,
    scales: Vec<f32>,
    least: Vec<f32>,
    starts: Vec<i32>,
}

impl Panels {
    /// Packs a quantised matrix; none for one of floats.
    ///
    /// # Errors
    /// `oom` without memory for it, `bad-model` if a scale is not finite.
    pub(in super::super) fn new(kernels: Kernels, threads: &Threads, matrix: &Matrix) -> Result<Option<Self>> {
        let Some(coding) = Coding::of(matrix.dtype()) else { return Ok(None) };
        let kernel = kernels[usize::from(coding.bits > 7)];
        let layout = Layout {
            inputs: matrix.columns(),
            group: coding.group,
            nr: kernel.nr,
            nibbles: coding.bits <= 4,
            least: coding.zero.is_none(),
            sums: kernel.input_offset != 0,
        };
        let panel = layout.panel_bytes() / size_of::<Line>();
        let len = matrix.rows().div_ceil(layout.nr) * panel;
        let mut lines = zeroed(len).ok_or_else(|| {
            Error::new(ErrorKind::OutOfMemory, format!("no memory for {} bytes of weights", len * size_of::<Line>()))
                .hint("use a smaller model or a smaller quantisation of it")
        })?;
        let exponent = exponent(matrix)?;
        // Where a symmetric type has its 0, and where the kernel wants it.
        let offset = coding.zero.map_or(0, |zero| kernel.weight_offset.wrapping_sub(zero.cast_unsigned()));
        // The bits of a half, moved up by 13 and read as an f32, are its value times 2^(15 - 127).
        let unit = ((112 + exponent) as f32).exp2();
        let packing = Packing { matrix, layout, depth: kernel.depth, offset, shrink: (-exponent as f32).exp2() };
        threads.each_piece(&mut lines, panel, |i, lines| {
            let rows = i * layout.nr..matrix.rows().min((i + 1) * layout.nr);
            packing.fill(rows, bytes_of_mut(lines));
        });
        Ok(Some(Self { kernel, rows: matrix.rows(), layout, offset, unit, lines }))
    }

    pub(in super::super) fn rows(&self) -> usize {
        self.rows
    }

    pub(in super::super) fn columns(&self) -> usize {
        self.layout.inputs
    }

    /// Bytes held.
    pub(in super::super) fn bytes(&self) -> usize {
        self.lines.len() * size_of::<Line>()
    }
}

/// Some panels of a matrix, unpacked for its kernel.
pub(in super::super) struct Columns<'a> {
    panels: &'a Panels,
    first: usize,
    unpacked: &'a Unpacked,
}

impl Panels {
    /// Columns in a panel.
    pub(in super::super) fn nr(&self) -> usize {
        self.layout.nr
    }

    /// The kernel that takes these weights, and what it wants of the rows.
    pub(in super::super) fn wants(&self) -> (&'static Kernel, super::rows::Shape) {
        let Layout { inputs, group, least, .. } = self.layout;
        (self.kernel, super::rows::Shape { inputs, group, least })
    }

    /// Unpacks panels `panels`.
    pub(in super::super) fn unpack<'a>(&'a self, panels: Range<usize>, into: &'a mut Unpacked) -> Columns<'a> {
        let (count, first, l) = (panels.len(), panels.start, self.layout);
        into.scales.resize(count * l.scales(), 0.0);
        if l.nibbles {
            into.codes.resize(count * l.codes(), 0);
        }
        if l.least {
            into.least.resize(count * l.scales(), 0.0);
        }
        if l.sums {
            into.starts.resize(count * l.scales(), 0);
        }
        for i in 0..count {
            let [codes, scales, least, sums] = l.parts();
            let bytes = self.panel(first + i);
            let at = i * l.scales()..(i + 1) * l.scales();
            self.kernel.widen(self.unit, &bytes[scales], &mut into.scales[at.clone()]);
            if l.nibbles {
                let to = &mut into.codes[i * l.codes()..(i + 1) * l.codes()];
                self.kernel.spread(self.offset, &bytes[codes], to);
            }
            if l.least {
                self.kernel.widen(self.unit, &bytes[least], &mut into.least[at.clone()]);
            }
            if l.sums {
                for (to, sum) in into.starts[at].iter_mut().zip(bytes[sums].as_chunks::<2>().0) {
                    *to = -i32::from(self.kernel.input_offset) * i32::from(i16::from_le_bytes(*sum));
                }
            }
        }
        Columns { panels: self, first, unpacked: into }
    }

    fn panel(&self, i: usize) -> &[u8] {
        let lines = self.layout.panel_bytes() / size_of::<Line>();
        bytes_of(&self.lines[i * lines..(i + 1) * lines])
    }
}

impl Columns<'_> {
    /// Sums of `rows` (one panel of x) with panel `i` of these: `[MR][NR]` into `out`.
    pub(in super::super) fn multiply(&self, i: usize, rows: &[u32], out: &mut [f32]) {
        let (panels, u) = (self.panels, self.unpacked);
        let l = panels.layout;
        let at = i * l.scales()..(i + 1) * l.scales();
        let part = |whole: bool| if whole { at.clone() } else { 0..0 };
        let weights = WeightPanel {
            codes: if l.nibbles {
                &u.codes[i * l.codes()..(i + 1) * l.codes()]
            } else {
                &panels.panel(self.first + i)[..l.codes()]
            },
            scales: &u.scales[at.clone()],
            least: &u.least[part(l.least)],
            starts: &u.starts[part(l.sums)],
        };
        panels.kernel.tile(l.group, l.inputs, rows, &weights, out);
    }
}

/// The power of two that divides the scales and least values of a matrix so that the largest lies just under the largest half.
fn exponent(matrix: &Matrix) -> Result<i32> {
    let dtype = matrix.dtype();
    let (halves, factor) = blocks::halves_at(dtype);
    let mut largest = 0.0f32;
    for row in 0..matrix.rows() {
        for block in matrix.row_bytes(row).chunks_exact(dtype.block_bytes()) {
            for &at in halves {
                let value = f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
                if !value.is_finite() {
                    return Err(Error::bad_model(format!("a scale in row {row} is {value}, not a finite number"))
                        .hint("download or make the file again"));
                }
                largest = largest.max(value.abs());
            }
        }
    }
    // 2^15 is half of the largest half's next power of two: room for rounding.
    Ok(if largest > 0.0 { (largest * factor).log2().ceil() as i32 - 15 } else { 0 })
}

/// What turns rows of a matrix into panels.
struct Packing<'a> {
    matrix: &'a Matrix,
    layout: Layout,
    depth: usize,
    /// Added to a quant to make its code.
    offset: u8,
    /// Multiplies scales before they become halves.
    shrink: f32,
}

impl Packing<'_> {
    /// Packs rows `rows` of the matrix into one panel.
    fn fill(&self, rows: Range<usize>, to: &mut [u8]) {
        let (l, depth) = (self.layout, self.depth);
        let [codes, scales, least, sums] = l.parts();
        let mut quants = vec![0i8; l.inputs];
        let mut blocks = vec![[0.0f32; 2]; l.inputs / GROUP];
        for (column, row) in rows.enumerate() {
            blocks::decode(self.matrix.dtype(), self.matrix.row_bytes(row), &mut quants, &mut blocks);
            let codes = &mut to[codes.clone()];
            match (l.nibbles, depth) {
                (true, 4) => lay_nibbles::<4>(&quants, l.nr, column, codes),
                (true, _) => lay_nibbles::<2>(&quants, l.nr, column, codes),
                (false, 4) => lay_bytes::<4>(&quants, self.offset, l.nr, column, codes),
                (false, _) => lay_bytes::<2>(&quants, self.offset, l.nr, column, codes),
            }
            for (group, quants) in quants.chunks_exact(l.group).enumerate() {
                let [scale, lowest] = blocks[group * l.group / GROUP];
                let at = 2 * (group * l.nr + column);
                let mut put = |part: &Range<usize>, bytes: [u8; 2]| to[part.start + at..][..2].copy_from_slice(&bytes);
                put(&scales, f16::from_f32(scale * self.shrink).to_le_bytes());
                if l.least {
                    put(&least, f16::from_f32(lowest * self.shrink).to_le_bytes());
                }
                if l.sums {
                    put(&sums, quants.iter().map(|&q| i16::from(q)).sum::<i16>().to_le_bytes());
                }
            }
        }
    }
}

/// Lays a column's quants into its places of `[K / DEPTH][nr][DEPTH]`, with the offset added.
fn lay_bytes<const DEPTH: usize>(quants: &[i8], offset: u8, nr: usize, column: usize, codes: &mut [u8]) {
    let steps = codes.as_chunks_mut::<DEPTH>().0.chunks_exact_mut(nr);
    for (to, quants) in steps.zip(quants.as_chunks::<DEPTH>().0) {
        // Not by `map`, which is not always inlined.
        for (to, q) in to[column].iter_mut().zip(quants) {
            *to = q.cast_unsigned().wrapping_add(offset);
        }
    }
}

/// The same for codes of half a byte, as [`super::tile::spread`] reads them; the offset is added there.
fn lay_nibbles<const DEPTH: usize>(quants: &[i8], nr: usize, column: usize, codes: &mut [u8]) {
    for (step, quants) in quants.as_chunks::<DEPTH>().0.iter().enumerate() {
        let at = (step * nr + column) * DEPTH;
        let to = &mut codes[at / 64 * 32 + at % 32..][..DEPTH];
        for (to, q) in to.iter_mut().zip(quants) {
            *to |= q.cast_unsigned() << (at % 64 / 32 * 4);
        }
    }
}

/// Lines of zeros, which the system gives without touching them: the threads that pack do so together. None without memory.
fn zeroed(len: usize) -> Option<Vec<Line>> {
    let layout = std::alloc::Layout::array::<Line>(len).ok().filter(|layout| layout.size() > 0)?;
    // SAFETY: the layout is not empty; it is that of a vector of `len` lines, of which zeros are valid ones.
    unsafe {
        let start = std::alloc::alloc_zeroed(layout);
        (!start.is_null()).then(|| Vec::from_raw_parts(start.cast(), len, len))
    }
}

/// The bytes of some lines.
fn bytes_of(lines: &[Line]) -> &[u8] {
    // SAFETY: a `Line` is 64 bytes without padding.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), size_of_val(lines)) }
}

/// The bytes of some lines.
fn bytes_of_mut(lines: &mut [Line]) -> &mut [u8] {
    // SAFETY: a `Line` is 64 bytes without padding, and any bytes make one.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), size_of_val(lines)) }
}
