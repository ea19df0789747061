//! The HTTP API: from a request to its answer. `dialects` says what is understood.

use std::{
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use axum::body::Body;
use futures::FutureExt;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{HeaderName, HeaderValue},
};
use serde_json::{Value, json};

use super::{
    Options,
    auth::{self, Keys},
    body::{self, Uploads},
    bounds::longest,
    cors,
    desk::{Desk, Stage, said},
    dialects::{self, Dialect, dialect_of, dialect_of_path, is_rerank_path},
    engine::{Engine, EngineInfo},
    job::lock,
    log::{Log, Record, Work, milliseconds},
    metrics::Metrics,
    openapi,
    problem::{Problem, too_large},
    routes,
    score::{Caller, Scorer, rank},
};
use crate::error::Result;

/// Gives the engine; called again after one was lost.
pub type Load = Box<dyn FnMut() -> Result<Arc<dyn Engine>> + Send>;

/// The HTTP API of one model.
pub struct Api {
    options: Options,
    keys: Keys,
    uploads: Uploads,
    desk: Arc<Desk>,
    scorer: Scorer,
    metrics: Arc<Metrics>,
    log: Log,
    draining: AtomicBool,
    /// The computing thread.
    thread: Mutex<Option<JoinHandle<Result<()>>>>,
}

/// A request under way, as far as it is known.
struct Call<'a> {
    method: Method,
    path: Option<&'a str>,
    /// The whole path, for messages.
    whole: &'a str,
    headers: &'a HeaderMap,
    peer: Option<SocketAddr>,
    /// Which of several keys was given.
    key: Option<usize>,
    dialect: &'static Dialect,
    work: Work,
}

/// Counts a request whose client goes away before its answer.
struct Unanswered<'a> {
    api: &'a Api,
    method: Method,
    path: String,
    id: String,
    started: Instant,
    answered: bool,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if !self.answered {
            let name = if is_rerank_path(&self.path) { dialect_of_path(&self.path).name } else { "other" };
            self.api.metrics.request(name, 499);
            self.api.log.request(&Record {
                request_id: &self.id,
                method: self.method.as_str(),
                path: &self.path,
                status: 499,
                dialect: None,
                work: Work::default(),
                total_ms: milliseconds(self.started.elapsed()),
                error: None,
            });
        }
    }
}

impl Api {
    /// Starts the thread that loads the model and computes. `failed` hears of a model that cannot be loaded whatever is tried.
    pub fn start(options: Options, mut load: Load, failed: impl FnOnce() + Send + 'static) -> Arc<Self> {
        let (metrics, log) = (Arc::new(Metrics::new()), Log(options.log));
        let desk = Arc::new(Desk::new(&options, metrics.clone(), log));
        let working = desk.clone();
        let thread = thread::Builder::new().name("compute".into()).spawn(move || {
            let end = working.run(&mut *load);
            if end.is_err() {
                failed();
            }
            end
        });
        Arc::new(Self {
            keys: Keys::new(&options.api_keys),
            uploads: Uploads::new(options.max_body.saturating_mul(options.max_queue.saturating_add(1))),
            scorer: Scorer::new(&options, desk.clone()),
            desk,
            metrics,
            log,
            draining: AtomicBool::new(false),
            thread: Mutex::new(Some(thread.expect("a thread can be started"))),
            options,
        })
    }

    /// From now on the health paths say that this server is about to end.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Refuses what waits, and ends the computing thread after its batch. A load under way is not waited for.
    ///
    /// # Errors
    /// Why the model could not be loaded.
    pub fn close(&self) -> Result<()> {
        self.desk.close();
        let loading = matches!(self.desk.stage(), Stage::Loading);
        let thread = lock(&self.thread).take().filter(|thread| !loading || thread.is_finished());
        thread.map_or(Ok(()), |thread| thread.join().unwrap_or(Ok(())))
    }

    /// Answers a request. `peer` is who asks: clients share the model fairly.
    pub async fn answer(&self, request: Request<Body>, peer: Option<SocketAddr>) -> Response<Body> {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let whole = parts.uri.path().to_owned();
        let path = routes::below(&self.options.base_path, &whole);
        let id = request_id(&parts.headers);
        let mut unanswered = Unanswered {
            api: self,
            method: parts.method.clone(),
            path: path.unwrap_or(&whole).to_owned(),
            id: id.clone(),
            started,
            answered: false,
        };
        let mut call = Call {
            method: parts.method.clone(),
            path,
            whole: &whole,
            headers: &parts.headers,
            peer,
            key: None,
            dialect: dialect_of_path(path.unwrap_or_default()),
            work: Work::default(),
        };
        let routed = AssertUnwindSafe(self.in_time(&mut call, body)).catch_unwind().await;
        let routed = routed.unwrap_or_else(|payload| Err(Problem::internal(format!("panic: {}", said(&*payload)))));
        let mut cause = None;
        let mut response = routed.unwrap_or_else(|problem| {
            cause = problem.cause.clone().filter(|_| problem.status >= 500);
            refusal(&problem, &call)
        });
        unanswered.answered = true;
        self.count(&call, &id, response.status().as_u16(), started.elapsed(), cause.as_deref());
        let headers = response.headers_mut();
        for (name, value) in cors::headers_for(&call.method, call.headers, &self.options.cors) {
            headers.insert(HeaderName::from_static(name), value);
        }
        headers.extend(HeaderValue::from_str(&id).map(|id| (HeaderName::from_static("x-request-id"), id)));
        if call.method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        response
    }

    fn count(&self, call: &Call<'_>, id: &str, status: u16, took: Duration, cause: Option<&str>) {
        let reranks = call.path.is_some_and(is_rerank_path);
        let dialect = if reranks { call.dialect.name } else { "other" };
        self.metrics.request(dialect, status);
        if reranks {
            self.metrics.took(took);
        }
        // Probes come every few seconds and would drown the rest.
        let probe = call.path.is_some_and(|p| auth::OPEN.contains(&p) || p == "/metrics");
        if !probe || status >= 400 && status != 503 {
            self.log.request(&Record {
                request_id: id,
                method: call.method.as_str(),
                path: call.path.unwrap_or(call.whole),
                status,
                dialect: reranks.then_some(dialect),
                work: call.work,
                total_ms: milliseconds(took),
                error: cause,
            });
        }
    }

    /// Routes a request within the time that it has.
    async fn in_time(&self, call: &mut Call<'_>, body: Body) -> Result<Response<Body>, Problem> {
        let asked = wanted_time(call.headers)?;
        let Some(time) = asked.into_iter().chain(self.options.timeout).min() else {
            return self.route(call, body).await;
        };
        tokio::time::timeout(time, self.route(call, body)).await.unwrap_or_else(|_| {
            let what = format!(
                "The request took more than {} ms: send fewer documents, or allow more time.",
                time.as_millis()
            );
            Err(Problem::new(504, "timeout", what))
        })
    }

    async fn route(&self, call: &mut Call<'_>, body: Body) -> Result<Response<Body>, Problem> {
        if let Some(allowed) = routes::check(&call.method, call.path, call.whole)? {
            let response = Response::builder().status(StatusCode::NO_CONTENT).header("allow", allowed);
            return Ok(response.body(Body::empty()).expect("a header of ours"));
        }
        let path = call.path.unwrap_or_default();
        if !auth::OPEN.contains(&path) {
            call.key = self.keys.check(call.headers)?;
        }
        match path {
            path if auth::OPEN.contains(&path) => Ok(self.health()),
            "/info" => Ok(ok(&self.info(&self.engine().await?.info()))),
            "/v1/models" => Ok(ok(&models(&self.engine().await?.info()))),
            "/metrics" => Ok(self.report()),
            "/openapi.json" => Ok(ok(&openapi::document(&self.options))),
            "/tokenize" => self.tokenize(call, body).await,
            path => self.rerank(call, path, body).await,
        }
    }

    async fn engine(&self) -> Result<Arc<dyn Engine>, Problem> {
        self.desk.engine(self.options.load_wait).await
    }

    async fn read(&self, call: &Call<'_>, body: Body) -> Result<super::fields::Body, Problem> {
        let Options { max_body, cors, retry_after, .. } = &self.options;
        let foreign = cors::is_foreign(call.headers, cors);
        body::read(call.headers, body, *max_body, foreign, &self.uploads, *retry_after).await
    }

    fn check_count(&self, documents: usize) -> Result<(), Problem> {
        let most = self.options.max_documents;
        if documents <= most {
            return Ok(());
        }
        let what =
            format!("There are {documents} documents, at most {most} are taken in one request: send them in parts.");
        Err(too_large(what).param("documents"))
    }

    async fn rerank(&self, call: &mut Call<'_>, path: &str, body: Body) -> Result<Response<Body>, Problem> {
        let body = self.read(call, body).await?;
        call.dialect = dialect_of(path, &body);
        let ask = (call.dialect.read)(body)?;
        self.check_count(ask.documents.len())?;
        let caller = Caller { engine: self.engine().await?, client: call.client() };
        let (lines, work) = self.scorer.score(&ask, &caller).await?;
        call.work = work;
        let name = caller.engine.info().name;
        let answer = rank(&lines, &ask, &name)?;
        let Work { documents, tokens, cached, .. } = work;
        self.metrics.documents.inc_by(documents as u64);
        self.metrics.tokens.inc_by(tokens as u64);
        self.metrics.waited(Duration::from_secs_f64(work.queue_ms / 1e3));
        let mut response = ok(&(call.dialect.write)(&answer, path));
        if self.scorer.caches() {
            self.metrics.cache_hits.inc_by(cached as u64);
            self.metrics.cache_misses.inc_by((documents - cached) as u64);
            let hits = HeaderValue::from_str(&format!("{cached}/{documents}")).expect("digits");
            response.headers_mut().insert("x-cache", hits);
        }
        Ok(response)
    }

    async fn tokenize(&self, call: &mut Call<'_>, body: Body) -> Result<Response<Body>, Problem> {
        let ask = dialects::tokenize(self.read(call, body).await?)?;
        self.check_count(ask.documents.len())?;
        let caller = Caller { engine: self.engine().await?, client: call.client() };
        let prompts = self.scorer.tokenize(&ask, &caller).await?;
        let ids: Vec<Vec<u32>> = prompts.own.iter().map(|own| [&prompts.shared[..], own].concat()).collect();
        Ok(ok(&json!({ "ids": ids, "shared_prefix": prompts.shared.len() })))
    }

    fn health(&self) -> Response<Body> {
        let stage = self.desk.stage();
        let model = if let Stage::Ready(engine) = &stage { Some(engine.info().name) } else { None };
        let status = match stage {
            _ if self.draining.load(Ordering::Relaxed) => "draining",
            Stage::Loading => "loading",
            Stage::Failed => "failed",
            Stage::Ready(_) if self.desk.is_full() => "busy",
            Stage::Ready(_) => "ok",
        };
        let mut response = ok(&json!({ "status": status, "model": model }));
        // One that is busy is well: to send it nothing would only shift the load.
        if !["ok", "busy"].contains(&status) {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response.headers_mut().insert("retry-after", self.options.retry_after.into());
        }
        response
    }

    fn info(&self, info: &EngineInfo) -> Value {
        let o = &self.options;
        json!({
            "model_id": info.name,
            "model_type": { "reranker": { "id2label": { "0": "relevant" }, "label2id": { "relevant": 0 } } },
            "model_dtype": info.quantization,
            "parameters": info.parameters,
            "device": info.device,
            "max_input_length": longest(info.context_length, o.max_length),
            "max_client_batch_size": o.max_documents,
            "max_documents": o.max_documents,
            "max_body_bytes": o.max_body,
            "max_tokens": o.max_tokens,
            "max_queue": o.max_queue,
        })
    }

    fn report(&self) -> Response<Body> {
        let ready = matches!(self.desk.stage(), Stage::Ready(_));
        let text = self.metrics.text(self.desk.waiting(), self.desk.is_computing(), ready);
        let response = Response::builder().header("content-type", "text/plain; version=0.0.4; charset=utf-8");
        response.body(text.into()).expect("a header of ours")
    }
}

impl Call<'_> {
    /// Requests of one key, or of one address, share a turn.
    fn client(&self) -> String {
        match (self.key, self.peer) {
            (Some(key), _) => format!("key {key}"),
            (None, Some(peer)) => peer.ip().to_string(),
            (None, None) => String::new(),
        }
    }
}

fn models(info: &EngineInfo) -> Value {
    let model = json!({ "id": info.name, "object": "model", "created": 0, "owned_by": "edge-reranker" });
    json!({ "object": "list", "data": [model] })
}

fn ok(body: &Value) -> Response<Body> {
    let response = Response::builder().header("content-type", "application/json");
    response.body(body.to_string().into()).expect("a header of ours")
}

fn refusal(problem: &Problem, call: &Call<'_>) -> Response<Body> {
    let reranks = call.path.is_some_and(is_rerank_path);
    let (status, body) = if reranks {
        ((call.dialect.status)(problem.status), (call.dialect.error)(problem, call.path.unwrap_or_default()))
    } else {
        (problem.status, problem.body())
    };
    let mut response = ok(&body);
    *response.status_mut() = StatusCode::from_u16(status).expect("a status of ours");
    for (name, value) in &problem.headers {
        let value = HeaderValue::from_str(value).expect("a header of ours");
        response.headers_mut().insert(*name, value);
    }
    response
}

/// The client's own id for its request, or a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get("x-request-id").and_then(|v| v.to_str().ok());
    let plain = |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    given.filter(plain).map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}

/// How long the client would wait.
fn wanted_time(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    const NAME: &str = "x-request-timeout-ms";
    let Some(value) = headers.get(NAME) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|v| v.trim().parse::<u64>().ok()).filter(|n| *n > 0);
    let wrong = || Problem::new(400, "bad-input", format!("{NAME} must be a whole number of milliseconds from 1."));
    number.map(|n| Some(Duration::from_millis(n))).ok_or_else(wrong)
}
