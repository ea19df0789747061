//! The HTTP API: from a request to its answer. `dialects` says what is understood.

use std::{
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use axum::body::Body;
use futures::FutureExt;
use hyper::{
    Method, Request, Response, StatusCode,
    header::{HeaderName, HeaderValue},
};
use serde_json::json;

use super::{
    Options,
    answers::{self, ok},
    auth::{self, Keys},
    body::{self, Upload, Uploads},
    call::Call,
    cors,
    desk::{Desk, Stage, said},
    dialects::{self, dialect_of},
    engine::Engine,
    job::lock,
    json::Body as Object,
    log::{self, Log, Work},
    metrics::Metrics,
    openapi,
    problem::{Problem, too_large},
    routes,
    score::{Caller, Scorer, rank},
};
use crate::error::{Error, ErrorKind, Result};

/// Gives the engine; called again after one was lost.
pub type Load = Box<dyn FnMut() -> Result<Arc<dyn Engine>> + Send>;

/// The HTTP API of one model.
pub struct Api {
    options: Options,
    keys: Keys,
    uploads: Arc<Uploads>,
    desk: Arc<Desk>,
    scorer: Scorer,
    metrics: Arc<Metrics>,
    log: Log,
    draining: AtomicBool,
    /// The computing thread.
    thread: Mutex<Option<JoinHandle<Result<()>>>>,
}

impl Api {
    /// Starts the thread that loads the model and computes. `failed` hears of a model that cannot be loaded whatever is tried.
    pub fn start(mut options: Options, mut load: Load, failed: impl FnOnce() + Send + 'static) -> Arc<Self> {
        for one in &mut options.cors {
            *one = cors::origin(one).unwrap_or(std::mem::take(one));
        }
        let (metrics, log) = (Arc::new(Metrics::new()), Log(options.log));
        let desk = Arc::new(Desk::new(&options, metrics.clone(), log));
        let working = desk.clone();
        let thread = thread::Builder::new().name("compute".into()).spawn(move || {
            let end = catch_unwind(AssertUnwindSafe(|| working.run(&mut *load))).unwrap_or_else(|payload| {
                Err(Error::new(ErrorKind::DeviceLost, format!("the computing thread failed: {}", said(&*payload))))
            });
            if end.is_err() {
                working.give_up();
                failed();
            }
            end
        });
        Arc::new(Self {
            keys: Keys::new(&options.api_keys),
            uploads: Uploads::new(options.max_bodies, options.retry_after),
            scorer: Scorer::new(&options, desk.clone()),
            desk,
            metrics,
            log,
            draining: AtomicBool::new(false),
            thread: Mutex::new(Some(thread.expect("a thread can be started"))),
            options,
        })
    }

    /// From now on the health paths say that this server is about to end, and no more work is taken.
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
        let end = thread.map_or(Ok(()), |thread| thread.join().unwrap_or(Ok(())));
        log::flush();
        end
    }

    /// Answers a request. `peer` is who asks: clients share the model fairly.
    pub async fn answer(&self, request: Request<Body>, peer: Option<SocketAddr>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let path = routes::below(&self.options.base_path, parts.uri.path());
        let mut call = Call::new(&parts, path, peer, &self.metrics, self.log);
        let routed = AssertUnwindSafe(self.in_time(&mut call, body)).catch_unwind().await;
        let routed = routed.unwrap_or_else(|payload| Err(Problem::internal(format!("panic: {}", said(&*payload)))));
        let mut response = match routed {
            Ok(response) => {
                call.answered(response.status().as_u16(), None);
                response
            }
            Err(problem) => {
                let response = answers::refusal(&problem, call.dialect.filter(|_| call.reranks()), path);
                call.answered(response.status().as_u16(), problem.cause.as_deref().filter(|_| problem.status >= 500));
                response
            }
        };
        let headers = response.headers_mut();
        for (name, value) in cors::headers_for(&parts.method, &parts.headers, &self.options.cors) {
            headers.insert(HeaderName::from_static(name), value);
        }
        headers.extend(HeaderValue::from_str(&call.id).map(|id| (HeaderName::from_static("x-request-id"), id)));
        if parts.method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        response
    }

    /// Routes a request within the time that it has.
    async fn in_time(&self, call: &mut Call<'_>, body: Body) -> Result<Response<Body>, Problem> {
        let asked = call.wanted_time()?;
        let Some(time) = asked.into_iter().chain(self.options.timeout).min() else {
            return self.route(call, body).await;
        };
        call.due = Instant::now().checked_add(time);
        tokio::time::timeout(time, self.route(call, body)).await.unwrap_or_else(|_| {
            let what = format!(
                "The request took more than {} ms: send fewer documents, or allow more time.",
                time.as_millis()
            );
            Err(Problem::new(504, "timeout", what))
        })
    }

    async fn route(&self, call: &mut Call<'_>, body: Body) -> Result<Response<Body>, Problem> {
        if let Some(allowed) = routes::check(&call.parts.method, call.path, call.parts.uri.path())? {
            let response = Response::builder().status(StatusCode::NO_CONTENT).header("allow", allowed);
            return Ok(response.body(Body::empty()).expect("a header of ours"));
        }
        let path = call.path.unwrap_or_default();
        if !auth::OPEN.contains(&path) {
            call.key = self.keys.check(&call.parts.headers)?;
        }
        match path {
            "/ping" => Ok(self.ping()),
            path if auth::OPEN.contains(&path) => Ok(self.health()),
            "/info" => Ok(ok(&answers::info(&self.engine().await?.info(), &self.options))),
            "/v1/models" => Ok(ok(&answers::models(&self.engine().await?.info()))),
            "/metrics" => Ok(self.report()),
            "/openapi.json" => Ok(ok(&openapi::document(&self.options))),
            "/tokenize" => self.tokenize(call, body).await,
            path => self.rerank(call, path, body).await,
        }
    }

    async fn engine(&self) -> Result<Arc<dyn Engine>, Problem> {
        self.desk.engine(self.options.load_wait).await
    }

    /// The body's text, and its place among those under way.
    async fn read(&self, call: &Call<'_>, body: Body) -> Result<(String, Upload), Problem> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(self.desk.draining());
        }
        let headers = &call.parts.headers;
        let foreign = cors::is_foreign(headers, &self.options.cors);
        body::read(headers, body, self.options.max_body, foreign, &self.uploads).await
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
        let (text, mut held) = self.read(call, body).await?;
        let ask = body::work(text.len(), || {
            let body = Object::read(&text, self.options.max_documents)?;
            let dialect = dialect_of(path, &body);
            call.dialect = Some(dialect);
            (dialect.read)(body)
        })?;
        drop(text);
        let dialect = call.dialect.expect("it was just told");
        self.check_count(ask.count)?;
        let caller = Caller { engine: self.engine().await?, client: call.client(), due: call.due };
        let lines = self.scorer.score(&ask, &caller, &mut held, &mut call.work).await?;
        let name = caller.engine.info().name;
        let answer = body::work(held.bytes(), || Ok((dialect.write)(&rank(&lines, &ask, &name)?, path)))?;
        let Work { documents, tokens, cached, .. } = call.work;
        self.metrics.documents.inc_by(documents as u64);
        self.metrics.tokens.inc_by(tokens as u64);
        let mut response = answers::of(held.until_sent(answer));
        if self.scorer.caches() {
            self.metrics.cache_hits.inc_by(cached as u64);
            self.metrics.cache_misses.inc_by((documents - cached) as u64);
            let hits = HeaderValue::from_str(&format!("{cached}/{documents}")).expect("digits");
            response.headers_mut().insert("x-cache", hits);
        }
        Ok(response)
    }

    async fn tokenize(&self, call: &mut Call<'_>, body: Body) -> Result<Response<Body>, Problem> {
        let (text, held) = self.read(call, body).await?;
        let read = || dialects::tokenize(Object::read(&text, self.options.max_documents)?);
        let ask = body::work(text.len(), read)?;
        drop(text);
        self.check_count(ask.count)?;
        let caller = Caller { engine: self.engine().await?, client: call.client(), due: call.due };
        let prompts = self.scorer.tokenize(&ask, &caller, &mut call.work).await?;
        // As many as the text of one body has, at a usual length.
        let most = (self.options.max_body / 4).max(1 << 16);
        if call.work.tokens > most {
            let what = format!(
                "The prompts have {} tokens together, at most {most} are told in one answer: send fewer documents, or a shorter query.",
                call.work.tokens
            );
            return Err(too_large(what));
        }
        let answer = body::work(call.work.tokens, || answers::tokenized(&prompts));
        Ok(answers::of(held.until_sent(answer)))
    }

    /// Whether the process lives, whatever there is of a model.
    fn ping(&self) -> Response<Body> {
        let mut response = self.health();
        *response.status_mut() = StatusCode::OK;
        response.headers_mut().remove("retry-after");
        response
    }

    /// Whether requests would be answered.
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

    fn report(&self) -> Response<Body> {
        let text = self.metrics.text(&self.desk.load());
        let response = Response::builder().header("content-type", "text/plain; version=0.0.4; charset=utf-8");
        response.body(text.into()).expect("a header of ours")
    }
}
