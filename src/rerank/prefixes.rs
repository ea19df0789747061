//! Prefixes whose keys and values are kept from one request to the next.

use std::collections::VecDeque;

use crate::backend::KeptPrefix;

pub(super) struct Prefixes {
    /// The one used longest ago first.
    kept: VecDeque<(Vec<u32>, KeptPrefix)>,
    /// The most rows of all, and how many prefixes.
    rows: usize,
    count: usize,
}

impl Prefixes {
    /// Keeps one of at most so many rows.
    pub(super) fn one(rows: usize) -> Self {
        Self { kept: VecDeque::new(), rows, count: 1 }
    }

    /// Keeps as many as have so many rows.
    pub(super) fn of(rows: usize) -> Self {
        Self { kept: VecDeque::new(), rows, count: usize::MAX }
    }

    /// The longest prefix that may be kept.
    pub(super) fn most(&self) -> usize {
        self.rows
    }

    pub(super) fn holds(&self, ids: &[u32]) -> bool {
        self.kept.iter().any(|(known, _)| known == ids)
    }

    /// Takes one out, to be used; [`Self::put`] brings it back. Where one alone is kept, another one makes room at once.
    pub(super) fn take(&mut self, ids: &[u32]) -> Option<KeptPrefix> {
        let at = self.kept.iter().position(|(known, _)| known == ids);
        let found = at.and_then(|at| self.kept.remove(at)).map(|(_, kept)| kept);
        if self.count == 1 {
            self.kept.clear();
        }
        found
    }

    pub(super) fn put(&mut self, ids: Vec<u32>, prefix: KeptPrefix) {
        if ids.is_empty() || ids.len() > self.rows {
            return;
        }
        self.kept.retain(|(known, _)| *known != ids);
        self.kept.push_back((ids, prefix));
        while self.kept.len() > self.count || self.kept.iter().map(|(ids, _)| ids.len()).sum::<usize>() > self.rows {
            self.kept.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(prefixes: &mut Prefixes, ids: &[u32]) {
        prefixes.put(ids.to_vec(), KeptPrefix::default());
    }

    #[test]
    fn the_one_used_longest_ago_goes_first() {
        let mut prefixes = Prefixes::of(5);
        put(&mut prefixes, &[1, 2]);
        put(&mut prefixes, &[3, 4]);
        let used = prefixes.take(&[1, 2]).unwrap();
        assert!(!prefixes.holds(&[1, 2]));
        prefixes.put(vec![1, 2], used);
        put(&mut prefixes, &[5, 6]);
        assert_eq!([&[1, 2], &[3, 4], &[5, 6]].map(|ids| prefixes.holds(ids)), [true, false, true]);
        put(&mut prefixes, &[7; 6]);
        assert!(!prefixes.holds(&[7; 6]) && prefixes.holds(&[1, 2]));
        put(&mut prefixes, &[8; 5]);
        assert!(prefixes.holds(&[8; 5]) && !prefixes.holds(&[1, 2]));
    }

    #[test]
    fn one_alone_where_no_more_are_wanted() {
        let mut prefixes = Prefixes::one(9);
        put(&mut prefixes, &[1]);
        put(&mut prefixes, &[2]);
        put(&mut prefixes, &[2]);
        assert!(!prefixes.holds(&[1]) && prefixes.holds(&[2]));
        put(&mut prefixes, &[]);
        assert!(prefixes.holds(&[2]));
    }
}
