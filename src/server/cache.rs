//! Scores that are known already, by a hash of all that they depend on: the latest used ones.

use std::{num::NonZeroUsize, sync::Mutex};

use lru::LruCache;
use sha2::{Digest, Sha256};

use super::{ask::Line, job::lock};

/// What a score is known by.
pub(super) type Key = [u8; 32];

pub(super) struct ScoreCache {
    entries: NonZeroUsize,
    known: Mutex<LruCache<Key, Line>>,
}

impl ScoreCache {
    /// A cache of at most so many scores, some two hundred bytes each.
    pub(super) fn new(entries: NonZeroUsize) -> Self {
        Self { entries, known: Mutex::new(LruCache::unbounded()) } // one with a bound takes its memory at once
    }

    pub(super) fn get(&self, key: &Key) -> Option<Line> {
        lock(&self.known).get(key).copied()
    }

    pub(super) fn put(&self, key: Key, line: Line) {
        let mut known = lock(&self.known);
        known.put(key, line);
        if known.len() > self.entries.get() {
            known.pop_lru();
        }
    }
}

/// Hashes what the keys of a request's documents have in common.
pub(super) fn head(parts: &[Option<&str>], numbers: &[usize]) -> Sha256 {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| add(&mut hash, *part));
    for n in numbers {
        hash.update((*n as u64).to_le_bytes());
    }
    hash
}

/// And what follows.
pub(super) fn with(mut head: Sha256, part: &str) -> Sha256 {
    add(&mut head, Some(part));
    head
}

fn add(hash: &mut Sha256, part: Option<&str>) {
    // Lengths keep texts apart; the longest of all stands for none.
    hash.update(part.map_or(u64::MAX, |p| p.len() as u64).to_le_bytes());
    hash.update(part.unwrap_or_default());
}

/// Scores do not depend on a request's other documents, so each text has a key of its own.
pub(super) fn key(head: &Sha256, text: &str) -> Key {
    head.clone().chain_update(text).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_has_another_key() {
        let keys = [
            key(&head(&[Some("a"), Some("b")], &[1]), "c"),
            key(&head(&[Some("ab"), Some("")], &[1]), "c"),
            key(&head(&[Some("a"), None], &[1]), "bc"),
            key(&head(&[Some("a"), Some("")], &[1]), "bc"),
            key(&head(&[Some("a"), Some("b")], &[2]), "c"),
            key(&head(&[Some("a"), Some("b")], &[1]), "d"),
            key(&with(head(&[Some("a"), Some("b")], &[1]), "c"), ""),
            key(&with(head(&[Some("a"), Some("b")], &[1]), ""), "c"),
        ];
        for (i, one) in keys.iter().enumerate() {
            assert!(!keys[..i].contains(one), "{i}");
        }
        assert_eq!(keys[0], key(&head(&[Some("a"), Some("b")], &[1]), "c"));
    }

    #[test]
    fn the_one_used_longest_ago_goes_first() {
        let cache = ScoreCache::new(NonZeroUsize::new(2).unwrap());
        let line = |tokens| Line { score: 0.5, logit: 0.0, tokens, truncated: false };
        for (n, tokens) in [(1, 1), (2, 2)] {
            cache.put([n; 32], line(tokens));
        }
        assert_eq!(cache.get(&[1; 32]), Some(line(1)));
        cache.put([3; 32], line(3));
        assert_eq!([1, 2, 3].map(|n| cache.get(&[n; 32]).map(|l| l.tokens)), [Some(1), None, Some(3)]);
    }
}
