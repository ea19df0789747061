//! The driver of attention: for one sequence, the keys and values of every key/value head are packed once and then serve all
//! query heads of its group.

use std::ops::Range;

use super::{HeadTask, Isa, Stripes, Threads};

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

/// Queries of one task at least: every task packs its keys and values again.
const TASK_ROWS: usize = 192;

/// Attention of `sequences` over their keys: `queries` `[rows, heads * D]` become the results.
pub fn attend(
    isa: Isa,
    threads: &Threads,
    queries: &mut [f32],
    sequences: &[Sequence],
    [heads, kv_heads, d]: [usize; 3],
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
            // A long sequence is cut in few pieces, since every piece packs its keys again.
            let piece = TASK_ROWS.max(s.rows.len() / 16).max(1);
            s.rows.clone().step_by(piece).map(move |start| (i, start..s.rows.end.min(start + piece)))
        })
        .collect();
    let nr = isa.nr();
    threads.each(0..tasks.len() * kv_heads, <[Vec<f32>; 3]>::default, |[keys, values, scratch], task| {
        let (sequence, rows) = &tasks[task / kv_heads];
        let (sequence, kv) = (&sequences[*sequence], task % kv_heads);
        let first = sequence.first + (rows.start - sequence.rows.start);
        let total = first + rows.len();
        pack_keys(isa, sequence.keys, width, kv * d..(kv + 1) * d, total, keys);
        pack_values(nr, sequence.values, width, kv * d..(kv + 1) * d, total, values);
        scratch.resize(isa.attend_scratch(d, total), 0.0);
        for head in kv * group..(kv + 1) * group {
            let task = HeadTask {
                keys,
                values,
                total,
                first,
                rows: rows.len(),
                head_dim: d,
                queries: &stripes,
                row: rows.start,
                column: head * d,
            };
            // SAFETY: `stripes` borrows the queries for this call alone, and no two tasks have a row and a head in common.
            unsafe { isa.attend(&task, scratch) }
        }
    });
}

/// Rows `from..to` of two pieces laid end to end, as far as they lie in one piece.
fn rows_of(pieces: [&[f32]; 2], width: usize, from: usize, to: usize) -> &[f32] {
    let split = pieces[0].len() / width;
    if from < split {
        &pieces[0][from * width..split.min(to) * width]
    } else {
        &pieces[1][(from - split) * width..(to - split) * width]
    }
}

/// Panels `[D][NR]` of the first `total` keys.
fn pack_keys(isa: Isa, pieces: [&[f32]; 2], width: usize, columns: Range<usize>, total: usize, to: &mut Vec<f32>) {
    let (nr, d) = (isa.nr(), columns.len());
    to.resize(total.next_multiple_of(nr) * d, 0.0);
    for (panel, to) in to.chunks_exact_mut(nr * d).enumerate() {
        let (start, end) = (panel * nr, total.min((panel + 1) * nr));
        let rows = rows_of(pieces, width, start, end);
        let count = rows.len() / width;
        if count == end - start {
            isa.pack_w(count, d, width, &rows[columns.start..], to);
            continue;
        }
        // The panel lies over the seam between prefix and sequence.
        to.fill(0.0);
        for key in start..end {
            let row = &rows_of(pieces, width, key, key + 1)[columns.clone()];
            for (i, &v) in row.iter().enumerate() {
                to[i * nr + key - start] = v;
            }
        }
    }
}

/// Panels of `NR` columns, each `[total][NR]`, of the first `total` values.
fn pack_values(nr: usize, pieces: [&[f32]; 2], width: usize, columns: Range<usize>, total: usize, to: &mut Vec<f32>) {
    let d = columns.len();
    to.clear();
    to.resize(d.next_multiple_of(nr) * total, 0.0);
    for (panel, to) in to.chunks_exact_mut(nr * total).enumerate() {
        let from = columns.start + panel * nr;
        let count = nr.min(columns.end - from);
        let (prefix, own) = to.split_at_mut((pieces[0].len() / width).min(total) * nr);
        for (piece, to) in pieces.into_iter().zip([prefix, own]) {
            for (row, to) in piece.chunks_exact(width).zip(to.chunks_exact_mut(nr)) {
                to[..count].copy_from_slice(&row[from..from + count]);
            }
        }
    }
}
