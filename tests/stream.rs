//! Weights that stay in their files: the same scores in little memory.

mod common;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use common::{files, golden, load, load_with};
use edge_reranker::{
    Error, ErrorKind, Result,
    backend::Free,
    rerank::{Device, LoadOptions, Request, Reranker, Scores},
    weights::{BoxFuture, ByteSource, SourceFile},
};
use futures::executor::block_on;

const ENOUGH: u64 = 256 << 20;

fn streamed(memory: u64) -> LoadOptions {
    LoadOptions { device: Device::Cpu, streaming: Some(memory), ..LoadOptions::default() }
}

fn score(reranker: &Reranker, request: &Request) -> Result<Scores> {
    block_on(reranker.score(request, &Free, &mut |_, _, _, _| {}))
}

fn logits(reranker: &Reranker, request: &Request) -> Vec<f32> {
    score(reranker, request).unwrap().scored.iter().map(|s| s.logits.difference).collect()
}

/// The fewest megabytes that a model takes, as its refusal of fewer says.
fn least(model: &str) -> u64 {
    let refused =
        block_on(Reranker::load(files(model), streamed(1 << 20), |_, _| Ok(()))).err().expect("1 MB is too little");
    assert_eq!(refused.code(), "bad-input");
    let text = refused.to_string();
    let words: Vec<&str> = text.split_whitespace().collect();
    let mb = words.windows(2).find(|w| w[0] == "it").expect("a hint with a number")[1];
    mb.parse::<u64>().unwrap() << 20
}

#[test]
fn every_model_scores_as_from_memory() {
    let golden = golden();
    for model in &golden.models {
        let (resident, streamed) = (load(&model.path), load_with(&model.path, streamed(ENOUGH)));
        assert!(resident.info().streaming.is_none() && streamed.info().streaming.is_some());
        for request in golden.requests.iter().filter(|r| r.error.is_none()) {
            let request = request.request();
            assert_eq!(logits(&resident, &request), logits(&streamed, &request), "{}", model.path);
        }
    }
}

#[test]
fn many_documents_go_in_several_passes() {
    let model = "every-type.gguf";
    let streamed = load_with(model, streamed(least(model)));
    let tokens = streamed.info().streaming.as_ref().unwrap().tokens_per_pass;
    let documents: Vec<String> = (0..80).map(|i| format!("{i} ").repeat(20 + i)).collect();
    let request = Request {
        query: "which one?",
        documents: documents.iter().map(String::as_str).collect(),
        ..Default::default()
    };
    let scores = score(&streamed, &request).unwrap();
    assert!(scores.prompt_tokens() - scores.prefix_reused > tokens, "{tokens} tokens a pass are enough for one");
    assert_eq!(logits(&load(model), &request), logits(&streamed, &request));
}

#[test]
fn a_prompt_that_is_too_long_for_the_memory_is_named() {
    let model = "every-type.gguf";
    let streamed = load_with(model, streamed(least(model)));
    let tokens = streamed.info().streaming.as_ref().unwrap().tokens_per_pass;
    let long = "a ".repeat(tokens + 1);
    let request =
        |max_length| Request { query: "q", documents: vec!["short", &long], max_length, ..Default::default() };
    let context = streamed.info().context_length;
    if tokens >= context {
        return assert!(score(&streamed, &request(Some(context))).is_ok());
    }
    let refused = score(&streamed, &request(Some(context))).unwrap_err();
    assert_eq!(refused.code(), "too-long");
    assert!(
        refused.to_string().contains("documents[1]") && refused.to_string().contains(&tokens.to_string()),
        "{refused}"
    );
    assert!(score(&streamed, &request(Some(tokens))).unwrap().scored[1].truncated);
}

#[test]
fn a_gpu_does_not_stream() {
    let options = LoadOptions { device: Device::Gpu, ..streamed(ENOUGH) };
    let refused = block_on(Reranker::load(files("tiny-f32.gguf"), options, |_, _| Ok(()))).err().expect("refused");
    assert_eq!(refused.code(), "unsupported");
}

/// Counts the bytes that are read, and fails from a moment on.
struct Counted {
    inner: Arc<dyn ByteSource>,
    read: Arc<AtomicU64>,
    most: Arc<AtomicU64>,
}

impl ByteSource for Counted {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read(&self, range: Range<u64>) -> BoxFuture<'_, Result<bytes::Bytes>> {
        let read = self.read.fetch_add(range.end - range.start, Ordering::Relaxed);
        if read > self.most.load(Ordering::Relaxed) {
            let gone = Error::new(ErrorKind::Download, "the host is gone");
            return Box::pin(std::future::ready(Err(gone)));
        }
        self.inner.read(range)
    }
}

#[test]
fn what_is_read_when_and_a_source_that_fails_and_comes_back() {
    let model = "every-type.gguf";
    let (read, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(u64::MAX)));
    let counted = files(model)
        .into_iter()
        .map(|f| SourceFile::new(f.name, Counted { inner: f.source, read: read.clone(), most: most.clone() }))
        .collect();
    let reranker = block_on(Reranker::load(counted, streamed(ENOUGH), |_, _| Ok(()))).unwrap();
    let opened = read.swap(0, Ordering::Relaxed);
    let tensors = reranker.info().bytes;
    let request = Request { query: "capital of China", documents: vec!["Beijing", "bananas"], ..Default::default() };
    let first = logits(&reranker, &request);
    let pass = read.swap(0, Ordering::Relaxed);
    assert!(pass <= tensors, "a pass reads {pass} bytes of {tensors}");
    assert_eq!(logits(&reranker, &request), first);
    let again = read.swap(0, Ordering::Relaxed);
    assert!(again < pass, "rows of the embedding are kept: {again} bytes after {pass}");
    assert!(opened > 0);

    most.store(again / 2, Ordering::Relaxed);
    assert_eq!(score(&reranker, &request).unwrap_err().code(), "download");
    most.store(u64::MAX, Ordering::Relaxed);
    assert_eq!(logits(&reranker, &request), first);
}
