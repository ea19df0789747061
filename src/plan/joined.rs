//! Batches laid end to end, each with a prefix of its own: documents of several queries go through the layers in one pass.

use std::ops::Range;

use super::{Batch, Piece, Prefix, Rows};

/// Batches in one pass. No sequence sees another batch's rows.
pub struct Joined<'a> {
    batches: &'a [Batch],
    /// The first row of each batch, and the end of the last one.
    rows: Vec<usize>,
    /// The first sequence of each, likewise.
    sequences: Vec<usize>,
    /// The first row of each kept prefix, where these lie end to end, likewise.
    kept: Vec<usize>,
}

/// Query rows of one sequence, and where their keys and values lie: in one buffer, the kept prefixes of all batches end to end, then the
/// batches' rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// The first, among the query rows.
    pub query: u32,
    /// How many.
    pub rows: u32,
    /// The first one's position: it sees positions 0 to `first`.
    pub first: u32,
    /// Positions below `shared` are rows from here on.
    pub prefix: u32,
    /// Positions of the prefix.
    pub shared: u32,
    /// The other positions are rows from here on.
    pub own: u32,
}

impl Tile {
    /// The fields in their order, as kernels read them.
    pub fn words(self) -> [u32; 6] {
        [self.query, self.rows, self.first, self.prefix, self.shared, self.own]
    }
}

impl<'a> Joined<'a> {
    /// Lays `batches` end to end.
    pub fn new(batches: &'a [Batch]) -> Self {
        let starts = |len: fn(&Batch) -> usize| {
            let ends = batches.iter().scan(0, |end, batch| {
                *end += len(batch);
                Some(*end)
            });
            [0].into_iter().chain(ends).collect::<Vec<usize>>()
        };
        Self {
            batches,
            rows: starts(|b| b.tokens.len()),
            sequences: starts(|b| b.spans.len()),
            kept: starts(Batch::kept_rows),
        }
    }

    /// The batches.
    pub fn batches(&self) -> &'a [Batch] {
        self.batches
    }

    /// Rows in all.
    pub fn rows(&self) -> usize {
        self.rows[self.batches.len()]
    }

    /// Sequences in all.
    pub fn sequences(&self) -> usize {
        self.sequences[self.batches.len()]
    }

    /// `[T]` token ids.
    pub fn tokens(&self) -> Vec<u32> {
        self.batches.iter().flat_map(|b| b.tokens.iter().copied()).collect()
    }

    /// `[T]` positions.
    pub fn positions(&self) -> Vec<u32> {
        self.batches.iter().flat_map(|b| b.positions.iter().copied()).collect()
    }

    /// `[S]` the last row of every sequence.
    pub fn last_rows(&self) -> Vec<usize> {
        let of_batch = |(b, start): (&'a Batch, usize)| b.last_rows().map(move |row| start + row);
        self.batches.iter().zip(self.rows.iter().copied()).flat_map(of_batch).collect()
    }

    /// The rows of a batch's prefix, where they are here.
    pub fn prefix_rows(&self, batch: usize) -> Range<usize> {
        let start = self.rows[batch];
        start..start + self.batches[batch].prefix_rows()
    }

    /// Rows of all kept prefixes.
    pub fn kept_rows(&self) -> usize {
        self.kept[self.batches.len()]
    }

    /// The batches whose prefix was kept, and its first row among all of these.
    pub fn kept(&self) -> impl Iterator<Item = (usize, usize)> {
        let batches = self.batches.iter().zip(&self.kept).enumerate();
        batches.filter(|(_, (b, _))| b.prefix == Prefix::Kept).map(|(i, (_, &row))| (i, row))
    }

    /// The batches whose prefix is to be kept, and its rows where keys and values lie as [`Tile`] says.
    pub fn keep(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        let before = self.kept_rows();
        let batches = self.batches.iter().enumerate().filter(|(_, b)| b.prefix == Prefix::Keep);
        batches.map(move |(i, _)| (i, shift(self.prefix_rows(i), before)))
    }

    /// What there is for every sequence, a list a batch.
    pub fn by_batch<T>(&self, all: Vec<T>) -> Vec<Vec<T>> {
        let mut all = all.into_iter();
        self.batches.iter().map(|b| all.by_ref().take(b.spans.len()).collect()).collect()
    }

    /// Whether the prefix of any batch is to be kept.
    pub fn keeps(&self) -> bool {
        self.batches.iter().any(|b| b.prefix == Prefix::Keep)
    }

    /// As [`Batch::pieces`], each with the number of its batch.
    pub fn pieces(&self, rows: &Rows, most: impl Fn(usize) -> usize) -> Vec<(usize, Piece)> {
        let (starts, wanted) = match rows {
            Rows::Batch(r) => (&self.rows, r),
            Rows::Last(r) => (&self.sequences, r),
        };
        let mut pieces = Vec::new();
        for (i, batch) in self.batches.iter().enumerate() {
            let part = starts[i].max(wanted.start)..starts[i + 1].min(wanted.end);
            if part.is_empty() {
                continue;
            }
            let here = part.start - starts[i]..part.end - starts[i];
            let rows = if matches!(rows, Rows::Batch(_)) { Rows::Batch(here) } else { Rows::Last(here) };
            pieces.extend(batch.pieces(&rows, &most).into_iter().map(|p| {
                let own = shift(p.own, self.rows[i]);
                (i, Piece { rows: shift(p.rows, part.start - wanted.start), own, ..p })
            }));
        }
        pieces
    }
    /// `rows` in tiles of at most `most` query rows.
    pub fn tiles(&self, rows: &Rows, most: usize) -> Vec<Tile> {
        let before = self.kept_rows();
        let tile = |(i, p): (usize, Piece)| {
            let kept = self.batches[i].prefix == Prefix::Kept;
            let prefix = if kept { self.kept[i] } else { before + self.rows[i] };
            let [query, rows, first] = [p.rows.start, p.rows.len(), p.first].map(|n| n as u32);
            let [prefix, shared, own] = [prefix, p.shared, before + p.own.start].map(|n| n as u32);
            Tile { query, rows, first, prefix, shared, own }
        };
        self.pieces(rows, |_| most).into_iter().map(tile).collect()
    }
}

fn shift(range: Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Before, pack};

    fn two() -> Vec<Batch> {
        let mut batches = pack(&[1, 2], &[&[3], &[4, 5]], 99, 99, Before::Nothing);
        batches.extend(pack(&[6], &[&[7, 8]], 99, 99, Before::Known));
        batches.extend(pack(&[], &[&[9]], 99, 99, Before::Wanted));
        batches
    }

    #[test]
    fn rows_follow_one_another() {
        let batches = two();
        let joined = Joined::new(&batches);
        assert_eq!((joined.rows(), joined.sequences(), joined.keeps()), (8, 4, false));
        assert_eq!(joined.tokens(), [1, 2, 3, 4, 5, 7, 8, 9]);
        assert_eq!(joined.positions(), [0, 1, 2, 2, 3, 1, 2, 0]);
        assert_eq!(joined.last_rows(), [2, 4, 6, 7]);
        assert_eq!([0, 1, 2].map(|i| joined.prefix_rows(i)), [0..2, 5..5, 7..7]);
    }

    #[test]
    fn tiles_find_each_prefix() {
        let mut batches = two();
        batches.extend(pack(&[1, 2, 3], &[&[4]], 99, 99, Before::Known));
        batches.extend(pack(&[5, 6], &[&[7]], 99, 99, Before::Wanted));
        let joined = Joined::new(&batches);
        // Kept: one row of the second batch, three of the fourth. Then ten rows, of which 9 and 10 are the last batch's prefix.
        assert_eq!(joined.kept_rows(), 4);
        assert_eq!(joined.kept().collect::<Vec<_>>(), [(1, 0), (3, 1)]);
        assert_eq!(joined.keep().collect::<Vec<_>>(), [(4, 13..15)]);
        let tiles = joined.tiles(&Rows::Last(0..6), 9);
        let of = |i: usize| tiles[i].words();
        assert_eq!([of(0), of(2)], [[0, 1, 2, 4, 2, 6], [2, 1, 2, 0, 1, 9]]);
        assert_eq!([of(4), of(5)], [[4, 1, 3, 1, 3, 12], [5, 1, 2, 13, 2, 15]]);
        // The prefix's own rows see themselves alone.
        let own = joined.tiles(&Rows::Batch(9..11), 9);
        assert_eq!(own.iter().map(|t| t.words()).collect::<Vec<_>>(), [[0, 2, 0, 13, 0, 13]]);
    }

    #[test]
    fn pieces_are_those_of_each_batch() {
        let batches = two();
        let joined = Joined::new(&batches);
        let pieces = joined.pieces(&Rows::Batch(1..8), |_| 9);
        let plain: Vec<_> =
            pieces.iter().map(|(i, p)| (*i, p.rows.clone(), p.first, p.own.clone(), p.shared)).collect();
        assert_eq!(
            plain,
            [
                (0, 0..1, 1, 0..2, 0),
                (0, 1..2, 2, 2..3, 2),
                (0, 2..4, 2, 3..5, 2),
                (1, 4..6, 1, 5..7, 1),
                (2, 6..7, 0, 7..8, 0)
            ]
        );
        let pieces = joined.pieces(&Rows::Last(1..4), |_| 9);
        let plain: Vec<_> =
            pieces.iter().map(|(i, p)| (*i, p.rows.clone(), p.first, p.own.clone(), p.shared)).collect();
        assert_eq!(plain, [(0, 0..1, 3, 3..5, 2), (1, 1..2, 2, 5..7, 1), (2, 2..3, 0, 7..8, 0)]);
    }
}
