//! `serve`: the HTTP server.

use std::{io::Write, sync::Arc, thread, time::Duration};

use clap::{Args, ValueEnum, builder::NonEmptyStringValueParser};
use tokio::{net::TcpListener, sync::mpsc};

use super::{
    Common,
    exit::{INTERRUPTED, Outcome, code},
    model,
    progress::note,
};
use crate::{
    error::{Error, Result},
    server::{self, Api, Engine, Limits, Load, LogFormat, Model},
};

/// Threads that read and write for clients: the work is done elsewhere.
const TALKERS: usize = 4;

/// Rows of a batch on the CPU for each of so many threads: fewer cost throughput, more cost a small request beside large ones its short wait. Measured
/// in docs/server.md.
const ROWS: usize = 1024;
const MOST_THREADS: usize = 4;

/// Fewer tokens leave no room for a document beside the prompt's fixed parts and a query.
const LEAST_LENGTH: usize = 128;
/// Bodies of the greatest size that have room together, where no other number is given.
const BODIES: usize = 8;

/// Serves the HTTP API that other rerankers' clients speak.
#[derive(Args)]
#[command(after_help = "\
The address is printed on standard output as soon as connections are taken; the model is loaded behind it, and until then requests get 503.
A --model that is a path at which there is none is refused before that.
POST /v1/rerank, /v2/rerank, /rerank, /score, /tokenize and others; GET /health /info /v1/models /metrics /openapi.json
The first SIGTERM or Ctrl-C lets requests under way end, for --drain-timeout at most: meanwhile /health says draining and new requests get 503.
A second one ends at once. The exit code is 0 if all requests were answered, and 130 if some were cut off.

Examples:
  edge-reranker serve
  edge-reranker serve --model 0.6b-q8 --host 0.0.0.0 --api-key \"$KEY\" --log-format json
  curl http://127.0.0.1:8787/v1/rerank -H 'content-type: application/json' \\
    -d '{\"query\": \"capital of China\", \"documents\": [\"Beijing is the capital.\", \"Bananas are yellow.\"]}'")]
pub(crate) struct Options {
    /// The address or name to listen at: 0.0.0.0 or :: for all of this machine
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", env = "EDGE_RERANKER_HOST", value_parser = NonEmptyStringValueParser::new())]
    host: String,
    /// The port, 0 for any that is free
    #[arg(long, value_name = "N", default_value = "8787", env = "EDGE_RERANKER_PORT", value_parser = port)]
    port: u16,
    /// A key that lets in, as Authorization: Bearer or x-api-key; may be given several times [default: everybody may ask]
    #[arg(long, value_name = "K", env = "EDGE_RERANKER_API_KEY", hide_env_values = true, value_parser = NonEmptyStringValueParser::new())]
    api_key: Vec<String>,
    /// An origin whose pages may ask, * for all; may be given several times
    #[arg(long, value_name = "O", env = "EDGE_RERANKER_CORS_ORIGIN", value_delimiter = ',', value_parser = server::origin)]
    cors_origin: Vec<String>,
    /// A path before all others, such as /api
    #[arg(long, value_name = "PATH", default_value = "", env = "EDGE_RERANKER_BASE_PATH", value_parser = base_path)]
    base_path: String,
    /// The most documents in a request
    #[arg(long, value_name = "N", default_value = "1000", env = "EDGE_RERANKER_MAX_DOCUMENTS", value_parser = from_one)]
    max_documents: usize,
    /// The most bytes of a request's body: 500kB, 8MB (1 MB is 1,048,576 bytes)
    #[arg(long, value_name = "SIZE", default_value = "8MB", env = "EDGE_RERANKER_MAX_BODY", value_parser = body)]
    max_body: usize,
    /// The most bytes of all requests under way, to the last byte of each answer; more get 429 [default: 64MB, or eight times --max-body where that is more]
    #[arg(long, value_name = "SIZE", env = "EDGE_RERANKER_MAX_BODIES", value_parser = memory)]
    max_bodies: Option<usize>,
    /// The most tokens that a request may compute [default: no limit]
    #[arg(long, value_name = "N", env = "EDGE_RERANKER_MAX_TOKENS", value_parser = from_one)]
    max_tokens: Option<usize>,
    /// The most different queries in a request [default: no limit]
    #[arg(long, value_name = "N", env = "EDGE_RERANKER_MAX_QUERIES", value_parser = from_one)]
    max_queries: Option<usize>,
    /// The most requests that wait while one computes; more get 429
    #[arg(long, value_name = "N", default_value_t = 64, env = "EDGE_RERANKER_MAX_QUEUE")]
    max_queue: usize,
    /// The most connections; more wait in the system until some are closed
    #[arg(long, value_name = "N", default_value = "1024", env = "EDGE_RERANKER_MAX_CONNECTIONS", value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,
    /// The most tokens that go through the model together, of whichever requests [default: on the CPU 1,024 for a thread, 4,096 at most; on others what is best for them]
    #[arg(long, value_name = "N", env = "EDGE_RERANKER_BATCH_TOKENS", value_parser = from_one)]
    batch_tokens: Option<usize>,
    /// Seconds from a request to its answer, 0 for no limit: what cannot end by then gets 429 at once; a client may ask for less with x-request-timeout-ms
    #[arg(long, value_name = "SECONDS", default_value = "60", env = "EDGE_RERANKER_TIMEOUT", value_parser = seconds)]
    timeout: Duration,
    /// Seconds from the first signal to the end of all requests; what is not answered by then is cut off
    #[arg(long, value_name = "SECONDS", default_value = "70", env = "EDGE_RERANKER_DRAIN_TIMEOUT", value_parser = seconds)]
    drain_timeout: Duration,
    /// Seconds that clients are told to wait when the queue is full or the model is not there; for lack of time they are told how long it will be
    #[arg(long, value_name = "SECONDS", default_value_t = 5, env = "EDGE_RERANKER_RETRY_AFTER")]
    retry_after: u32,
    /// Scores that are remembered, 0 for none
    #[arg(long, value_name = "N", default_value_t = 10_000, env = "EDGE_RERANKER_CACHE", value_parser = clap::value_parser!(u32).range(..=100_000_000))]
    cache: u32,
    /// Memory for what was computed of queries, so that the next request with the same query begins there, 0 for none
    #[arg(long, value_name = "SIZE", default_value = "256MB", env = "EDGE_RERANKER_PREFIX_CACHE", value_parser = memory)]
    prefix_cache: usize,
    /// How requests are logged on standard error (--quiet: errors alone)
    #[arg(long, value_name = "FORMAT", default_value = "text", env = "EDGE_RERANKER_LOG_FORMAT")]
    log_format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line for people
    Text,
    /// A JSON object a line
    Json,
}

/// Kubernetes sets `EDGE_RERANKER_PORT` to such an address in all containers beside a Service of this name: it is not meant for us.
fn port(text: &str) -> Result<u16, String> {
    let text = if text.starts_with("tcp://") { "8787" } else { text };
    text.parse().map_err(|_| "expected a number from 0 to 65535".into())
}

fn from_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "expected a whole number from 1".into())
}

fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err("expected a size like 500kB, 8MB or 1GB".into()),
    };
    let n = digits.trim().parse::<usize>().map_err(|_| "expected a size like 500kB, 8MB or 1GB")?;
    n.checked_mul(1 << shift).ok_or_else(|| "too large".into())
}

fn body(text: &str) -> Result<usize, String> {
    bytes(text).and_then(|n| match n {
        0x400..=0x4000_0000 => Ok(n),
        _ => Err("expected a size from 1kB to 1GB".into()),
    })
}

/// More than machines have is a mistake.
fn memory(text: &str) -> Result<usize, String> {
    bytes(text).and_then(|n| if n <= 1 << 40 { Ok(n) } else { Err("expected a size up to 1024GB".into()) })
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    seconds.ok_or_else(|| "expected seconds, such as 30 or 0.5".into())
}

fn base_path(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    let sound = path.is_empty() || path.starts_with('/') && !path.contains("//") && !path.contains(['?', '#']);
    if sound { Ok(path.to_owned()) } else { Err("expected a path like /api".into()) }
}

impl Options {
    fn api(&self, common: &Common) -> server::Options {
        server::Options {
            api_keys: self.api_key.clone(),
            cors: self.cors_origin.clone(),
            base_path: self.base_path.clone(),
            max_documents: self.max_documents,
            max_body: self.max_body,
            max_bodies: self.max_bodies.unwrap_or((self.max_body * BODIES).max(64 << 20)),
            max_tokens: self.max_tokens,
            max_length: common.max_length,
            max_queries: self.max_queries,
            max_queue: self.max_queue,
            batch_tokens: self.batch_tokens,
            timeout: Some(self.timeout).filter(|t| !t.is_zero()),
            retry_after: self.retry_after.into(),
            cache: self.cache as usize,
            log: self.log(common),
            ..server::Options::default()
        }
    }

    fn log(&self, common: &Common) -> LogFormat {
        match self.log_format {
            Format::Text if common.quiet => LogFormat::Errors,
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        }
    }

    /// Options that do not fit together, and what is not there.
    fn check(&self, common: &Common) -> Result<()> {
        if let Some(length) = common.max_length.filter(|n| *n < LEAST_LENGTH) {
            let what = format!("{length} tokens leave no room for documents: at least {LEAST_LENGTH} are needed here");
            return Err(Error::bad_input(what).at("--max-length"));
        }
        if self.max_bodies.is_some_and(|all| all < self.max_body) {
            return Err(
                Error::bad_input("is less than --max-body, so that no body of that size has room").at("--max-bodies")
            );
        }
        model::check(common)
    }
}

/// Runs the verb.
pub(crate) fn run(common: &Common, options: &Options, out: &mut dyn Write) -> Outcome {
    common.device()?;
    options.check(common)?;
    let log = options.log(common);
    // Standard error may be a pipe that nobody reads.
    std::panic::set_hook(Box::new(move |what| server::log_error(log, "panic", what)));
    let workers = thread::available_parallelism().map_or(1, usize::from).min(TALKERS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    let runtime = runtime.map_err(|e| Error::new(crate::ErrorKind::OutOfMemory, format!("no threads: {e}")))?;
    runtime.block_on(async {
        let host = options.host.trim_start_matches('[').trim_end_matches(']');
        let cannot = |e| {
            Error::bad_input(format!("cannot listen: {e}"))
                .at(format!("{}:{}", options.host, options.port))
                .hint("choose another --host or --port")
        };
        let listener = TcpListener::bind((host, options.port)).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        writeln!(out, "http://{address}{}", options.base_path)?;
        out.flush()?;
        if !address.ip().is_loopback() && options.api_key.is_empty() {
            note(common.quiet, "everybody who can reach this address may ask; --api-key K lets in those who know K");
        }
        let (signal, signals) = mpsc::channel(2);
        hear(&signal).map_err(|e| Error::bad_input(format!("signals cannot be heard: {e}")))?;
        let api = Api::start(options.api(common), load(common, options), move || {
            // Nothing will ever be ready here: the server ends, and says why.
            let _ = signal.blocking_send(());
        });
        let connections = usize::try_from(options.max_connections).unwrap_or(usize::MAX);
        let limits = Limits { connections, drain: options.drain_timeout, ..Limits::default() };
        if server::serve(listener, &api, signals, &limits).await {
            server::flush_log();
            std::process::exit(INTERRUPTED.into());
        }
        let end = api.close();
        if let Err(e) = &end
            && !server::flush_log()
        {
            std::process::exit(code(e.kind()).into()); // there is nobody to tell why
        }
        Ok(end?)
    })
}

fn load(common: &Common, options: &Options) -> Load {
    let (mut common, prefixes, batch_tokens) = (common.clone(), options.prefix_cache as u64, options.batch_tokens);
    Box::new(move || {
        let mut reranker = model::load(&common)?;
        reranker.keep_prefixes(prefixes);
        let info = reranker.info();
        for warning in &info.warnings {
            note(common.quiet, warning);
        }
        note(common.quiet, &format!("{} is ready on {}: {}", info.name, info.device, info.device_reason));
        let computes_here = info.device == "cpu" && info.streaming.is_none();
        let rows = computes_here.then(|| ROWS * common.threads().clamp(1, MOST_THREADS));
        let mut model = Model::new(reranker, &common.request());
        if let Some(rows) = batch_tokens.or(rows) {
            model = model.at_once(rows);
        }
        common.quiet = true; // it was all said once, and nobody may read it any more
        Ok(Arc::new(model) as Arc<dyn Engine>)
    })
}

/// Passes on each signal that asks this process to end.
#[cfg(unix)]
fn hear(to: &mpsc::Sender<()>) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let (mut signals, to) = (signal(kind)?, to.clone());
        tokio::spawn(async move { while signals.recv().await.is_some() && to.send(()).await.is_ok() {} });
    }
    Ok(())
}

/// Passes on each Ctrl-C.
#[cfg(not(unix))]
fn hear(to: &mpsc::Sender<()>) -> std::io::Result<()> {
    let to = to.clone();
    tokio::spawn(async move { while tokio::signal::ctrl_c().await.is_ok() && to.send(()).await.is_ok() {} });
    Ok(())
}
