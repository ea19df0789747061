//! Whose documents are next. Clients take turns by the rows that they use (deficit round robin: M. Shreedhar and G. Varghese, 1995): a thousand
//! documents of one delay five of another by one batch, not by a thousand documents. Who comes anew is asked before those who have had a turn, for up to
//! half of a batch (as the new flows of FQ-CoDel, RFC 8290): most requests are small, and done with that.
//!
//! Of one client's requests the one with the fewest rows left goes first: so large ones end one after the other instead of all at the end, and
//! small ones pass them. Whichever would be next without those that came after it is passed by as many rows as it needs itself, and no more; then
//! it goes. So small ones wait for one large one now and then, and not for all of them. Requests that would be late otherwise go before all that (`promise`).

use std::{collections::VecDeque, sync::Arc};

use super::{
    engine::Engine,
    fill::{self, Batch, Entry, Share},
    job::Job,
    promise::{self, Due},
};

#[cfg(test)]
pub(super) mod tests;

/// A client's turn is this part of a batch.
const TURNS: usize = 4;

/// Who asks, as far as fairness goes.
pub(super) type ClientId = String;

struct Client {
    id: ClientId,
    /// Rows that it may still use; less than none where promises made it use more than its part.
    credit: i64,
    /// In the order in which they came.
    jobs: Vec<Entry>,
}

/// Jobs that wait, by client.
#[derive(Default)]
pub(super) struct Fair {
    /// Clients that have had no turn yet.
    new: VecDeque<Client>,
    /// Those that had, the next one first.
    clients: VecDeque<Client>,
    /// Rows of the batch that was taken last.
    computing: usize,
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
        match self.new.iter_mut().chain(&mut self.clients).find(|c| c.id == client) {
            Some(known) => known.jobs.push(Entry::new(job)),
            None => self.new.push_back(Client { id: client.into(), credit: 0, jobs: vec![Entry::new(job)] }),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Client> {
        self.new.iter().chain(&self.clients)
    }

    /// Rows that are being computed or wait.
    pub(super) fn rows(&self) -> usize {
        self.computing + self.all().map(Client::left).sum::<usize>()
    }

    /// How many rows must be computed before there is room for another job of a client, as [`promise::wait`] says: 0 lets it in, as nothing else to do
    /// does. `room` tells how many rows can be computed until a job is due, where that is known.
    pub(super) fn wait(&self, client: &str, new: Due, room: impl Fn(&Job) -> Option<usize>) -> usize {
        if self.rows() == 0 {
            return 0;
        }
        let dues: Vec<Due> = self.dues(room).into_iter().map(|(_, due)| due).collect();
        promise::wait(new, self.end(client, new.rows), &dues, self.computing)
    }

    /// After how many rows another job of a client would end if nobody else came: other clients have turns as long as it has. Of its own those up to
    /// twice as large are taken to go before it: of those about as large any may.
    fn end(&self, client: &str, rows: usize) -> usize {
        let own = rows + self.all().filter(|c| c.id == client).map(|c| c.before(2 * rows)).sum::<usize>();
        let others = self.all().filter(|c| c.id != client).map(|c| c.left().min(own));
        self.computing + own + others.sum::<usize>()
    }

    fn dues(&self, room: impl Fn(&Job) -> Option<usize>) -> Vec<(Arc<Job>, Due)> {
        let due = |entry: &Entry| Some((entry.job.clone(), Due { rows: entry.left, room: room(&entry.job)? }));
        self.all().flat_map(|client| &client.jobs).filter_map(due).collect()
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
        self.computing = 0;
        let clients = self.new.drain(..).chain(self.clients.drain(..));
        clients.flat_map(|client| client.jobs).map(|entry| entry.job).collect()
    }

    /// The documents of the next batch, the one before being done: nothing if there are none, else one at least. `most` bounds its rows where the
    /// engine's own choice does not; `room` is that of [`Self::wait`].
    pub(super) fn take(
        &mut self,
        engine: &dyn Engine,
        most: Option<usize>,
        room: impl Fn(&Job) -> Option<usize>,
    ) -> Vec<Share> {
        self.tidy();
        let (mut batch, rows) = (Batch::new(engine, most), fill::usual(engine, most));
        self.keep_promises(&mut batch, rows, room);
        let (mut new_and_full, mut full) = (VecDeque::new(), VecDeque::new());
        loop {
            let new = batch.rows < rows / 2 || self.clients.is_empty();
            let (mut client, new) = match (new.then(|| self.new.pop_front()).flatten(), self.clients.front()) {
                (Some(client), _) => (client, true),
                (None, Some(_)) => (self.clients.pop_front().expect("there is one"), false),
                (None, None) => break,
            };
            client.credit += (rows / TURNS).max(1) as i64;
            match client.turn(&mut batch) {
                Turn::Spent => self.clients.push_back(client),
                Turn::Full if new => new_and_full.push_back(client),
                Turn::Full => full.push_back(client),
                Turn::Finished => {}
            }
        }
        // Whose document did not fit is first next time: it must not wait for ever for smaller ones.
        (self.new, self.clients) = (new_and_full, full);
        self.computing = batch.rows;
        batch.shares
    }

    /// Those that would be late otherwise go first, at their clients' expense.
    fn keep_promises(&mut self, batch: &mut Batch<'_>, rows: usize, room: impl Fn(&Job) -> Option<usize>) {
        let (jobs, dues): (Vec<_>, Vec<_>) = self.dues(room).into_iter().unzip();
        for pressing in promise::pressing(&dues, rows) {
            for client in self.new.iter_mut().chain(&mut self.clients) {
                if let Some(at) = client.jobs.iter().position(|entry| Arc::ptr_eq(&entry.job, &jobs[pressing])) {
                    client.give(at, batch, promise::promised(rows), i64::MIN);
                }
            }
        }
    }
}

impl Client {
    /// Rows of all its jobs.
    fn left(&self) -> usize {
        self.jobs.iter().map(|entry| entry.left).sum()
    }

    /// Rows of those jobs that would go before a new one of so many.
    fn before(&self, rows: usize) -> usize {
        self.jobs.iter().filter(|entry| entry.order() <= rows).map(|entry| entry.left).sum()
    }

    fn turn(&mut self, batch: &mut Batch<'_>) -> Turn {
        while let Some(at) = (0..self.jobs.len()).min_by_key(|&at| self.jobs[at].order()) {
            match self.give(at, batch, usize::MAX, 0) {
                Turn::Finished => drop(self.jobs.remove(at)),
                other => return other,
            }
        }
        Turn::Finished
    }

    /// Puts a job's documents into the batch, as long as that has no more than `most` rows and `least` credit is left.
    fn give(&mut self, at: usize, batch: &mut Batch<'_>, most: usize, least: i64) -> Turn {
        let (before, from) = self.jobs.split_at_mut(at);
        let entry = &mut from[0];
        let mut passed = before.iter_mut().filter(|older| older.left > 0).min_by_key(|older| older.order());
        while let Some(own) = entry.next() {
            let cost = batch.cost(entry, own);
            if !batch.has_room(entry, cost) || batch.rows > 0 && batch.rows + cost > most {
                return Turn::Full;
            }
            if self.credit.saturating_sub(cost as i64) < least {
                return Turn::Spent;
            }
            self.credit -= cost as i64;
            if let Some(older) = &mut passed {
                older.passed += cost;
            }
            batch.add(entry, own, cost);
        }
        Turn::Finished
    }
}

impl Entry {
    /// The least goes first: who has the fewest rows left, or was passed by as many as it needs.
    fn order(&self) -> usize {
        if self.passed < self.job.rows { self.left } else { 0 }
    }
}
