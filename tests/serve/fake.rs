//! The engine of tests/dialects/README.md, and how a request is sent to an API in this process.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::{
    net::SocketAddr,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use edge_reranker::{
    Error, ErrorKind, Result,
    backend::Pace,
    model::Logits,
    rerank::{Part, Prompts},
    server::{Api, Engine, EngineInfo, Options, Spell},
};
use hyper::{HeaderMap, Request};
use serde_json::Value;

/// A door that the engine waits at while it is shut: how many calls may pass.
#[derive(Clone)]
pub struct Door(Arc<(Mutex<usize>, Condvar)>);

impl Default for Door {
    fn default() -> Self {
        Self(Arc::new((Mutex::new(usize::MAX), Condvar::new())))
    }
}

impl Door {
    pub fn shut(&self) {
        *self.0.0.lock().unwrap() = 0;
    }

    pub fn open(&self) {
        self.let_pass(usize::MAX);
    }

    pub fn let_pass(&self, calls: usize) {
        *self.0.0.lock().unwrap() = calls;
        self.0.1.notify_all();
    }

    /// Waits until it is open, or until the work is not wanted any more.
    fn pass(&self, pace: &dyn Pace) -> Result<()> {
        let mut calls = self.0.0.lock().unwrap();
        while *calls == 0 {
            if pace.cancelled() {
                return Err(Error::new(ErrorKind::Aborted, "cancelled"));
            }
            calls = self.0.1.wait_timeout(calls, Duration::from_millis(1)).unwrap().0;
        }
        *calls -= 1;
        Ok(())
    }
}

/// What the engine was asked to score: of each part the query's ids and the documents.
pub type Calls = Arc<Mutex<Vec<Vec<(Vec<u32>, std::ops::Range<usize>)>>>>;

#[derive(Clone, Default)]
pub struct Fake {
    pub door: Door,
    /// Where the query `!spell` waits before it becomes tokens.
    pub spelling: Door,
    pub calls: Calls,
    /// Documents that became tokens.
    pub spelled: Arc<AtomicUsize>,
    /// Calls that were given up.
    pub cancelled: Arc<AtomicUsize>,
}

fn words(text: &str) -> Vec<&str> {
    text.split([' ', '\t', '\r', '\n']).filter(|w| !w.is_empty()).collect()
}

pub fn id(word: &str) -> u32 {
    word.bytes().fold(10, |sum, byte| sum + u32::from(byte))
}

impl Engine for Fake {
    fn info(&self) -> EngineInfo {
        let name = || "fake".to_owned();
        EngineInfo {
            name: name(),
            quantization: "F32".into(),
            parameters: 1,
            context_length: 8192,
            device: name(),
            identity: name(),
        }
    }

    fn spell(&self, texts: &Spell, pace: &dyn Pace) -> Result<Prompts> {
        let query = words(&texts.query);
        if texts.query == "!spell" {
            self.spelling.pass(pace)?;
        }
        let room = texts.max_length.saturating_sub(query.len() + 2);
        if room < 1 {
            return Err(Error::new(ErrorKind::TooLong, "the query leaves no room"));
        }
        let mut prompts = Prompts { shared: vec![1], ..Prompts::default() };
        prompts.shared.extend(query.iter().map(|w| id(w)));
        for document in &texts.documents {
            if pace.cancelled() {
                return Err(Error::new(ErrorKind::Aborted, "cancelled"));
            }
            self.spelled.fetch_add(1, Ordering::Relaxed);
            let words = words(document);
            prompts.own.push(words.iter().take(room).map(|w| id(w)).chain([2]).collect());
            prompts.truncated.push(words.len() > room);
        }
        Ok(prompts)
    }

    fn rows(&self, _: usize) -> usize {
        1024
    }

    fn knows(&self, _: &[u32]) -> bool {
        false
    }

    fn score(&self, parts: &[Part<'_>], pace: &dyn Pace) -> Result<Vec<Vec<Logits>>> {
        let call = parts.iter().map(|p| (p.prompts.shared[1..].to_vec(), p.documents.clone()));
        self.calls.lock().unwrap().push(call.collect());
        self.door.pass(pace).inspect_err(|_| {
            self.cancelled.fetch_add(1, Ordering::Relaxed);
        })?;
        parts.iter().map(score).collect()
    }
}

fn score(part: &Part<'_>) -> Result<Vec<Logits>> {
    let query = &part.prompts.shared[1..];
    let is = |word: &str| query == [id(word)];
    if is("!oom") {
        return Err(Error::new(ErrorKind::OutOfMemory, "no memory at 0x1234 of the engine"));
    }
    if is("!lost") {
        return Err(Error::new(ErrorKind::DeviceLost, "the GPU was lost at 0x1234"));
    }
    if is("!few") {
        return Ok(Vec::new());
    }
    assert!(!is("!panic"), "the engine panics at 0x1234");
    let one = |own: &Vec<u32>| {
        let words = &own[..own.len() - 1];
        let hits = words.iter().filter(|w| query.contains(w)).count();
        let p = (hits + 1) as f64 / (words.len() + 2) as f64;
        let difference = if is("!nan") { f32::NAN } else { (p / (1.0 - p)).ln() as f32 };
        Logits { difference, pair: None }
    };
    Ok(part.prompts.own[part.documents.clone()].iter().map(one).collect())
}

/// An API with this engine.
pub fn api(options: Options, fake: &Fake) -> Arc<Api> {
    let fake = fake.clone();
    Api::start(options, Box::new(move || Ok(Arc::new(fake.clone()) as Arc<dyn Engine>)), || {})
}

/// An answer, read.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().unwrap())
    }
}

pub async fn send(api: &Api, request: Request<Body>, peer: Option<SocketAddr>) -> Reply {
    let (parts, body) = api.answer(request, peer).await.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
    Reply { status: parts.status.as_u16(), headers: parts.headers, body }
}

pub async fn get(api: &Api, path: &str) -> Reply {
    send(api, Request::get(path).body(Body::empty()).unwrap(), None).await
}

pub fn post(path: &str, body: &Value) -> Request<Body> {
    Request::post(path).header("content-type", "application/json").body(body.to_string().into()).unwrap()
}

/// What the metrics say of this series.
pub async fn value(api: &Api, series: &str) -> f64 {
    let text = String::from_utf8(get(api, "/metrics").await.body).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(&format!("edge_reranker_{series} ")));
    value.unwrap_or_else(|| panic!("{series} is not in {text}")).parse().unwrap()
}

/// Waits until a line is in the metrics.
pub async fn until(api: &Api, line: &str) {
    loop {
        let text = String::from_utf8(get(api, "/metrics").await.body).unwrap();
        if text.lines().any(|l| l == format!("edge_reranker_{line}")) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
