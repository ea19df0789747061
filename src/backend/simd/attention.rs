//! The driver of attention: for one sequence, the rows of every key/value head are laid together and then serve all query heads of its group.

use std::ops::Range;

use super::{HeadTask, Isa, Stash, Stripes, Threads};

/// Some queries of one sequence, and all keys they may see.
pub struct Sequence<'a> {
    /// Rows of the query buffer: consecutive positions from `first`.
    pub rows: Range<usize>,
    /// Position of the first query.
    pub first: usize,
    /// Keys `[.., kv_heads * D]` of the prefix, then of the sequence itself, from position 0 without a gap.
    pub keys: [&'a [f32]; 2],
    /// Values, likewise.
    pub values: [&'a [f32]; 2],
}

/// What a task needs beside its operands.
#[derive(Default)]
pub struct Scratch {
    keys: Vec<f32>,
    values: Vec<f32>,
    scores: Vec<f32>,
}

/// Queries of one task: many, since every task lays its keys and values together.
const TASK_ROWS: usize = 192;

/// Attention of `sequences` over their keys for the query heads of key/value heads `kv`: `queries` `[rows, heads * D]` become the results.
pub fn attend(
    isa: Isa,
    threads: &Threads,
    queries: &mut [f32],
    sequences: &[Sequence],
    [heads, kv_heads, d]: [usize; 3],
    kv: Range<usize>,
    scratch: &Stash<Scratch>,
) {
    let stripes = Stripes::new(queries, heads * d);
    let group = heads / kv_heads;
    let width = kv_heads * d;
    for (i, a) in sequences.iter().enumerate() {
        assert!(i == 0 || sequences[i - 1].rows.end <= a.rows.start, "sequences in order, apart");
    }
    // One task: a sequence's rows, in pieces, for one key/value head.
    let tasks: Vec<(usize, Range<usize>)> = sequences
        .iter()
        .enumerate()
        .flat_map(|(i, s)| {
            s.rows.clone().step_by(TASK_ROWS).map(move |start| (i, start..s.rows.end.min(start + TASK_ROWS)))
        })
        .collect();
    threads.each(
        0..tasks.len() * kv.len(),
        || scratch.take(),
        |scratch, task| {
            let Scratch { keys, values, scores } = &mut **scratch;
            let (sequence, rows) = &tasks[task / kv.len()];
            let (sequence, kv) = (&sequences[*sequence], kv.start + task % kv.len());
            let first = sequence.first + (rows.start - sequence.rows.start);
            let total = first + rows.len();
            let room = (total + isa.attend_rows()) * d;
            for (pieces, to) in [(sequence.keys, &mut *keys), (sequence.values, &mut *values)] {
                gather(pieces, width, kv * d..(kv + 1) * d, total, room, to);
                to.resize(room, 0.0);
            }
            scores.resize(isa.attend_scratch(d, total), 0.0);
            for head in kv * group..(kv + 1) * group {
                let task = HeadTask {
                    keys,
                    values,
                    first,
                    rows: rows.len(),
                    head_dim: d,
                    queries: &stripes,
                    row: rows.start,
                    column: head * d,
                };
                // SAFETY: `stripes` borrows the queries for this call alone, and no two tasks have a row and a head in common.
                unsafe { isa.attend(&task, scores) }
            }
        },
    );
}

/// Some columns of the first `total` rows of two pieces, one after the other, with room for `room` elements in all.
fn gather(pieces: [&[f32]; 2], width: usize, columns: Range<usize>, total: usize, room: usize, to: &mut Vec<f32>) {
    to.clear();
    to.reserve(room);
    let rows = pieces.into_iter().flat_map(|piece| piece.chunks_exact(width));
    rows.take(total).for_each(|row| to.extend_from_slice(&row[columns.clone()]));
}
