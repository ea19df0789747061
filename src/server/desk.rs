//! Where requests wait for the model, and the one thread that computes: it loads the model, fills batches with the documents of many requests, and
//! hands the scores out.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{
    engine::Engine,
    fair::Fair,
    fill::{self, Share},
    job::{Counts, Job, Ticket, Took, lock},
    log::Log,
    metrics::{Load, Metrics},
    problem::Problem,
    promise::Due,
    speed::Speed,
};
use crate::{
    backend::Pace,
    error::{Error, ErrorKind, Result},
    model::Logits,
    rerank::Part,
};

/// The longest pause between two attempts to load a model that could not be fetched.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Whether there is a model.
#[derive(Clone)]
pub(super) enum Stage {
    Loading,
    Ready(Arc<dyn Engine>),
    Failed,
}

struct Queue {
    fair: Fair,
    speed: Speed,
    /// Rows of requests that were refused, and will come again.
    outside: usize,
    closed: bool,
}

pub(super) struct Desk {
    queue: Mutex<Queue>,
    wake: Condvar,
    counts: Arc<Mutex<Counts>>,
    computing: AtomicBool,
    /// Requests that wait for the engine itself.
    early: AtomicUsize,
    stage: watch::Sender<Stage>,
    max_queue: usize,
    batch_tokens: Option<usize>,
    retry_after: u64,
    metrics: Arc<Metrics>,
    log: Log,
}

/// Why a batch gave nothing.
enum Failure {
    Error(Error),
    Panic(String),
}

impl Queue {
    fn check(&mut self, client: &str, rows: usize, due: Option<Instant>) -> Result<(), Problem> {
        let Self { fair, speed, outside, .. } = self;
        fair.tidy();
        let now = Instant::now();
        let room = |due: Option<Instant>| speed.room(now, due?);
        let wait = room(due).map_or(0, |most| fair.wait(client, Due { rows, room: most }, |job| room(job.due)));
        if wait == 0 {
            return Ok(());
        }
        // Those that were refused before it will come again before it. It is told no longer time than it has for its answer, and not all are told the same.
        let most = due.map_or(0.0, |due| due.saturating_duration_since(now).as_secs_f64());
        let [wait, others] = [wait, *outside].map(|rows| speed.seconds(rows).unwrap_or_default());
        let seconds = (wait + others % (most - wait).max(1.0)).ceil().max(1.0);
        *outside += rows;
        let what = format!(
            "The requests before this one leave no room to answer it in its time: ask again in {seconds} s, send fewer documents, or allow more time."
        );
        Err(Problem::busy(429, "busy", &what, seconds as u64))
    }
}

impl Desk {
    pub(super) fn new(options: &super::Options, metrics: Arc<Metrics>, log: Log) -> Self {
        Self {
            queue: Mutex::new(Queue { fair: Fair::default(), speed: Speed::default(), outside: 0, closed: false }),
            wake: Condvar::new(),
            counts: Arc::default(),
            computing: AtomicBool::new(false),
            early: AtomicUsize::new(0),
            stage: watch::Sender::new(Stage::Loading),
            max_queue: options.max_queue,
            batch_tokens: options.batch_tokens,
            retry_after: options.retry_after,
            metrics,
            log,
        }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage.borrow().clone()
    }

    /// The engine, waiting for it so long, unless too many wait already.
    pub(super) async fn engine(&self, wait: Duration) -> Result<Arc<dyn Engine>, Problem> {
        let mut stage = self.stage.subscribe();
        if matches!(*stage.borrow(), Stage::Loading) {
            let place = Place::take(&self.early);
            if place.before <= self.max_queue {
                let settled = stage.wait_for(|stage| !matches!(stage, Stage::Loading));
                // Whether that came, or time is up: the stage says it.
                let _ = tokio::time::timeout(wait, settled).await.is_ok_and(|settled| settled.is_ok());
            }
        }
        self.ready()
    }

    fn ready(&self) -> Result<Arc<dyn Engine>, Problem> {
        match self.stage() {
            Stage::Ready(engine) => Ok(engine),
            Stage::Failed => Err(self.unavailable("not-loaded", "The model could not be loaded: ask again later.")),
            Stage::Loading => Err(self.unavailable("loading", "The model is being loaded: ask again soon.")),
        }
    }

    pub(super) fn draining(&self) -> Problem {
        self.unavailable("draining", "The server is about to end: ask another one.")
    }

    fn unavailable(&self, code: &'static str, message: &str) -> Problem {
        Problem::busy(503, code, message, self.retry_after)
    }

    /// A place in the queue.
    pub(super) fn admit(&self) -> Result<Ticket, Problem> {
        let full = "Too many requests wait already: ask again soon.";
        Ticket::draw(&self.counts, self.max_queue).ok_or_else(|| Problem::busy(429, "busy", full, self.retry_after))
    }

    /// What is under way.
    pub(super) fn load(&self) -> Load {
        let Counts { waiting, running } = *lock(&self.counts);
        let queue = lock(&self.queue);
        let tokens = queue.fair.rows();
        let seconds = queue.speed.seconds(tokens).unwrap_or_default();
        let busy = self.computing.load(Ordering::Relaxed);
        Load { waiting, running, tokens, seconds, busy, ready: matches!(self.stage(), Stage::Ready(_)) }
    }

    /// Whether the next request would be refused.
    pub(super) fn is_full(&self) -> bool {
        lock(&self.counts).are_full(self.max_queue)
    }

    /// Whether a job of so many rows could be answered in time.
    pub(super) fn check(&self, client: &str, rows: usize, due: Option<Instant>) -> Result<(), Problem> {
        lock(&self.queue).check(client, rows, due)
    }

    /// Lets a job wait for its turns, if it can be answered in time.
    pub(super) fn submit(&self, client: &str, job: Arc<Job>) -> Result<(), Problem> {
        let mut queue = lock(&self.queue);
        self.ready()?; // where the engine was lost meanwhile, what waited for it has been sent away already
        if queue.closed {
            return Err(self.draining());
        }
        queue.check(client, job.rows, job.due)?;
        queue.fair.push(client, job);
        drop(queue);
        self.wake.notify_all();
        Ok(())
    }

    /// Takes what is left of a job out of the queue.
    pub(super) fn leave(&self, job: &Job) -> Took {
        let took = job.leave();
        self.metrics.waited(took.waited);
        if !took.answered {
            self.metrics.wasted(took.tokens);
        }
        lock(&self.queue).fair.tidy();
        took
    }

    /// Ends the thread once its batch is done; jobs that wait are refused.
    pub(super) fn close(&self) {
        let mut queue = lock(&self.queue);
        queue.closed = true;
        let jobs = queue.fair.drain();
        drop(queue);
        self.wake.notify_all();
        jobs.iter().for_each(|job| job.fail(self.draining()));
    }

    /// Nobody computes any more.
    pub(super) fn give_up(&self) {
        self.stage.send_replace(Stage::Failed);
        self.close();
    }

    /// What the computing thread does until the desk is closed. `load` gives the engine, and another one after one was lost.
    ///
    /// # Errors
    /// As loading fails, where another attempt would fail likewise.
    pub(super) fn run(&self, load: &mut dyn FnMut() -> Result<Arc<dyn Engine>>) -> Result<()> {
        let first = Duration::from_secs(self.retry_after.max(1)); // clients may come back at once, a host is not to be asked without end
        let mut pause = first;
        // Before an engine is loaded in place of one that was lost.
        let mut rest = Duration::ZERO;
        loop {
            match load() {
                Ok(engine) => {
                    self.stage.send_replace(Stage::Ready(engine.clone()));
                    let ready = Instant::now();
                    let Some(error) = self.work(&*engine) else { return Ok(()) };
                    self.log.error("the engine was lost and is loaded again", &error);
                    let jobs = lock(&self.queue).fair.drain();
                    jobs.iter().for_each(|job| job.fail(Problem::of(&error, self.retry_after)));
                    pause = first;
                    // At once for one that has served; one that is lost again and again is not loaded without end.
                    if ready.elapsed() > LONGEST_PAUSE {
                        rest = Duration::ZERO;
                    }
                    if self.rest(rest) {
                        return Ok(());
                    }
                    rest = (rest * 2).max(first).min(LONGEST_PAUSE);
                }
                Err(error) => {
                    self.stage.send_replace(Stage::Failed);
                    self.log.error("the model could not be loaded", &error);
                    if !error.may_pass() {
                        return Err(error);
                    }
                    if self.rest(pause) {
                        return Ok(());
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    self.stage.send_replace(Stage::Loading);
                }
            }
        }
    }

    /// Waits so long; true if the desk was closed meanwhile.
    fn rest(&self, pause: Duration) -> bool {
        let queue = lock(&self.queue);
        let waited = self.wake.wait_timeout_while(queue, pause, |queue| !queue.closed);
        waited.map_or_else(|e| e.into_inner().0.closed, |(queue, _)| queue.closed)
    }

    /// Computes until the desk is closed, or until the engine is lost.
    fn work(&self, engine: &dyn Engine) -> Option<Error> {
        while let Some(shares) = self.next(engine) {
            shares.iter().for_each(|share| share.job.begin());
            let lost = self.turn(engine, &shares);
            shares.iter().for_each(|share| share.job.pause());
            if lost.is_some() {
                return lost;
            }
        }
        None
    }

    fn next(&self, engine: &dyn Engine) -> Option<Vec<Share>> {
        let mut queue = lock(&self.queue);
        loop {
            if queue.closed {
                return None;
            }
            let (Queue { fair, speed, .. }, now) = (&mut *queue, Instant::now());
            let shares = fair.take(engine, self.batch_tokens, |job| speed.room(now, job.due?));
            if !shares.is_empty() {
                return Some(shares);
            }
            queue.outside = 0;
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Computes some shares. Where that fails each is tried by itself, so that no request pays for another one. Gives the error that ended the engine.
    fn turn(&self, engine: &dyn Engine, shares: &[Share]) -> Option<Error> {
        match self.attempt(engine, shares) {
            Ok(logits) => {
                for (share, logits) in shares.iter().zip(logits) {
                    if !share.job.deliver(share.group, share.documents.clone(), logits) {
                        self.metrics.wasted(share.tokens());
                    }
                }
                None
            }
            Err(Failure::Error(e)) if is_lost(&e) => {
                // Before anybody hears of it: who asks again waits for the next engine.
                self.stage.send_replace(Stage::Loading);
                shares.iter().for_each(|share| share.job.fail(Problem::of(&e, self.retry_after)));
                Some(e)
            }
            Err(_) if shares.len() > 1 => {
                let mut lost = None;
                for share in shares.iter().filter(|share| !share.job.is_gone()) {
                    match &lost {
                        Some(e) => share.job.fail(Problem::of(e, self.retry_after)),
                        None => lost = self.turn(engine, std::slice::from_ref(share)),
                    }
                }
                lost
            }
            Err(Failure::Error(e)) => {
                shares.iter().for_each(|share| share.job.fail(Problem::of(&e, self.retry_after)));
                None
            }
            Err(Failure::Panic(what)) => {
                shares.iter().for_each(|share| share.job.fail(Problem::internal(format!("panic: {what}"))));
                None
            }
        }
    }

    fn attempt(&self, engine: &dyn Engine, shares: &[Share]) -> Result<Vec<Vec<Logits>>, Failure> {
        let parts: Vec<Part> =
            shares.iter().map(|s| Part { prompts: &s.job.groups[s.group], documents: s.documents.clone() }).collect();
        let started = Instant::now();
        // Nothing of ours is half done when the engine panics: scores are handed out afterwards.
        self.computing.store(true, Ordering::Relaxed);
        let result = catch_unwind(AssertUnwindSafe(|| engine.score(&parts, &Wanted(shares))));
        self.computing.store(false, Ordering::Relaxed);
        let took = started.elapsed();
        self.metrics.batch(parts.len(), took);
        match result {
            Ok(Ok(logits)) if logits.iter().map(Vec::len).eq(parts.iter().map(|p| p.documents.len())) => {
                self.metrics.computed(shares.iter().map(Share::tokens).sum());
                let rows = shares.iter().map(|share| share.rows).sum::<usize>();
                let full = rows >= fill::usual(engine, self.batch_tokens) / 2;
                let mut queue = lock(&self.queue);
                queue.speed.learn(rows, full, took);
                queue.outside = queue.outside.saturating_sub(rows);
                Ok(logits)
            }
            Ok(Ok(_)) => Err(Failure::Panic("the engine gave too few scores or too many".into())),
            Ok(Err(e)) => Err(Failure::Error(e)),
            Err(payload) => Err(Failure::Panic(said(&*payload))),
        }
    }
}

/// One of those that wait, while it does.
struct Place<'a> {
    all: &'a AtomicUsize,
    before: usize,
}

impl<'a> Place<'a> {
    fn take(all: &'a AtomicUsize) -> Self {
        Self { all, before: all.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The engine is of no use any more.
fn is_lost(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::DeviceLost | ErrorKind::Download | ErrorKind::Integrity)
}

/// What a panic said.
pub(super) fn said(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".into())
}

/// A batch is wanted as long as one of its requests is.
struct Wanted<'a>(&'a [Share]);

impl Pace for Wanted<'_> {
    fn cancelled(&self) -> bool {
        self.0.iter().all(|share| share.job.is_gone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rerank::Prompts,
        server::{LogFormat, Options, fair::tests::Rows},
    };

    /// A row takes a second, and every job has most of a day: what the test itself takes does not matter.
    #[test]
    fn what_cannot_end_in_time_is_refused_and_told_when_there_is_room() {
        let desk = Desk::new(&Options::default(), Arc::new(Metrics::new()), Log(LogFormat::Errors));
        desk.stage.send_replace(Stage::Ready(Arc::new(Rows(1000))));
        lock(&desk.queue).speed.learn(1000, true, Duration::from_secs(1000));
        let due = Some(Instant::now() + Duration::from_secs(80_100));
        let job = |rows: usize| {
            let prompts = Prompts { shared: vec![], own: vec![vec![0; rows]], truncated: vec![false] };
            Job::new(vec![prompts], due, desk.admit().unwrap(), Box::new(|_, _, _| {})).0
        };
        let large: Vec<_> = (0..10).map(|_| desk.submit("a", job(20_000)).err()).collect();
        assert_eq!(
            large.iter().filter(|refused| refused.is_none()).count(),
            3,
            "they need three quarters of their time"
        );
        let wait = |refused: &Option<Problem>| -> u64 {
            let refused = refused.as_ref().unwrap();
            assert_eq!((refused.status, refused.code), (429, "busy"));
            refused.headers[0].1.parse().unwrap()
        };
        assert!((19_900..20_000).contains(&wait(&large[3])), "until the first of them has ended");
        assert!((39_900..40_000).contains(&wait(&large[4])), "and this one");
        assert!((39_700..39_900).contains(&wait(&large[7])), "not longer than it would have waited for its answer");
        assert!(desk.submit("a", job(2000)).is_ok(), "small ones pass them");
        assert_eq!(desk.load().tokens, 62_000);
        assert!((desk.load().seconds - 62_000.0).abs() < 1.0);
        assert_eq!((desk.load().waiting, desk.load().running), (4, 0), "who was refused has left its place");
    }
}
