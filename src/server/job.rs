//! A request's work: prompts that wait to be scored, and the place to which the scores go.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::problem::Problem;
use crate::{
    backend::{Cancel, Pace},
    model::Logits,
    rerank::Prompts,
};

/// How many requests wait, and how many are being computed.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) waiting: usize,
    pub(super) running: usize,
}

impl Counts {
    /// Whether nobody more may wait, where `limit` may; one who would not have to may always come.
    pub(super) fn are_full(&self, limit: usize) -> bool {
        self.waiting >= limit && self.waiting + self.running > 0
    }
}

/// A request's place in these counts.
pub(super) struct Ticket {
    counts: Arc<Mutex<Counts>>,
    begun: bool,
}

impl Ticket {
    /// A place among those that wait, if at most `limit` may, or nobody is there at all.
    pub(super) fn draw(counts: &Arc<Mutex<Counts>>, limit: usize) -> Option<Self> {
        let mut now = lock(counts);
        if now.are_full(limit) {
            return None;
        }
        now.waiting += 1;
        Some(Self { counts: counts.clone(), begun: false })
    }

    fn begin(&mut self) {
        if !self.begun {
            self.begun = true;
            let mut now = lock(&self.counts);
            now.waiting -= 1;
            now.running += 1;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut now = lock(&self.counts);
        if self.begun { now.running -= 1 } else { now.waiting -= 1 }
    }
}

/// A lock whose holder cannot have left anything half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The logits of all groups, and how long they took.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) logits: Vec<Vec<Logits>>,
    pub(super) waited: Duration,
    pub(super) computed: Duration,
}

/// Hears of each score as soon as it is known: group, document, logits.
pub(super) type Hear = Box<dyn Fn(usize, usize, Logits) + Send + Sync>;

/// A request's prompts.
pub(super) struct Job {
    /// One a query.
    pub(super) groups: Vec<Prompts>,
    hear: Hear,
    gone: Cancel,
    open: Mutex<Option<Open>>,
}

/// What an unanswered job has beside its prompts.
struct Open {
    ticket: Ticket,
    reply: oneshot::Sender<Result<Done, Problem>>,
    logits: Vec<Vec<Logits>>,
    queued: Instant,
    begun: Option<Instant>,
}

impl Job {
    pub(super) fn new(
        groups: Vec<Prompts>,
        ticket: Ticket,
        hear: Hear,
    ) -> (Arc<Self>, oneshot::Receiver<Result<Done, Problem>>) {
        let (reply, answer) = oneshot::channel();
        let logits = groups.iter().map(|g| Vec::with_capacity(g.own.len())).collect();
        let open = Open { ticket, reply, logits, queued: Instant::now(), begun: None };
        (Arc::new(Self { groups, hear, gone: Cancel::default(), open: Mutex::new(Some(open)) }), answer)
    }

    /// Nobody waits for it any more, or it has been answered.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.cancelled()
    }

    /// Gives it up.
    pub(super) fn leave(&self) {
        self.gone.cancel();
        lock(&self.open).take();
    }

    /// Some of it is computed from now on.
    pub(super) fn begin(&self) {
        if let Some(open) = &mut *lock(&self.open) {
            open.ticket.begin();
            open.begun.get_or_insert_with(Instant::now);
        }
    }

    /// Takes the logits of some documents of a group, which come in order; answers when all are there.
    pub(super) fn deliver(&self, group: usize, documents: Range<usize>, logits: Vec<Logits>) {
        if logits.iter().any(|l| !l.difference.is_finite() || !l.score().is_finite()) {
            let what = "The model gave a score that is not a number.";
            return self.fail(Problem::new(500, "not-a-number", what).cause("a logit is not finite"));
        }
        let mut slot = lock(&self.open);
        let Some(open) = &mut *slot else { return };
        assert_eq!(open.logits[group].len(), documents.start, "documents come in order");
        assert_eq!(documents.len(), logits.len(), "a score a document");
        for (document, one) in documents.zip(&logits) {
            (self.hear)(group, document, *one);
        }
        open.logits[group].extend(logits);
        let done = open.logits.iter().zip(&self.groups).all(|(l, g)| l.len() == g.own.len());
        if done && let Some(open) = slot.take() {
            self.gone.cancel();
            let begun = open.begun.unwrap_or(open.queued);
            let done = Done { logits: open.logits, waited: begun - open.queued, computed: begun.elapsed() };
            let _ = open.reply.send(Ok(done)); // who asked may be gone
        }
    }

    pub(super) fn fail(&self, problem: Problem) {
        self.gone.cancel();
        if let Some(open) = lock(&self.open).take() {
            let _ = open.reply.send(Err(problem)); // who asked may be gone
        }
    }
}
