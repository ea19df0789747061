//! Batches cut between sequences: shares for several devices, and passes that one device has room for.

use super::{Batch, Prefix, Span};

/// Some sequences of some batches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Which batches.
    pub of: Vec<usize>,
    /// The part of each.
    pub batches: Vec<Batch>,
}

impl Share {
    /// Rows in all, among them those of kept prefixes.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(|b| b.kept_rows() + b.tokens.len()).sum()
    }
}

/// `batches` in at most `count` shares of about equally many rows, the sequences in their order. Where a batch computes its prefix, each of its parts
/// does.
pub fn shares(batches: &[Batch], count: usize) -> Vec<Share> {
    // With its part of the prefix, so that a share of long prefixes has fewer sequences.
    let weight = |b: &Batch, s: &Span| s.rows.len() + b.prefix_rows() / b.spans.len();
    let total: usize = batches.iter().map(|b| b.spans.iter().map(|s| weight(b, s)).sum::<usize>()).sum();
    let mut done = 0;
    cut(batches, false, |shares, i, span| {
        let weight = weight(&batches[i], span);
        // A sequence goes where its middle lies.
        let share = (2 * done + weight) * count / (2 * total.max(1));
        done += weight;
        share >= shares.len()
    })
}

/// `batches` in passes of at most `most` rows; more only where one sequence with its prefix has more. The first pass keeps a prefix for the others.
pub fn passes(batches: &[Batch], most: usize) -> Vec<Share> {
    cut(batches, true, |passes, i, span| {
        passes.last().is_none_or(|pass| {
            let prefix = if pass.of.last() == Some(&i) { 0 } else { batches[i].shared };
            pass.rows() + prefix + span.rows.len() > most
        })
    })
}

/// Parts of `batches`, a new one where `starts(shares so far, batch, sequence)` says so. With `in_turn` a later part finds what an earlier one kept.
fn cut(batches: &[Batch], in_turn: bool, mut starts: impl FnMut(&[Share], usize, &Span) -> bool) -> Vec<Share> {
    let mut shares: Vec<Share> = Vec::new();
    for (i, batch) in batches.iter().enumerate() {
        let mut prefix = batch.prefix;
        for span in &batch.spans {
            if starts(&shares, i, span) {
                shares.push(Share::default());
            }
            let share = shares.last_mut().expect("the first sequence starts one");
            if share.of.last() != Some(&i) {
                let rows = if prefix == Prefix::Kept { 0 } else { batch.prefix_rows() };
                share.of.push(i);
                share.batches.push(Batch {
                    tokens: batch.tokens[..rows].to_vec(),
                    positions: batch.positions[..rows].to_vec(),
                    spans: Vec::new(),
                    shared: batch.shared,
                    prefix,
                });
                if in_turn && prefix == Prefix::Keep {
                    prefix = Prefix::Kept;
                }
            }
            let part = share.batches.last_mut().expect("pushed above");
            let start = part.tokens.len();
            part.tokens.extend_from_slice(&batch.tokens[span.rows.clone()]);
            part.positions.extend_from_slice(&batch.positions[span.rows.clone()]);
            part.spans.push(Span { rows: start..part.tokens.len(), shared: span.shared });
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Before, pack};

    /// Batches of three queries: their prefix is to be kept, known, or to be computed again.
    fn batches() -> Vec<Batch> {
        let own: Vec<Vec<u32>> = [5, 1, 1, 40, 2, 2, 9].map(|n| (0..n).collect()).to_vec();
        let own: Vec<&[u32]> = own.iter().map(Vec::as_slice).collect();
        let mut batches = pack(&[90, 91, 92], &own, usize::MAX, 9, Before::Wanted);
        batches.extend(pack(&[80, 81], &own[3..5], usize::MAX, 9, Before::Known));
        batches.extend(pack(&[70, 71, 72, 73], &own[..3], usize::MAX, 0, Before::Nothing));
        batches
    }

    /// Every sequence: its batch, ids, positions.
    fn sequences<'a>(parts: impl IntoIterator<Item = (usize, &'a Batch)>) -> Vec<(usize, Vec<u32>, Vec<u32>)> {
        let of_part = |(i, b): (usize, &'a Batch)| {
            b.spans.iter().map(move |s| (i, b.tokens[s.rows.clone()].to_vec(), b.positions[s.rows.clone()].to_vec()))
        };
        parts.into_iter().flat_map(of_part).collect()
    }

    fn check(shares: &[Share]) {
        let batches = batches();
        let parts = || shares.iter().flat_map(|s| s.of.iter().copied().zip(&s.batches));
        assert_eq!(sequences(parts()), sequences(batches.iter().enumerate()));
        for (i, part) in parts() {
            assert!(!part.spans.is_empty());
            assert_eq!(part.shared, batches[i].shared);
            assert_eq!(part.tokens[..part.prefix_rows()], batches[i].tokens[..part.prefix_rows()]);
        }
    }

    #[test]
    fn shares_hold_every_sequence_once_and_in_order() {
        for count in 1..9 {
            let shares = shares(&batches(), count);
            assert!((1..=count).contains(&shares.len()));
            check(&shares);
            let prefixes = shares.iter().flat_map(|s| s.of.iter().zip(&s.batches).map(|(&i, b)| (i, b.prefix)));
            assert!(prefixes.into_iter().all(|(i, prefix)| prefix == batches()[i].prefix));
        }
    }

    #[test]
    fn equal_documents_are_shared_out_evenly() {
        let own = [&[1, 2, 3, 4, 5][..]; 12];
        let one = pack(&[], &own, usize::MAX, 0, Before::Nothing);
        let sizes = |batches: &[Batch]| {
            shares(batches, 4).iter().map(|s| s.batches.iter().map(|b| b.spans.len()).sum()).collect::<Vec<usize>>()
        };
        assert_eq!(sizes(&one), [3; 4]);
        // Eight requests on four devices: two whole ones each.
        let eight: Vec<Batch> = (0..8).flat_map(|i| pack(&[i], &own, usize::MAX, 9, Before::Wanted)).collect();
        assert_eq!(sizes(&eight), [24; 4]);
        assert!(shares(&eight, 4).iter().all(|s| s.batches.len() == 2));
    }

    #[test]
    fn passes_have_as_many_rows_as_fit() {
        for most in [1, 20, 50, 1000] {
            let passes = passes(&batches(), most);
            check(&passes);
            for pass in &passes {
                let sequences: usize = pass.batches.iter().map(|b| b.spans.len()).sum();
                assert!(pass.rows() <= most || sequences == 1, "{} rows, at most {most}", pass.rows());
            }
            let mut kept = passes.iter().flat_map(|p| &p.batches).filter(|b| b.shared == 3).map(|b| b.prefix);
            assert_eq!(kept.next(), Some(Prefix::Keep));
            assert!(kept.all(|prefix| prefix == Prefix::Kept));
        }
        assert_eq!(passes(&batches(), 1000).len(), 1);
        assert_eq!(passes(&batches(), 1).len(), 12);
    }
}
