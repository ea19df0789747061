//! The driver of the matrix product: tasks of [`TASK_COLUMNS`] outputs each.

use std::ops::Range;

use super::{Isa, Stripes, Target, Threads};
use crate::weights::Matrix;

/// Outputs of one task: a multiple of every register tile's width; their unpacked rows of W fit the second-level cache.
const TASK_COLUMNS: usize = 32;

/// Rows of x, packed for the register tile; reused by every product with the same input.
#[derive(Default)]
pub struct Packed {
    /// Panels `[depth][MR]`.
    panels: Vec<f32>,
    rows: usize,
    depth: usize,
}

impl Packed {
    /// Packs x `[rows, depth]`.
    pub fn pack(&mut self, isa: Isa, threads: &Threads, x: &[f32], depth: usize) {
        let (mr, rows) = (isa.mr(), x.len() / depth);
        self.panels.resize(rows.next_multiple_of(mr) * depth, 0.0);
        (self.rows, self.depth) = (rows, depth);
        threads.each_piece(&mut self.panels, mr * depth, |i, panel| {
            let rows = mr.min(rows - i * mr);
            isa.pack_x(rows, depth, depth, &x[i * mr * depth..][..rows * depth], panel);
        });
    }
}

/// Number of tasks in a product with `w`.
pub fn tasks(w: &Matrix) -> usize {
    w.rows().div_ceil(TASK_COLUMNS)
}

/// Tasks `tasks` of `y = x W^T`, or `y += x W^T` with `add`; y is `[rows, w.rows()]`.
pub fn matmul(isa: Isa, threads: &Threads, x: &Packed, w: &Matrix, tasks: Range<usize>, y: &mut [f32], add: bool) {
    assert_eq!(x.depth, w.columns(), "inner dimensions");
    assert_eq!(y.len(), x.rows * w.rows(), "the output's size");
    let stripes = Stripes::new(y, w.rows());
    let (nr, depth) = (isa.nr(), x.depth);
    let scratch = || (vec![0.0; nr * depth], vec![0.0; TASK_COLUMNS * depth]);
    threads.each(tasks, scratch, |(unpacked, panels), task| {
        let column = task * TASK_COLUMNS;
        let columns = TASK_COLUMNS.min(w.rows() - column);
        for (start, panel) in (0..columns).step_by(nr).zip(panels.chunks_exact_mut(nr * depth)) {
            let rows = nr.min(columns - start);
            w.unpack_rows(column + start..column + start + rows, &mut unpacked[..rows * depth]);
            isa.pack_w(rows, depth, depth, unpacked, panel);
        }
        let target = Target { stripes: &stripes, column, columns, rows: x.rows, add };
        // SAFETY: `stripes` borrows y for this call alone, and no two tasks have a column in common.
        unsafe { isa.matmul(depth, &x.panels, panels, &target) }
    });
}
