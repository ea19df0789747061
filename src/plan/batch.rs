//! Packing: sequences laid end to end without padding, the shared prefix in front once.

use std::ops::Range;

use super::Rows;

/// One sequence in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its own rows.
    pub rows: Range<usize>,
    /// Leading positions that are the shared prefix's; its first own row has this position.
    pub shared: usize,
}

/// What a batch does about the shared prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// There is none, or it is in this batch only: its rows, if any, are the first.
    Here,
    /// Its rows are the first, and its keys and values are kept for the batches that follow.
    Keep,
    /// Its keys and values were kept by an earlier batch.
    Kept,
}

/// Packed sequences, ready to be planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// `[T]` token ids.
    pub tokens: Vec<u32>,
    /// `[T]` positions.
    pub positions: Vec<u32>,
    /// `[S]` the sequences to be judged, in the caller's order.
    pub spans: Vec<Span>,
    /// Length of the prefix that the spans share.
    pub shared: usize,
    /// Whether the prefix's rows are here.
    pub prefix: Prefix,
}

impl Batch {
    /// Rows of the prefix in this batch.
    pub fn prefix_rows(&self) -> usize {
        if self.prefix == Prefix::Kept { 0 } else { self.shared }
    }

    /// Rows of a kept prefix, whose keys and values come from elsewhere.
    pub fn kept_rows(&self) -> usize {
        self.shared - self.prefix_rows()
    }

    /// `rows` cut at the borders of sequences, and into pieces of at most `most(position of the first row)` rows.
    pub fn pieces(&self, rows: &Rows, most: impl Fn(usize) -> usize) -> Vec<Piece> {
        let prefix = 0..self.prefix_rows();
        let mut pieces = Vec::new();
        match rows {
            Rows::Last(r) => pieces.extend(self.spans[r.clone()].iter().enumerate().map(|(i, span)| Piece {
                rows: i..i + 1,
                first: self.positions[span.rows.end - 1] as usize,
                own: span.rows.clone(),
                shared: span.shared,
            })),
            Rows::Batch(r) => {
                let mut row = r.start;
                while row < r.end {
                    let (own, shared) = if prefix.contains(&row) {
                        (prefix.clone(), 0)
                    } else {
                        let span = &self.spans[self.spans.partition_point(|s| s.rows.end <= row)];
                        (span.rows.clone(), span.shared)
                    };
                    let first = self.positions[row] as usize;
                    let end = own.end.min(r.end).min(row + most(first).max(1));
                    pieces.push(Piece { rows: row - r.start..end - r.start, first, own, shared });
                    row = end;
                }
            }
        }
        pieces
    }

    /// `[S]` the last row of every sequence.
    pub fn last_rows(&self) -> impl ExactSizeIterator<Item = usize> {
        self.spans.iter().map(|s| s.rows.end - 1)
    }
}

/// Consecutive query rows of one sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Among the rows that were cut.
    pub rows: Range<usize>,
    /// Position of the first.
    pub first: usize,
    /// The sequence's own rows in the batch.
    pub own: Range<usize>,
    /// Positions before its own rows: the prefix's.
    pub shared: usize,
}

/// What is known of the prefix's keys and values before the first batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing, and nobody asks for them afterwards.
    Nothing,
    /// Nothing, but they are to be kept for a later request.
    Wanted,
    /// An earlier request kept them.
    Known,
}

/// Packs sequences, each `shared` and then its own ids, into batches of at most `budget` rows (more only where one sequence alone
/// is longer). Keeps the order; every sequence has an id of its own. A prefix of more than `keep` rows is computed again
/// in every batch instead of being kept.
pub fn pack(shared: &[u32], own: &[&[u32]], budget: usize, keep: usize, before: Before) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    let keeps = !shared.is_empty() && shared.len() <= keep;
    for own in own {
        let fits = batches.last().is_some_and(|b| b.tokens.len() + own.len() <= budget);
        if !fits {
            let first = batches.is_empty();
            if let Some(first) = batches.first_mut().filter(|b| keeps && b.prefix == Prefix::Here) {
                first.prefix = Prefix::Keep;
            }
            batches.push(open(shared, keeps && (!first || before == Before::Known)));
            if first && keeps && before == Before::Wanted {
                batches[0].prefix = Prefix::Keep;
            }
        }
        let batch = batches.last_mut().expect("a batch was opened");
        let start = batch.tokens.len();
        batch.tokens.extend_from_slice(own);
        batch.positions.extend((shared.len()..shared.len() + own.len()).map(|p| p as u32));
        batch.spans.push(Span { rows: start..batch.tokens.len(), shared: shared.len() });
    }
    batches
}

fn open(prefix: &[u32], kept: bool) -> Batch {
    let rows = if kept { &[] } else { prefix };
    Batch {
        tokens: rows.to_vec(),
        positions: (0..rows.len() as u32).collect(),
        spans: Vec::new(),
        shared: prefix.len(),
        prefix: if kept { Prefix::Kept } else { Prefix::Here },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(budget: usize, keep: usize) -> Vec<Batch> {
        pack(&[1, 2, 3], &[&[10], &[20, 21, 22], &[30, 31]], budget, keep, Before::Nothing)
    }

    #[test]
    fn one_batch_holds_the_prefix_once() {
        let [batch] = &packed(100, 100)[..] else { panic!("one batch") };
        assert_eq!(batch.tokens, [1, 2, 3, 10, 20, 21, 22, 30, 31]);
        assert_eq!(batch.positions, [0, 1, 2, 3, 3, 4, 5, 3, 4]);
        assert_eq!(batch.prefix, Prefix::Here);
        assert_eq!(batch.last_rows().collect::<Vec<_>>(), [3, 6, 8]);
    }

    #[test]
    fn later_batches_take_the_kept_prefix() {
        let batches = packed(5, 100);
        assert_eq!(batches.iter().map(|b| b.prefix).collect::<Vec<_>>(), [Prefix::Keep, Prefix::Kept]);
        assert_eq!(batches[1].tokens, [20, 21, 22, 30, 31]);
        assert_eq!(batches[1].prefix_rows(), 0);
    }

    #[test]
    fn a_prefix_too_large_to_keep_is_computed_again() {
        for batch in packed(5, 2) {
            assert_eq!((batch.prefix, &batch.tokens[..3]), (Prefix::Here, &[1, 2, 3][..]));
        }
    }

    #[test]
    fn a_prefix_is_kept_from_one_request_to_the_next() {
        let packed = |before| pack(&[1, 2], &[&[3], &[4]], 3, 9, before);
        let prefixes = |before| packed(before).iter().map(|b| b.prefix).collect::<Vec<_>>();
        assert_eq!(prefixes(Before::Wanted), [Prefix::Keep, Prefix::Kept]);
        assert_eq!(prefixes(Before::Known), [Prefix::Kept]);
        assert_eq!(packed(Before::Known)[0].positions, [2, 2]);
    }

    #[test]
    fn a_sequence_over_the_budget_gets_its_own_batch() {
        assert_eq!(packed(1, 100).len(), 3);
    }

    #[test]
    fn nothing_shared_is_no_prefix() {
        let [batch] = &pack(&[], &[&[1, 2, 3]], 10, 10, Before::Wanted)[..] else { panic!("one batch") };
        assert_eq!((batch.prefix_rows(), batch.spans[0].rows.clone()), (0, 0..3));
    }
}
