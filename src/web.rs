//! The JavaScript surface: one class, `Engine`, which the npm package wraps.
//!
//! Every call returns a promise and gives its thread back about every 30 ms, so that messages, aborts and timers run meanwhile.

use std::{cell::Cell, ops::Range, rc::Rc};

use bytes::Bytes;
use js_sys::{Array, Float32Array, Function, Promise, Reflect, Uint8Array, Uint32Array};
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};
use web_time::{Duration, Instant};

#[cfg(feature = "threads")]
use crate::backend::simd::Threads;
use crate::{
    backend::Pace,
    error::{Error, ErrorKind, Result},
    model::{Logits, Template},
    rerank::{Device, LoadOptions, RankOptions, Request, Reranker, rank},
    weights::{BoxFuture, ByteSource, SourceFile},
};

/// How long the engine keeps its thread.
const SLICE: Duration = Duration::from_millis(30);

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Function, milliseconds: i32) -> JsValue;
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(message: &str);
}

/// Says on the console what a trap alone would hide.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|info| console_error(&format!("edge-reranker: internal error: {info}"))));
}

/// A loaded model.
#[wasm_bindgen]
pub struct Engine {
    reranker: Rc<Reranker>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    top_n: Option<f64>,
    instruction: Option<String>,
    return_documents: Option<bool>,
    threshold: Option<f32>,
    max_length: Option<f64>,
    raw_scores: Option<bool>,
    template: Option<String>,
    parse_special: Option<bool>,
    keep_prefix: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Document {
    Text(String),
    Object { text: String, id: Option<String> },
}

impl Document {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Object { text, .. } => text,
        }
    }

    fn id(&self) -> Option<String> {
        match self {
            Self::Text(_) => None,
            Self::Object { id, .. } => id.clone(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RerankResult {
    results: Vec<Line>,
    usage: Usage,
    timings: Timings,
    model: String,
    device: String,
    warnings: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    index: usize,
    relevance_score: f32,
    logit: f32,
    tokens: usize,
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Text>,
}

#[derive(Serialize)]
struct Text {
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
    prefix_reused_tokens: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Timings {
    tokenize_ms: f64,
    infer_ms: f64,
    total_ms: f64,
}

/// What `lost` says.
#[cfg(feature = "gpu")]
#[derive(Serialize)]
struct Lost {
    reason: &'static str,
    message: String,
}

/// What `onScore` hears.
#[derive(Serialize)]
struct OnScore {
    index: usize,
    score: f32,
    done: usize,
    total: usize,
}

#[derive(Serialize)]
struct OnProgress<'a> {
    file: &'a str,
    loaded: u64,
    total: u64,
}

#[wasm_bindgen]
impl Engine {
    /// Loads a model from `{ name, size, read(start, end) }[]`: one GGUF file, or the files of a checkpoint. Resolves to an `Engine`.
    pub fn load(files: Array, options: JsValue) -> Promise {
        promise(async move {
            let files = files.iter().map(|f| JsSource::file(&f)).collect::<Result<Vec<_>>>()?;
            let call = Call::new(&options);
            let progress = function(&options, "onProgress");
            let name = field(&options, "name").as_string();
            let file = name.clone().or_else(|| files.first().map(|f| f.name.clone())).unwrap_or_default();
            let report = |loaded, total| {
                if let Some(progress) = &progress {
                    let event = to_js(&OnProgress { file: &file, loaded, total })?;
                    progress.call1(&JsValue::NULL, &event).map_err(|e| error_of(&e))?;
                }
                if call.cancelled() { Err(Error::aborted()) } else { Ok(()) }
            };
            let options = LoadOptions { name, ..load_options(&options)? };
            let reranker = Reranker::load(files, options, report).await?;
            Ok(Engine { reranker: Rc::new(reranker) }.into())
        })
    }

    /// Ranks documents. Resolves to a `RerankResult`.
    pub fn rerank(&self, query: String, documents: JsValue, options: JsValue) -> Promise {
        let reranker = self.reranker.clone();
        promise(async move {
            let started = Instant::now();
            let settings = parse::<Option<Options>>(&options, "options")?.unwrap_or_default();
            let documents: Vec<Document> = parse(&documents, "documents")?;
            let top_n = whole(settings.top_n, "topN")?.unwrap_or(0);
            let request = settings.request(&query, documents.iter().map(Document::text).collect())?;
            let raw = settings.raw_scores.unwrap_or(false);
            let call = Call::new(&options);
            let mut hear = Listener::new(&options, raw, 0, documents.len(), &call);
            let scores = reranker.score(&request, &call, &mut |i, logits, _, _| hear.score(i, logits)).await;
            let scores = hear.finish(scores)?;
            let ranked = rank(&scores, &RankOptions { top_n, threshold: settings.threshold, raw });
            let results = ranked
                .iter()
                .map(|r| {
                    let (scored, document) = (&scores.scored[r.index], &documents[r.index]);
                    let text =
                        settings.return_documents.unwrap_or(false).then(|| Text { text: document.text().to_owned() });
                    Line {
                        index: r.index,
                        relevance_score: r.relevance_score,
                        logit: scored.logits.difference,
                        tokens: scored.tokens,
                        truncated: scored.truncated,
                        id: document.id(),
                        document: text,
                    }
                })
                .collect();
            let tokens = scores.prompt_tokens();
            to_js(&RerankResult {
                results,
                usage: Usage {
                    prompt_tokens: tokens,
                    total_tokens: tokens,
                    prefix_reused_tokens: scores.prefix_reused,
                },
                timings: Timings {
                    tokenize_ms: scores.tokenize_ms,
                    infer_ms: scores.infer_ms,
                    total_ms: started.elapsed().as_secs_f64() * 1e3,
                },
                model: reranker.info().name.clone(),
                device: reranker.info().device.clone(),
                warnings: scores.warnings,
            })
        })
    }

    /// Scores `[query, document]` pairs in their order; neighbours with one query share its prefix. Resolves to a `Float32Array`.
    pub fn score(&self, pairs: JsValue, options: JsValue) -> Promise {
        let reranker = self.reranker.clone();
        promise(async move {
            let settings = parse::<Option<Options>>(&options, "options")?.unwrap_or_default();
            let pairs: Vec<(String, String)> = parse(&pairs, "pairs")?;
            let call = Call::new(&options);
            let raw = settings.raw_scores.unwrap_or(false);
            let mut out: Vec<f32> = Vec::with_capacity(pairs.len());
            for group in pairs.chunk_by(|a, b| a.0 == b.0) {
                let request = settings.request(&group[0].0, group.iter().map(|p| &p.1[..]).collect())?;
                let before = out.len();
                let mut hear = Listener::new(&options, raw, before, pairs.len(), &call);
                let scores = reranker.score(&request, &call, &mut |i, logits, _, _| hear.score(i, logits)).await;
                let scores = hear.finish(scores)?;
                out.extend(scores.scored.iter().map(|s| s.logits.reported(raw)));
            }
            Ok(Float32Array::from(&out[..]).into())
        })
    }

    /// The ids of one prompt: `{ ids: Uint32Array, sharedPrefix }`.
    pub fn tokenize(&self, query: String, document: String, options: JsValue) -> Result<JsValue, JsValue> {
        let tokenized = || -> Result<JsValue> {
            let settings = parse::<Option<Options>>(&options, "options")?.unwrap_or_default();
            let tokenized = self.reranker.tokenize(&settings.request(&query, vec![&document])?)?;
            let out = js_sys::Object::new();
            set(&out, "ids", &Uint32Array::from(&tokenized.ids[0][..]));
            set(&out, "sharedPrefix", &JsValue::from(tokenized.shared_prefix as u32));
            Ok(out.into())
        };
        tokenized().map_err(|e| js_error(&e))
    }

    /// What was loaded.
    pub fn info(&self) -> Result<JsValue, JsValue> {
        let info = to_js(self.reranker.info()).map_err(|e| js_error(&e))?;
        let instructions = if cfg!(target_feature = "relaxed-simd") { "relaxed-simd" } else { "simd128" };
        set(info.unchecked_ref(), "instructions", &instructions.into());
        #[cfg(feature = "gpu")]
        if let Some(gpu) = self.reranker.gpu() {
            set(info.unchecked_ref(), "adapter", &to_js(gpu.adapter()).map_err(|e| js_error(&e))?);
            set(info.unchecked_ref(), "kernels", &gpu.kernels().into());
        }
        Ok(info)
    }

    /// What autotune found on this GPU, as a text for a later load's option `tuning`; undefined on the CPU.
    pub fn tuning(&self) -> Option<String> {
        #[cfg(feature = "gpu")]
        return self.reranker.gpu().map(crate::backend::Gpu::tuning);
        #[cfg(not(feature = "gpu"))]
        None
    }

    /// Frees what lies on a GPU at once, whatever still runs.
    pub fn unload(&self) {
        self.reranker.unload();
    }

    /// A mark by which JavaScript tells this build from the others.
    #[cfg(target_feature = "relaxed-simd")]
    #[wasm_bindgen(js_name = relaxedSimd)]
    pub fn relaxed_simd() {}

    /// Makes the calling worker one of the engine's threads, which `ready` hears of; returns when `endThreads` is called.
    #[cfg(feature = "threads")]
    #[wasm_bindgen(js_name = serveThread)]
    pub fn serve_thread(ready: &Function) {
        Threads::serve(|| {
            // What it throws would be its own fault.
            let _ = ready.call0(&JsValue::NULL);
        });
    }

    /// Lets all workers return from `serveThread`.
    #[cfg(feature = "threads")]
    #[wasm_bindgen(js_name = endThreads)]
    pub fn end_threads() {
        Threads::end();
    }

    /// To be called after a trap in `serveThread`: the engine's own thread then traps too, where it would wait for ever.
    #[cfg(feature = "threads")]
    #[wasm_bindgen(js_name = failThread)]
    pub fn fail_thread() {
        Threads::fail();
    }

    /// Resolves to `{ reason, message }` once the GPU's device is lost; never on the CPU.
    pub fn lost(&self) -> Promise {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = self.reranker.gpu() {
            let lost = gpu.lost();
            return promise(async move {
                let message = lost.await;
                to_js(&Lost { reason: "device-lost", message })
            });
        }
        Promise::new(&mut |_, _| {})
    }
}

impl Options {
    fn request<'a>(&'a self, query: &'a str, documents: Vec<&'a str>) -> Result<Request<'a>> {
        Ok(Request {
            query,
            documents,
            instruction: self.instruction.as_deref(),
            template: self.template.as_deref().map_or(Ok(Template::default()), str::parse)?,
            max_length: whole(self.max_length, "maxLength")?,
            parse_special: self.parse_special.unwrap_or(false),
            keep_prefix: self.keep_prefix.unwrap_or(false),
        })
    }
}

/// The device that JavaScript chose. It alone knows why, so there is no automatic choice here.
fn load_options(options: &JsValue) -> Result<LoadOptions> {
    let text = |name: &str| field(options, name).as_string();
    let device = match text("device").as_deref() {
        None | Some("wasm") => Device::Cpu,
        Some("webgpu") => Device::Gpu,
        Some(other) => return Err(Error::bad_input(format!("device is `{other}`, expected `webgpu` or `wasm`"))),
    };
    Ok(LoadOptions {
        device,
        threads: whole(field(options, "threads").as_f64(), "threads")?.unwrap_or(1),
        streaming: whole(field(options, "memoryMB").as_f64(), "memoryMB")?.map(|mb| (mb as u64) << 20),
        #[cfg(feature = "gpu")]
        gpu: crate::backend::GpuOptions {
            power: match text("powerPreference").as_deref() {
                Some("low-power") => wgpu::PowerPreference::LowPower,
                Some("high-performance") => wgpu::PowerPreference::HighPerformance,
                _ => wgpu::PowerPreference::None,
            },
            borrowed: field(options, "ownsDevice") == JsValue::FALSE,
            name: text("adapterName"),
            with_subgroups: field(options, "subgroups").is_truthy(),
            tuning: text("tuning"),
            ..Default::default()
        },
        ..LoadOptions::default()
    })
}

fn whole(value: Option<f64>, name: &str) -> Result<Option<usize>> {
    match value {
        None => Ok(None),
        Some(n) if n >= 0.0 && n.fract() == 0.0 && n <= f64::from(u32::MAX) => Ok(Some(n as usize)),
        Some(n) => Err(Error::bad_input(format!("{name} is {n}, expected a whole number from 0"))),
    }
}

/// A file that JavaScript reads.
struct JsSource {
    size: u64,
    object: JsValue,
    read: Function,
}

impl JsSource {
    fn file(object: &JsValue) -> Result<SourceFile> {
        let (name, size) = (field(object, "name").as_string(), field(object, "size").as_f64());
        match (name, size, function(object, "read")) {
            (Some(name), Some(size), Some(read)) if size >= 0.0 => {
                Ok(SourceFile::new(name, Self { size: size as u64, object: object.clone(), read }))
            }
            _ => Err(Error::bad_input("a file needs a name, a size and read(start, end)").at("files")),
        }
    }

    async fn fetch(&self, range: Range<u64>) -> Result<Bytes> {
        let (start, end) = (JsValue::from(range.start as f64), JsValue::from(range.end as f64));
        let called = self.read.call2(&self.object, &start, &end).map_err(|e| error_of(&e))?;
        let value = JsFuture::from(Promise::resolve(&called)).await.map_err(|e| error_of(&e))?;
        let array: Uint8Array = value.dyn_into().map_err(|_| {
            Error::new(ErrorKind::BadInput, "read(start, end) must give a Uint8Array or a promise of one")
        })?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(array.length() as usize).map_err(|_| {
            Error::new(ErrorKind::OutOfMemory, format!("no memory for {} more bytes of the model", array.length()))
                .hint("use a smaller model or close other tabs")
        })?;
        bytes.resize(array.length() as usize, 0);
        array.copy_to(&mut bytes);
        Ok(bytes.into())
    }
}

impl ByteSource for JsSource {
    fn len(&self) -> u64 {
        self.size
    }

    fn read(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        Box::pin(self.fetch(range))
    }
}

/// Passes scores on to `onScore`; what that throws ends the call.
struct Listener<'a> {
    on_score: Option<Function>,
    raw: bool,
    /// Documents of earlier groups of the call.
    before: usize,
    total: usize,
    call: &'a Call,
    thrown: Option<JsValue>,
}

impl<'a> Listener<'a> {
    fn new(options: &JsValue, raw: bool, before: usize, total: usize, call: &'a Call) -> Self {
        Self { on_score: function(options, "onScore"), raw, before, total, call, thrown: None }
    }

    fn score(&mut self, index: usize, logits: Logits) {
        let (Some(f), None) = (&self.on_score, &self.thrown) else { return };
        let index = self.before + index;
        let score = logits.reported(self.raw);
        let event = OnScore { index, score, done: index + 1, total: self.total };
        if let Err(e) = to_js(&event).map_err(|e| js_error(&e)).and_then(|e| f.call1(&JsValue::NULL, &e)) {
            self.thrown = Some(e);
            self.call.stopped.set(true);
        }
    }

    fn finish<T>(self, result: Result<T>) -> Result<T> {
        match self.thrown {
            Some(e) => Err(error_of(&e)),
            None => result,
        }
    }
}

/// One call's pace: its abort signal, and when it last gave the thread back.
struct Call {
    signal: JsValue,
    /// True once the call has failed on its own.
    stopped: Cell<bool>,
    since: Cell<Instant>,
}

impl Call {
    fn new(options: &JsValue) -> Self {
        Self { signal: field(options, "signal"), stopped: Cell::new(false), since: Cell::new(Instant::now()) }
    }
}

impl Pace for Call {
    fn cancelled(&self) -> bool {
        self.stopped.get() || field(&self.signal, "aborted").is_truthy()
    }

    fn pause(&self) -> Option<BoxFuture<'_, ()>> {
        if self.since.get().elapsed() < SLICE {
            return None;
        }
        Some(Box::pin(async {
            // A failure to wait is no reason to fail the work.
            let _ = JsFuture::from(next_task()).await;
            self.since.set(Instant::now());
        }))
    }
}

/// Resolves in a task of its own, after messages and timers that wait: by a message channel, since browsers hold
/// nested timeouts back for 4 ms.
fn next_task() -> Promise {
    Promise::new(&mut |resolve, _| {
        if Reflect::has(&js_sys::global(), &"setImmediate".into()) == Ok(true)
            && let Some(immediate) = function(&js_sys::global(), "setImmediate")
        {
            let _ = immediate.call1(&JsValue::NULL, &resolve);
        } else if let Ok(channel) = web_sys::MessageChannel::new() {
            let (here, there) = (channel.port1(), channel.port2());
            let port = here.clone();
            let listener = Closure::once_into_js(move || {
                port.close();
                let _ = resolve.call0(&JsValue::NULL);
            });
            here.set_onmessage(Some(listener.unchecked_ref()));
            let _ = there.post_message(&JsValue::NULL);
        } else {
            set_timeout(&resolve, 0);
        }
    })
}

fn promise(work: impl Future<Output = Result<JsValue>> + 'static) -> Promise {
    future_to_promise(async move { work.await.map_err(|e| js_error(&e)) })
}

fn field(object: &JsValue, name: &str) -> JsValue {
    if object.is_object() {
        Reflect::get(object, &name.into()).unwrap_or(JsValue::UNDEFINED)
    } else {
        JsValue::UNDEFINED
    }
}

fn function(object: &JsValue, name: &str) -> Option<Function> {
    field(object, name).dyn_into().ok()
}

fn set(object: &JsValue, name: &str, value: &JsValue) {
    // Only a frozen object refuses, and these are fresh.
    let _ = Reflect::set(object, &name.into(), value);
}

fn parse<T: serde::de::DeserializeOwned>(value: &JsValue, name: &str) -> Result<T> {
    serde_wasm_bindgen::from_value(value.clone()).map_err(|e| Error::bad_input(e.to_string()).at(name))
}

fn to_js(value: &impl Serialize) -> Result<JsValue> {
    let serializer = serde_wasm_bindgen::Serializer::new().serialize_maps_as_objects(true);
    value.serialize(&serializer).map_err(|e| Error::bad_input(e.to_string()))
}

/// An error for JavaScript: a real `Error` with `name` and `code`.
fn js_error(error: &Error) -> JsValue {
    let out = js_sys::Error::new(&error.to_string());
    out.set_name("RerankError");
    set(&out, "code", &error.code().into());
    out.into()
}

/// What JavaScript threw, with its code if it is one of ours.
fn error_of(thrown: &JsValue) -> Error {
    let message =
        field(thrown, "message").as_string().or_else(|| thrown.as_string()).unwrap_or_else(|| format!("{thrown:?}"));
    let kind = match (field(thrown, "code").as_string(), field(thrown, "name").as_string()) {
        (_, Some(name)) if name == "AbortError" => ErrorKind::Aborted,
        (Some(code), _) => ErrorKind::from_code(&code).unwrap_or(ErrorKind::Download),
        _ => ErrorKind::Download,
    };
    Error::new(kind, message)
}
