//! A batch that is being filled with documents of many requests.

use std::{ops::Range, sync::Arc};

use super::{engine::Engine, job::Job};

/// Documents of a job that go through the model in the next batch.
pub(super) struct Share {
    pub(super) job: Arc<Job>,
    pub(super) group: usize,
    pub(super) documents: Range<usize>,
    /// What they take: their prefix too, where it is computed for them.
    pub(super) rows: usize,
}

impl Share {
    /// Tokens of the documents alone.
    pub(super) fn tokens(&self) -> usize {
        self.job.groups[self.group].own[self.documents.clone()].iter().map(Vec::len).sum()
    }
}

/// Rows of a full batch whose documents have no long prefix; `most` is what somebody has set.
pub(super) fn usual(engine: &dyn Engine, most: Option<usize>) -> usize {
    most.unwrap_or(usize::MAX).min(engine.rows(0))
}

pub(super) struct Batch<'a> {
    engine: &'a dyn Engine,
    /// The most rows, where somebody has set it.
    most: Option<usize>,
    pub(super) rows: usize,
    budget: usize,
    pub(super) shares: Vec<Share>,
}

/// A job that waits, and how far it has come.
pub(super) struct Entry {
    pub(super) job: Arc<Job>,
    group: usize,
    next: usize,
    /// Rows that are not in any batch yet.
    pub(super) left: usize,
    /// Rows that its client's later jobs were given while it would have been next without them.
    pub(super) passed: usize,
}

impl Entry {
    pub(super) fn new(job: Arc<Job>) -> Self {
        Self { left: job.rows, job, group: 0, next: 0, passed: 0 }
    }

    /// Rows of the next document, if there is one.
    pub(super) fn next(&mut self) -> Option<usize> {
        while let Some(group) = self.job.groups.get(self.group) {
            if let Some(own) = group.own.get(self.next) {
                return Some(own.len());
            }
            (self.group, self.next) = (self.group + 1, 0);
        }
        None
    }

    fn shared(&self) -> &[u32] {
        &self.job.groups[self.group].shared
    }
}

impl<'a> Batch<'a> {
    pub(super) fn new(engine: &'a dyn Engine, most: Option<usize>) -> Self {
        Self { engine, most, rows: 0, budget: 0, shares: Vec::new() }
    }

    fn share(&mut self, entry: &Entry) -> Option<&mut Share> {
        self.shares.iter_mut().find(|s| Arc::ptr_eq(&s.job, &entry.job) && s.group == entry.group)
    }

    /// Rows that the next document adds: its prefix too, unless that is here or at hand.
    pub(super) fn cost(&mut self, entry: &Entry, own: usize) -> usize {
        let shared = entry.shared();
        let here = self.share(entry).is_some()
            || self.shares.iter().any(|s| s.job.groups[s.group].shared == shared)
            || self.engine.knows(shared);
        own + if here { 0 } else { shared.len() }
    }

    /// One document goes in any case.
    pub(super) fn has_room(&mut self, entry: &Entry, cost: usize) -> bool {
        if self.shares.is_empty() {
            // Documents behind a long prefix share it among more of them, whatever was set: it may be computed anew in each batch.
            let shared = entry.shared().len();
            let rows = self.engine.rows(shared);
            self.budget = self.most.map_or(rows, |most| most.max(2 * shared).min(rows));
            return true;
        }
        self.rows + cost <= self.budget
    }

    pub(super) fn add(&mut self, entry: &mut Entry, own: usize, cost: usize) {
        self.rows += cost;
        let next = entry.next;
        match self.share(entry) {
            Some(share) => (share.documents.end, share.rows) = (next + 1, share.rows + cost),
            None => {
                let documents = next..next + 1;
                self.shares.push(Share { job: entry.job.clone(), group: entry.group, documents, rows: cost });
            }
        }
        entry.left -= own + if next == 0 { entry.shared().len() } else { 0 };
        entry.next += 1;
    }
}
