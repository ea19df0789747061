//! The driver of the matrix products: tasks of some outputs each.

use std::ops::Range;

use super::{Isa, Stash, Stripes, Target, Threads, int8};
use crate::{error::Result, weights::Matrix};

/// The fewest outputs of a task: a multiple of every register tile's width. With the most, W's share of a task fits the second-level cache.
const FEWEST_COLUMNS: usize = 32;
const MOST_COLUMNS: usize = 128;

/// A weight matrix as the products take it.
pub struct Weight(Form);

enum Form {
    /// Floats, as they are in the file; unpacked for every product.
    Floats(Matrix),
    /// Quantised, packed once.
    Codes(int8::Panels),
}

impl Weight {
    /// Packs a matrix for the kernels of `isa`.
    ///
    /// # Errors
    /// `oom` without memory for it, `bad-model` if a scale is not finite.
    pub fn new(isa: Isa, threads: &Threads, matrix: Matrix) -> Result<Self> {
        let panels = int8::Panels::new(isa.int8(), threads, &matrix)?;
        Ok(Self(panels.map_or(Form::Floats(matrix), Form::Codes)))
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        match &self.0 {
            Form::Floats(matrix) => matrix.rows(),
            Form::Codes(panels) => panels.rows(),
        }
    }

    /// Inputs.
    pub fn columns(&self) -> usize {
        match &self.0 {
            Form::Floats(matrix) => matrix.columns(),
            Form::Codes(panels) => panels.columns(),
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        match &self.0 {
            Form::Floats(matrix) => matrix.bytes(),
            Form::Codes(panels) => panels.bytes(),
        }
    }

    /// The largest magnitude of an input's code in products with it, for quantised weights: an input is off by at most half its block's
    /// largest magnitude divided by this.
    pub fn input_most(&self) -> Option<f32> {
        match &self.0 {
            Form::Floats(_) => None,
            Form::Codes(panels) => Some(panels.wants().0.input_most),
        }
    }

    /// Outputs of one task: some thirty tasks, however many threads there are, since threads may come and go between the tasks of a product.
    fn task_columns(&self) -> usize {
        match &self.0 {
            Form::Floats(_) => FEWEST_COLUMNS,
            Form::Codes(panels) => {
                let columns = panels.rows() / 32;
                columns.clamp(FEWEST_COLUMNS, MOST_COLUMNS) / FEWEST_COLUMNS * FEWEST_COLUMNS
            }
        }
    }

    /// Number of tasks in a product with it.
    pub fn tasks(&self) -> usize {
        self.rows().div_ceil(self.task_columns())
    }
}

/// Rows of x, packed for a product; reused by every product with the same input and weights of the same kind.
#[derive(Default)]
pub struct Packed {
    /// Panels `[depth][MR]`.
    floats: Vec<f32>,
    codes: int8::Rows,
    holds: Holds,
    rows: usize,
    depth: usize,
    scratch: Stash<Scratch>,
}

#[derive(Default, PartialEq)]
enum Holds {
    #[default]
    Nothing,
    Floats,
    Codes,
}

impl Packed {
    /// Packs x `[rows, depth]` for a product with `w`.
    pub fn pack(&mut self, isa: Isa, threads: &Threads, x: &[f32], w: &Weight) {
        let depth = w.columns();
        let (mr, rows) = (isa.mr(), x.len() / depth);
        (self.rows, self.depth) = (rows, depth);
        match &w.0 {
            Form::Floats(_) => {
                self.holds = Holds::Floats;
                self.floats.resize(rows.next_multiple_of(mr) * depth, 0.0);
                threads.each_piece(&mut self.floats, mr * depth, |i, panel| {
                    let rows = mr.min(rows - i * mr);
                    isa.pack_x(rows, depth, depth, &x[i * mr * depth..][..rows * depth], panel);
                });
            }
            Form::Codes(panels) => {
                self.holds = Holds::Codes;
                let (kernel, shape) = panels.wants();
                self.codes.fill(kernel, threads, shape, x);
            }
        }
    }

    /// Forgets what is packed.
    pub fn clear(&mut self) {
        self.holds = Holds::Nothing;
    }

    /// Whether what is packed serves a product with `w`.
    pub fn fits(&self, w: &Weight) -> bool {
        match &w.0 {
            Form::Floats(matrix) => self.holds == Holds::Floats && self.depth == matrix.columns(),
            Form::Codes(panels) => {
                let (kernel, shape) = panels.wants();
                self.holds == Holds::Codes && self.codes.fits(kernel, shape)
            }
        }
    }
}

/// What a task needs beside its operands; reused from task to task.
#[derive(Default)]
struct Scratch {
    unpacked: Vec<f32>,
    panels: Vec<f32>,
    codes: int8::Unpacked,
    tile: Vec<f32>,
    /// What gates multiply.
    values: Vec<f32>,
}

/// Tasks `tasks` of `y = x W^T`, or `y += x W^T` with `add`; y is `[rows, w.rows()]`.
pub fn matmul(isa: Isa, threads: &Threads, x: &Packed, w: &Weight, tasks: Range<usize>, y: &mut [f32], add: bool) {
    assert!(x.fits(w), "x was packed for these weights");
    assert_eq!(y.len(), x.rows * w.rows(), "the output's size");
    let stripes = Stripes::new(y, w.rows());
    let width = w.task_columns();
    threads.each(
        tasks,
        || x.scratch.take(),
        |scratch, task| {
            let column = task * width;
            let columns = width.min(w.rows() - column);
            let target = Target { stripes: &stripes, column, columns, rows: x.rows, add };
            // SAFETY: `stripes` borrows y for this call alone, and no two tasks have a column in common.
            unsafe { product(isa, x, w, column, &target, scratch) }
        },
    );
}

/// A weight matrix and the rows of x packed for it.
pub type Factors<'a> = (&'a Packed, &'a Weight);

/// Tasks `tasks` (of the gate's) of `y = silu(x G^T) * (x U^T)`; y is `[rows, outputs]`.
pub fn gate_up(isa: Isa, threads: &Threads, gate: Factors, up: Factors, tasks: Range<usize>, y: &mut [f32]) {
    let (rows, outputs) = (gate.0.rows, gate.1.rows());
    assert!(gate.0.fits(gate.1) && up.0.fits(up.1) && up.0.rows == rows, "x was packed for these weights");
    assert!(up.1.rows() == outputs && y.len() == rows * outputs, "the output's size");
    let stripes = Stripes::new(y, outputs);
    let width = gate.1.task_columns();
    threads.each(
        tasks,
        || gate.0.scratch.take(),
        |scratch, task| {
            let column = task * width;
            let columns = width.min(outputs - column);
            let target = Target { stripes: &stripes, column, columns, rows, add: false };
            // SAFETY: `stripes` borrows y for this call alone, and no two tasks have a column in common.
            unsafe { product(isa, gate.0, gate.1, column, &target, scratch) };
            let mut values = std::mem::take(&mut scratch.values);
            values.resize(rows * columns, 0.0);
            let own = Stripes::new(&mut values, columns);
            let target = Target { stripes: &own, column: 0, columns, rows, add: false };
            // SAFETY: `values` is this task's own.
            unsafe { product(isa, up.0, up.1, column, &target, scratch) };
            for (row, values) in values.chunks_exact(columns).enumerate() {
                // SAFETY: as above, and the products are done.
                isa.swiglu(unsafe { stripes.row(row, column, columns) }, values);
            }
            scratch.values = values;
        },
    );
}

/// Columns of x W^T from `column`, a multiple of every panel's width.
///
/// # Safety
/// The target's columns belong to the caller alone.
unsafe fn product(isa: Isa, x: &Packed, w: &Weight, column: usize, target: &Target, scratch: &mut Scratch) {
    match &w.0 {
        Form::Floats(matrix) => {
            let (nr, depth) = (isa.nr(), x.depth);
            scratch.unpacked.resize(nr * depth, 0.0);
            scratch.panels.resize(target.columns.next_multiple_of(nr) * depth, 0.0);
            for (start, panel) in (0..target.columns).step_by(nr).zip(scratch.panels.chunks_exact_mut(nr * depth)) {
                let rows = nr.min(target.columns - start);
                let from = column + start;
                matrix.unpack_rows(from..from + rows, &mut scratch.unpacked[..rows * depth]);
                isa.pack_w(rows, depth, depth, &scratch.unpacked, panel);
            }
            // SAFETY: the caller's promise.
            unsafe { isa.matmul(depth, &x.floats, &scratch.panels, target) }
        }
        Form::Codes(panels) => {
            let nr = panels.nr();
            let first = column / nr;
            let columns = panels.unpack(first..first + target.columns.div_ceil(nr), &mut scratch.codes);
            let mr = x.codes.mr();
            scratch.tile.resize(mr * nr, 0.0);
            for (panel, rows) in x.codes.panels().enumerate() {
                for (i, start) in (0..target.columns).step_by(nr).enumerate() {
                    columns.multiply(i, rows, &mut scratch.tile);
                    let columns = nr.min(target.columns - start);
                    let first = panel * mr;
                    for (row, sums) in (first..target.rows.min(first + mr)).zip(scratch.tile.chunks_exact(nr)) {
                        // SAFETY: the caller's promise; this is the only borrow here.
                        let out = unsafe { target.stripes.row(row, target.column + start, columns) };
                        if target.add {
                            out.iter_mut().zip(sums).for_each(|(o, s)| *o += s);
                        } else {
                            out.copy_from_slice(&sums[..columns]);
                        }
                    }
                }
            }
        }
    }
}
