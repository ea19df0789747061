//! A request under way: what is known of it, and that it is counted and logged once, however it ends.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use hyper::{HeaderMap, http::request::Parts};

use super::{
    auth,
    dialects::{Dialect, dialect_of_path, is_rerank_path},
    log::{Log, Record, Work, milliseconds},
    metrics::Metrics,
    problem::Problem,
};

/// The header in which a client says how long it would wait.
const TIMEOUT: &str = "x-request-timeout-ms";

pub(super) struct Call<'a> {
    pub(super) parts: &'a Parts,
    /// Below the base path; none outside of it.
    pub(super) path: Option<&'a str>,
    /// The client's own id for its request, or a new one.
    pub(super) id: String,
    peer: Option<SocketAddr>,
    /// Which of several keys was given.
    pub(super) key: Option<usize>,
    /// As far as it can be told.
    pub(super) dialect: Option<&'static Dialect>,
    pub(super) work: Work,
    /// When nobody will wait for its answer any more.
    pub(super) due: Option<Instant>,
    metrics: &'a Metrics,
    log: Log,
    started: Instant,
    ended: bool,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        parts: &'a Parts,
        path: Option<&'a str>,
        peer: Option<SocketAddr>,
        metrics: &'a Metrics,
        log: Log,
    ) -> Self {
        Self {
            parts,
            path,
            id: request_id(&parts.headers),
            peer,
            key: None,
            dialect: path.map(dialect_of_path),
            work: Work::default(),
            due: None,
            metrics,
            log,
            started: Instant::now(),
            ended: false,
        }
    }

    /// Whether documents are to be scored.
    pub(super) fn reranks(&self) -> bool {
        self.path.is_some_and(is_rerank_path)
    }

    /// Requests of one key, or of one address, share a turn.
    pub(super) fn client(&self) -> String {
        match (self.key, self.peer) {
            (Some(key), _) => format!("key {key}"),
            (None, Some(peer)) => peer.ip().to_string(),
            (None, None) => String::new(),
        }
    }

    /// How long the client would wait.
    pub(super) fn wanted_time(&self) -> Result<Option<Duration>, Problem> {
        let Some(value) = self.parts.headers.get(TIMEOUT) else { return Ok(None) };
        let number = value.to_str().ok().and_then(|v| v.trim().parse::<u64>().ok()).filter(|n| *n > 0);
        let wrong =
            || Problem::new(400, "bad-input", format!("{TIMEOUT} must be a whole number of milliseconds from 1."));
        number.map(|n| Some(Duration::from_millis(n))).ok_or_else(wrong)
    }

    /// Counts and logs the answer; `cause` is why it is a failure.
    pub(super) fn answered(&mut self, status: u16, cause: Option<&str>) {
        self.ended = true;
        let took = self.started.elapsed();
        let dialect = self.dialect.filter(|_| self.reranks()).map(|dialect| dialect.name);
        self.metrics.request(dialect.unwrap_or("other"), status);
        if dialect.is_some() {
            self.metrics.took(status, took);
        }
        // Probes come every few seconds and would drown the rest.
        let probe = self.path.is_some_and(|p| auth::OPEN.contains(&p) || p == "/metrics");
        if probe && (status < 400 || status == 503) {
            return;
        }
        self.log.request(&Record {
            request_id: &self.id,
            method: self.parts.method.as_str(),
            path: self.path.unwrap_or(self.parts.uri.path()),
            status,
            dialect,
            work: self.work,
            total_ms: milliseconds(took),
            error: cause,
        });
    }
}

/// A client that goes away drops its request before there is an answer.
impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.answered(499, None);
        }
    }
}

fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get("x-request-id").and_then(|v| v.to_str().ok());
    let plain = |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    given.filter(plain).map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}
