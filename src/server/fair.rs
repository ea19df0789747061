//! Whose documents are next. Clients take turns by the rows that they use (deficit round robin: M. Shreedhar and G. Varghese, 1995), and so do the
//! requests of one client: a thousand documents delay five others by one batch, not by a thousand documents. Who comes anew is asked before those
//! who have had a turn, for up to half of a batch (as the new flows of FQ-CoDel, RFC 8290): most requests are small, and done with that.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use super::{engine::Engine, job::Job};

/// A client's turn is this part of a batch.
const TURNS: usize = 4;

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
    /// Clients that have had no turn yet.
    new: VecDeque<Client>,
    /// Those that had, the next one first.
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
        match self.new.iter_mut().chain(&mut self.clients).find(|c| c.id == client) {
            Some(known) => known.jobs.push_back(entry),
            None => self.new.push_back(Client { id: client.into(), credit: 0, jobs: [entry].into() }),
        }
    }

    /// Forgets jobs that nobody waits for.
    pub(super) fn tidy(&mut self) {
        for clients in [&mut self.new, &mut self.clients] {
            clients.iter_mut().for_each(|client| client.jobs.retain(|entry| !entry.job.is_gone()));
            clients.retain(|client| !client.jobs.is_empty());
        }
    }

    /// All jobs.
    pub(super) fn drain(&mut self) -> Vec<Arc<Job>> {
        let clients = self.new.drain(..).chain(self.clients.drain(..));
        clients.flat_map(|client| client.jobs).map(|entry| entry.job).collect()
    }

    /// The documents of the next batch: nothing if there are none, else one at least. `most` bounds its rows where the engine's own choice does not.
    pub(super) fn take(&mut self, engine: &dyn Engine, most: Option<usize>) -> Vec<Share> {
        self.tidy();
        let rows = most.unwrap_or(usize::MAX).min(engine.rows(0));
        let mut batch = Batch { engine, most, rows: 0, budget: 0, shares: Vec::new() };
        let (mut new_and_full, mut full) = (VecDeque::new(), VecDeque::new());
        loop {
            let new = batch.rows < rows / 2 || self.clients.is_empty();
            let (mut client, new) = match (new.then(|| self.new.pop_front()).flatten(), self.clients.front()) {
                (Some(client), _) => (client, true),
                (None, Some(_)) => (self.clients.pop_front().expect("there is one"), false),
                (None, None) => break,
            };
            client.credit += (rows / TURNS).max(1);
            match client.turn(&mut batch) {
                Turn::Spent => {
                    client.jobs.rotate_left(1);
                    self.clients.push_back(client);
                }
                Turn::Full if new => new_and_full.push_back(client),
                Turn::Full => full.push_back(client),
                Turn::Finished => {}
            }
        }
        // Whose document did not fit is first next time: it must not wait for ever for smaller ones.
        (self.new, self.clients) = (new_and_full, full);
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::{
        backend::Pace,
        error::Result,
        model::Logits,
        random::SplitMix64,
        rerank::{Part, Prompts},
        server::{
            engine::{EngineInfo, Spell},
            job::{Counts, Ticket},
        },
    };

    /// Only says how many rows a batch has.
    struct Rows(usize);

    impl Engine for Rows {
        fn info(&self) -> EngineInfo {
            unreachable!("nobody asks")
        }
        fn spell(&self, _: &Spell, _: &dyn Pace) -> Result<Prompts> {
            unreachable!("nobody asks")
        }
        fn rows(&self, _: usize) -> usize {
            self.0
        }
        fn knows(&self, shared: &[u32]) -> bool {
            shared == [7]
        }
        fn score(&self, _: &[Part<'_>], _: &dyn Pace) -> Result<Vec<Vec<Logits>>> {
            unreachable!("nobody asks")
        }
    }

    /// A job of documents of such lengths behind a prefix.
    fn job(shared: &[u32], lengths: &[usize]) -> Arc<Job> {
        let counts = Arc::new(Mutex::new(Counts::default()));
        let own: Vec<Vec<u32>> = lengths.iter().map(|n| vec![0; *n]).collect();
        let prompts = Prompts { shared: shared.to_vec(), truncated: vec![false; own.len()], own };
        Job::new(vec![prompts], Ticket::draw(&counts, 9).unwrap(), Box::new(|_, _, _| {})).0
    }

    fn taken(fair: &mut Fair, rows: usize, jobs: &[Arc<Job>]) -> Vec<(usize, Range<usize>)> {
        let place = |share: &Share| jobs.iter().position(|j| Arc::ptr_eq(j, &share.job)).unwrap();
        fair.take(&Rows(rows), None).into_iter().map(|s| (place(&s), s.documents)).collect()
    }

    #[test]
    fn clients_get_equal_parts_of_a_batch() {
        let jobs = [job(&[1], &[128; 1000]), job(&[2], &[128; 5]), job(&[3], &[64; 1000])];
        let mut fair = Fair::default();
        for (client, job) in ["a", "b", "c"].iter().zip(&jobs) {
            fair.push(client, job.clone());
        }
        // A turn is 384 rows: two documents of a and b, whose prefix counts, and five of c. Three more of a; then two of b fill the batch.
        assert_eq!(taken(&mut fair, 3 * 512, &jobs), [(0, 0..5), (1, 0..4), (2, 0..5)]);
    }

    #[test]
    fn who_comes_anew_is_asked_first_but_not_for_more_than_half_of_a_batch() {
        let mut jobs = vec![job(&[], &[10; 1000]), job(&[], &[10; 1000])];
        let mut fair = Fair::default();
        fair.push("a", jobs[0].clone());
        fair.push("b", jobs[1].clone());
        taken(&mut fair, 100, &jobs);
        for n in 0..9 {
            jobs.push(job(&[], &[10]));
            fair.push(&format!("new {n}"), jobs[2 + n].clone());
        }
        let second = taken(&mut fair, 100, &jobs);
        let (new, old): (Vec<_>, Vec<_>) = second.iter().partition(|(j, _)| *j >= 2);
        assert_eq!(new.iter().map(|(j, _)| *j).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
        assert_eq!(old.iter().map(|(_, documents)| documents.len()).sum::<usize>(), 5);
        let third = taken(&mut fair, 100, &jobs);
        assert_eq!(third.iter().map(|(j, _)| *j).take(4).collect::<Vec<_>>(), [7, 8, 9, 10]);
    }

    #[test]
    fn the_requests_of_one_client_take_turns() {
        let jobs = [job(&[1], &[100; 1000]), job(&[2], &[100; 3])];
        let mut fair = Fair::default();
        jobs.iter().for_each(|job| fair.push("a", job.clone()));
        let first = taken(&mut fair, 1024, &jobs);
        assert!(first.contains(&(1, 0..3)), "{first:?}");
    }

    #[test]
    fn a_long_document_does_not_wait_for_ever_for_short_ones() {
        let jobs = [job(&[], &[10; 1000]), job(&[], &[900]), job(&[], &[10; 1000])];
        let mut fair = Fair::default();
        for (client, job) in ["a", "b", "c"].iter().zip(&jobs) {
            fair.push(client, job.clone());
        }
        // It takes four turns' rows, and so four batches at most, whatever fits beside the others.
        let batches: Vec<_> = (0..4).map(|_| taken(&mut fair, 1000, &jobs)).collect();
        assert!(!batches[0].iter().any(|(j, _)| *j == 1), "{batches:?}");
        assert!(batches.iter().flatten().any(|(j, _)| *j == 1), "{batches:?}");
    }

    #[test]
    fn a_document_over_the_budget_goes_alone_and_a_known_prefix_is_free() {
        let jobs = [job(&[7], &[5, 2000, 5])];
        let mut fair = Fair::default();
        fair.push("a", jobs[0].clone());
        let batches: Vec<_> = (0..4).map(|_| taken(&mut fair, 10, &jobs)).collect();
        assert_eq!(batches, [vec![(0, 0..1)], vec![(0, 1..2)], vec![(0, 2..3)], vec![]]);
        let jobs = [job(&[7], &[5, 5]), job(&[8], &[4, 4])];
        jobs.iter().for_each(|job| fair.push("a", job.clone()));
        assert_eq!(taken(&mut fair, 10, &jobs), [(0, 0..2)]);
        assert_eq!(taken(&mut fair, 10, &jobs), [(1, 0..2)]);
    }

    #[test]
    fn jobs_that_are_gone_are_forgotten() {
        let jobs = [job(&[], &[5; 9]), job(&[], &[5; 9])];
        let mut fair = Fair::default();
        jobs.iter().for_each(|job| fair.push("a", job.clone()));
        jobs[0].leave();
        assert_eq!(taken(&mut fair, 1000, &jobs), [(1, 0..9)]);
        assert_eq!(fair.drain().len(), 0);
    }

    #[test]
    fn every_document_goes_once_and_in_order_within_the_budget() {
        let mut random = SplitMix64(5);
        let mut below = |n: usize| random.next() as usize % n;
        for _ in 0..300 {
            let budget = 1 + below(600);
            let mut fair = Fair::default();
            let mut jobs: Vec<Arc<Job>> = Vec::new();
            let mut next: Vec<usize> = Vec::new();
            let mut idle = 0;
            while idle < 2 {
                if jobs.len() < 12 {
                    let lengths: Vec<usize> = (0..1 + below(30)).map(|_| 1 + below(90)).collect();
                    let shared = [1, 2, 3][..below(4)].to_vec();
                    jobs.push(job(&shared, &lengths));
                    next.push(0);
                    fair.push(["a", "b", "c"][below(3)], jobs[jobs.len() - 1].clone());
                }
                let shares = taken(&mut fair, budget, &jobs);
                idle = if shares.is_empty() { idle + 1 } else { 0 };
                let mut rows = 0;
                for (j, documents) in &shares {
                    assert_eq!(documents.start, next[*j], "in order");
                    next[*j] = documents.end;
                    rows += jobs[*j].groups[0].own[documents.clone()].iter().map(Vec::len).sum::<usize>();
                }
                let alone = shares.len() == 1 && shares[0].1.len() == 1;
                assert!(alone || rows <= budget, "{rows} rows of {budget}");
            }
            for (job, next) in jobs.iter().zip(&next) {
                assert_eq!(job.groups[0].own.len(), *next, "all of them");
            }
        }
    }
}
