//! What was done, in the text format of Prometheus. The names that `createFetchHandler` of the npm package has too mean the same.

use std::time::Duration;

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder, core::Collector,
};

const SECONDS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
const REQUESTS: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// What is under way.
pub(super) struct Load {
    /// Requests that were let in and have no documents in the batch that is being computed.
    pub(super) waiting: usize,
    /// Those that have.
    pub(super) running: usize,
    /// That are being computed or wait.
    pub(super) tokens: usize,
    /// What these will take; 0 where that is not known.
    pub(super) seconds: f64,
    /// Whether the engine computes.
    pub(super) busy: bool,
    /// Whether there is one.
    pub(super) ready: bool,
}

pub(super) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    pub(super) documents: IntCounter,
    pub(super) tokens: IntCounter,
    pub(super) cache_hits: IntCounter,
    pub(super) cache_misses: IntCounter,
    computed: IntCounter,
    wasted: IntCounter,
    queue_length: IntGauge,
    running: IntGauge,
    queue_tokens: IntGauge,
    queue_seconds: Gauge,
    busy: IntGauge,
    ready: IntGauge,
    request_seconds: HistogramVec,
    wait_seconds: Histogram,
    batch_seconds: Histogram,
    batch_requests: Histogram,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let registry = Registry::new();
        let opts = |name: &str, help: &str| Opts::new(format!("edge_reranker_{name}"), help);
        let counter =
            |name, help| register(&registry, IntCounter::with_opts(opts(name, help)).expect("a name of ours"));
        let gauge = |name, help| register(&registry, IntGauge::with_opts(opts(name, help)).expect("a name of ours"));
        let histogram = |name, help, buckets: &[f64]| {
            let opts = HistogramOpts::from(opts(name, help)).buckets(buckets.into());
            register(&registry, Histogram::with_opts(opts).expect("a name of ours"))
        };
        let requests =
            IntCounterVec::new(opts("requests_total", "Requests that were answered."), &["dialect", "status"]);
        let queue_seconds =
            Gauge::with_opts(opts("queue_seconds", "What these tokens will take, at the speed so far."));
        let request_seconds = HistogramVec::new(
            HistogramOpts::from(opts("request_duration_seconds", "From a rerank request to its answer."))
                .buckets(SECONDS.into()),
            &["status"],
        );
        Self {
            requests: register(&registry, requests.expect("names of ours")),
            documents: counter("documents_total", "Documents that were scored or found in the cache."),
            tokens: counter("tokens_total", "Tokens of their prompts."),
            cache_hits: counter("cache_hits_total", "Documents whose score was known."),
            cache_misses: counter("cache_misses_total", "Documents that were computed while a cache was on."),
            computed: counter("computed_tokens_total", "Tokens of documents that went through the model."),
            wasted: counter("wasted_tokens_total", "Those of them whose requests were not answered."),
            queue_length: gauge("queue_length", "Requests that wait for the engine."),
            running: gauge("running", "Requests that have documents in the batch that is being computed."),
            queue_tokens: gauge("queue_tokens", "Tokens that are being computed or wait, queries' parts included."),
            queue_seconds: register(&registry, queue_seconds.expect("a name of ours")),
            busy: gauge("busy", "1 while the engine computes."),
            ready: gauge("ready", "1 once the model is loaded."),
            request_seconds: register(&registry, request_seconds.expect("names of ours")),
            wait_seconds: histogram(
                "queue_duration_seconds",
                "From a request's prompts to its first batch, or to its end without one.",
                &SECONDS,
            ),
            batch_seconds: histogram("batch_duration_seconds", "Of a batch in the model.", &SECONDS),
            batch_requests: histogram("batch_requests", "Requests that had documents in a batch.", &REQUESTS),
            registry,
        }
    }

    pub(super) fn request(&self, dialect: &str, status: u16) {
        self.requests.with_label_values(&[dialect, &status.to_string()]).inc();
    }

    pub(super) fn took(&self, status: u16, time: Duration) {
        self.request_seconds.with_label_values(&[&status.to_string()]).observe(time.as_secs_f64());
    }

    pub(super) fn waited(&self, time: Duration) {
        self.wait_seconds.observe(time.as_secs_f64());
    }

    pub(super) fn batch(&self, requests: usize, time: Duration) {
        self.batch_requests.observe(requests as f64);
        self.batch_seconds.observe(time.as_secs_f64());
    }

    pub(super) fn computed(&self, tokens: usize) {
        self.computed.inc_by(tokens as u64);
    }

    pub(super) fn wasted(&self, tokens: usize) {
        self.wasted.inc_by(tokens as u64);
    }

    /// All of it.
    pub(super) fn text(&self, load: &Load) -> String {
        let Load { waiting, running, tokens, seconds, busy, ready } = *load;
        self.queue_length.set(waiting as i64);
        self.running.set(running as i64);
        self.queue_tokens.set(tokens as i64);
        self.queue_seconds.set(seconds);
        self.busy.set(busy.into());
        self.ready.set(ready.into());
        let mut out = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut out).expect("a vector takes everything");
        String::from_utf8_lossy(&out).into_owned()
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect("every name once");
    collector
}
