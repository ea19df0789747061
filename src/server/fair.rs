//! Whose documents are next. Clients take turns by the rows that they use (deficit round robin: M. Shreedhar and G. Varghese, 1995), and so do the
//! requests of one client: a thousand documents delay five others by one batch, not by a thousand documents.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use super::{engine::Engine, job::Job};

/// Rows that a client gets before the next one is asked.
const QUANTUM: usize = 512;

/// Documents of a job that go through the model in the next batch.
pub(super) struct Share {
    pub(super) job: Arc<Job>,
    pub(super) group: usize,
    pub(super) documents: Range<usize>,
}

/// Who asks, as far as fairness goes.
pub(super) type ClientId = String;

struct Client {
    id: ClientId,
    /// Rows that it may still use.
    credit: usize,
    /// The one whose turn it is first.
    jobs: VecDeque<Entry>,
}

struct Entry {
    job: Arc<Job>,
    group: usize,
    next: usize,
}

/// Jobs that wait, by client.
#[derive(Default)]
pub(super) struct Fair {
    clients: VecDeque<Client>,
}

/// A batch that is being filled.
struct Batch<'a> {
    engine: &'a dyn Engine,
    /// The most rows, where somebody has set it.
    most: Option<usize>,
    rows: usize,
    budget: usize,
    shares: Vec<Share>,
}

/// What became of a client's turn.
enum Turn {
    /// Its credit is used up.
    Spent,
    /// Its next document does not fit into this batch.
    Full,
    /// It has no more documents.
    Finished,
}

impl Fair {
    pub(super) fn push(&mut self, client: &str, job: Arc<Job>) {
        let entry = Entry { job, group: 0, next: 0 };
        match self.clients.iter_mut().find(|c| c.id == client) {
            Some(known) => known.jobs.push_back(entry),
            None => {
                let jobs = VecDeque::from([entry]);
                self.clients.push_back(Client { id: client.into(), credit: 0, jobs });
            }
        }
    }

    /// Forgets jobs that nobody waits for.
    pub(super) fn tidy(&mut self) {
        for client in &mut self.clients {
            client.jobs.retain(|entry| !entry.job.is_gone());
        }
        self.clients.retain(|client| !client.jobs.is_empty());
    }

    /// All jobs.
    pub(super) fn drain(&mut self) -> Vec<Arc<Job>> {
        self.clients.drain(..).flat_map(|client| client.jobs).map(|entry| entry.job).collect()
    }

    /// The documents of the next batch: nothing if there are none, else one at least. `most` bounds its rows where the engine's own choice does not.
    pub(super) fn take(&mut self, engine: &dyn Engine, most: Option<usize>) -> Vec<Share> {
        self.tidy();
        let mut batch = Batch { engine, most, rows: 0, budget: 0, shares: Vec::new() };
        let mut full = VecDeque::new();
        while let Some(mut client) = self.clients.pop_front() {
            client.credit += QUANTUM;
            match client.turn(&mut batch) {
                Turn::Spent => {
                    client.jobs.rotate_left(1);
                    self.clients.push_back(client);
                }
                Turn::Full => full.push_back(client),
                Turn::Finished => {}
            }
        }
        // Whose document did not fit is first next time: it must not wait for ever for smaller ones.
        self.clients = full;
        batch.shares
    }
}

impl Client {
    fn turn(&mut self, batch: &mut Batch<'_>) -> Turn {
        while let Some(entry) = self.jobs.front_mut() {
            let Some(own) = entry.rows() else {
                self.jobs.pop_front();
                continue;
            };
            let cost = batch.cost(entry, own);
            if !batch.has_room(entry, cost) {
                return Turn::Full;
            }
            if self.credit < cost {
                return Turn::Spent;
            }
            self.credit -= cost;
            batch.add(entry, cost);
        }
        Turn::Finished
    }
}

impl Entry {
    /// Rows of the next document, if there is one.
    fn rows(&mut self) -> Option<usize> {
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

impl Batch<'_> {
    fn share(&mut self, entry: &Entry) -> Option<&mut Share> {
        self.shares.iter_mut().find(|s| Arc::ptr_eq(&s.job, &entry.job) && s.group == entry.group)
    }

    /// Rows that the next document adds: its prefix too, unless that is here or at hand.
    fn cost(&mut self, entry: &Entry, own: usize) -> usize {
        let shared = entry.shared();
        let here = self.share(entry).is_some()
            || self.shares.iter().any(|s| s.job.groups[s.group].shared == shared)
            || self.engine.knows(shared);
        own + if here { 0 } else { shared.len() }
    }

    /// One document goes in any case.
    fn has_room(&mut self, entry: &Entry, cost: usize) -> bool {
        if self.shares.is_empty() {
            let rows = self.engine.rows(entry.shared().len());
            self.budget = self.most.map_or(rows, |most| most.min(rows));
            return true;
        }
        self.rows + cost <= self.budget
    }

    fn add(&mut self, entry: &mut Entry, cost: usize) {
        self.rows += cost;
        let next = entry.next;
        match self.share(entry) {
            Some(share) => share.documents.end = next + 1,
            None => {
                let share = Share { job: entry.job.clone(), group: entry.group, documents: next..next + 1 };
                self.shares.push(share);
            }
        }
        entry.next += 1;
    }
}
