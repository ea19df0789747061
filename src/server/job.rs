//! A request's work: prompts that wait to be scored, and the place to which the scores go.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::problem::Problem;
use crate::{
    backend::{Cancel, Pace},
    model::Logits,
    rerank::Prompts,
};

/// How many requests were let in and are not answered yet.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    /// Those that have no documents in the batch that is being computed.
    pub(super) waiting: usize,
    /// The others.
    pub(super) running: usize,
}

impl Counts {
    /// Whether nobody more may come, where `limit` may wait while one computes.
    pub(super) fn are_full(self, limit: usize) -> bool {
        self.waiting + self.running > limit
    }
}

/// A request's place in these counts.
pub(super) struct Ticket {
    counts: Arc<Mutex<Counts>>,
    running: bool,
}

impl Ticket {
    /// A place, if one is left.
    pub(super) fn draw(counts: &Arc<Mutex<Counts>>, limit: usize) -> Option<Self> {
        let mut now = lock(counts);
        if now.are_full(limit) {
            return None;
        }
        now.waiting += 1;
        Some(Self { counts: counts.clone(), running: false })
    }

    fn set(&mut self, running: bool) {
        if self.running != running {
            self.running = running;
            let now = &mut *lock(&self.counts);
            let (from, to) =
                if running { (&mut now.waiting, &mut now.running) } else { (&mut now.running, &mut now.waiting) };
            (*from, *to) = (*from - 1, *to + 1);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut now = lock(&self.counts);
        if self.running { now.running -= 1 } else { now.waiting -= 1 }
    }
}

/// A lock whose holder cannot have left anything half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The logits of all groups.
type Answer = Result<Vec<Vec<Logits>>, Problem>;

/// What a request took so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Took {
    /// From its prompts to its first batch, or until now.
    pub(super) waited: Duration,
    /// Since then.
    pub(super) computed: Duration,
    /// Of its documents, that were computed for it.
    pub(super) tokens: usize,
    pub(super) answered: bool,
}

/// Hears of each score as soon as it is known: group, document, logits.
pub(super) type Hear = Box<dyn Fn(usize, usize, Logits) + Send + Sync>;

/// A request's prompts.
pub(super) struct Job {
    /// One a query.
    pub(super) groups: Vec<Prompts>,
    /// Rows of all of them.
    pub(super) rows: usize,
    /// When nobody will wait for it any more.
    pub(super) due: Option<Instant>,
    hear: Hear,
    gone: Cancel,
    queued: Instant,
    begun: OnceLock<Instant>,
    /// Of documents, that were computed.
    tokens: AtomicUsize,
    answered: AtomicBool,
    open: Mutex<Option<Open>>,
}

/// What an unanswered job has beside its prompts.
struct Open {
    ticket: Ticket,
    reply: oneshot::Sender<Answer>,
    logits: Vec<Vec<Logits>>,
}

impl Job {
    pub(super) fn new(
        groups: Vec<Prompts>,
        due: Option<Instant>,
        ticket: Ticket,
        hear: Hear,
    ) -> (Arc<Self>, oneshot::Receiver<Answer>) {
        let (reply, answer) = oneshot::channel();
        let logits = groups.iter().map(|g| Vec::with_capacity(g.own.len())).collect();
        let job = Self {
            rows: groups.iter().map(Prompts::computed).sum(),
            groups,
            due,
            hear,
            gone: Cancel::default(),
            queued: Instant::now(),
            begun: OnceLock::new(),
            tokens: AtomicUsize::new(0),
            answered: AtomicBool::new(false),
            open: Mutex::new(Some(Open { ticket, reply, logits })),
        };
        (Arc::new(job), answer)
    }

    /// Nobody waits for it any more, or it has been answered.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.cancelled()
    }

    /// Gives it up, if it has not been answered.
    pub(super) fn leave(&self) -> Took {
        self.gone.cancel();
        lock(&self.open).take();
        let begun = self.begun.get();
        Took {
            waited: begun.map_or_else(|| self.queued.elapsed(), |begun| *begun - self.queued),
            computed: begun.map(Instant::elapsed).unwrap_or_default(),
            tokens: self.tokens.load(Ordering::Relaxed),
            answered: self.answered.load(Ordering::Relaxed),
        }
    }

    /// Some of it is in the batch that is computed from now on.
    pub(super) fn begin(&self) {
        if let Some(open) = &mut *lock(&self.open) {
            open.ticket.set(true);
            self.begun.get_or_init(Instant::now);
        }
    }

    /// That batch is done.
    pub(super) fn pause(&self) {
        if let Some(open) = &mut *lock(&self.open) {
            open.ticket.set(false);
        }
    }

    /// Takes the logits of some documents of a group, which come in order; answers when all are there. Tells whether anybody still waited for them.
    pub(super) fn deliver(&self, group: usize, documents: Range<usize>, logits: Vec<Logits>) -> bool {
        let mut slot = lock(&self.open);
        let Some(open) = &mut *slot else { return false };
        let own = &self.groups[group].own[documents.clone()];
        self.tokens.fetch_add(own.iter().map(Vec::len).sum(), Ordering::Relaxed);
        if logits.iter().any(|l| !l.difference.is_finite() || !l.score().is_finite()) {
            drop(slot);
            let what = "The model gave a score that is not a number.";
            self.fail(Problem::new(500, "not-a-number", what).cause("a logit is not finite"));
            return true;
        }
        assert_eq!(open.logits[group].len(), documents.start, "documents come in order");
        assert_eq!(documents.len(), logits.len(), "a score a document");
        for (document, one) in documents.zip(&logits) {
            (self.hear)(group, document, *one);
        }
        open.logits[group].extend(logits);
        let done = open.logits.iter().zip(&self.groups).all(|(l, g)| l.len() == g.own.len());
        if done && let Some(open) = slot.take() {
            self.gone.cancel();
            self.answered.store(true, Ordering::Relaxed);
            let _ = open.reply.send(Ok(open.logits)); // who asked may be gone
        }
        true
    }

    pub(super) fn fail(&self, problem: Problem) {
        self.gone.cancel();
        if let Some(open) = lock(&self.open).take() {
            let _ = open.reply.send(Err(problem)); // who asked may be gone
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_for_those_that_are_not_answered_whether_they_have_been_computed_in_part_or_not() {
        let counts = Arc::new(Mutex::new(Counts::default()));
        let draw = || Ticket::draw(&counts, 1);
        let now = || {
            let Counts { waiting, running } = *lock(&counts);
            (waiting, running)
        };
        let prompts = Prompts { shared: vec![], own: vec![vec![1], vec![2, 3]], truncated: vec![false; 2] };
        let (job, _answer) = Job::new(vec![prompts], None, draw().unwrap(), Box::new(|_, _, _| {}));
        let second = draw().unwrap();
        assert!(draw().is_none());
        job.begin();
        assert_eq!(now(), (1, 1));
        assert!(draw().is_none());
        let logits = Logits { difference: 1.0, pair: None };
        assert!(job.deliver(0, 0..1, vec![logits]));
        job.pause();
        assert_eq!(now(), (2, 0));
        assert!(draw().is_none(), "it waits again");
        drop(second);
        job.begin();
        assert_eq!(now(), (0, 1));
        assert!(job.deliver(0, 1..2, vec![logits]));
        assert_eq!(now(), (0, 0));
        assert!(!job.deliver(0, 1..2, vec![logits]), "nobody waits for it");
        let took = job.leave();
        assert_eq!((took.tokens, took.answered), (3, true));
    }
}
