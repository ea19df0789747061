//! Whole models on every GPU adapter of this machine, software ones too, against transformers and against the CPU.
#![cfg(feature = "gpu")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use common::{golden, load, load_with};
use edge_reranker::{
    backend::{Free, GpuOptions, Pace, gpu::adapters},
    rerank::{Device, LoadOptions, Part, Request, Reranker, Scores},
};
use futures::executor::block_on;

/// Bounds on the difference of the logits for exact files: any element. For quantised ones: any, and the mean.
const EXACT: f32 = 5e-3;
const QUANTIZED: [f32; 2] = [0.3, 0.05];

fn score(reranker: &Reranker, request: &Request) -> Scores {
    block_on(reranker.score(request, &Free, &mut |_, _, _, _| {})).unwrap()
}

fn differences(scores: &Scores) -> Vec<f32> {
    scores.scored.iter().map(|s| s.logits.difference).collect()
}

fn options(adapter: &str) -> LoadOptions {
    let gpu = GpuOptions { name: Some(adapter.to_owned()), default_limits: true, ..GpuOptions::default() };
    LoadOptions { device: Device::Gpu, gpu, ..LoadOptions::default() }
}

/// Runs on every adapter; true for the first, which is tried on more.
fn everywhere(test: impl Fn(&str, bool)) {
    let found = block_on(adapters());
    if found.is_empty() {
        println!("SKIPPED: this machine has no GPU adapter, not even a software one");
    }
    for (i, adapter) in found.iter().enumerate() {
        println!("{adapter:?}");
        test(&adapter.name, i == 0);
    }
}

#[test]
fn every_model_agrees_with_the_reference() {
    let golden = golden();
    everywhere(|adapter, first| {
        let few = |name: &str| ["tiny-f32", "every-type.gguf", "q8_0.gguf"].contains(&name);
        for model in golden.models.iter().filter(|m| first || few(&m.path)) {
            let reranker = load_with(&model.path, options(adapter));
            assert_eq!(reranker.info().device, "gpu");
            let quantized = reranker.info().quantization.starts_with('Q');
            let [most, mean] = if quantized { QUANTIZED } else { [EXACT; 2] };
            let (mut sum, mut count) = (0.0, 0);
            for (request, expected) in golden.requests.iter().zip(&model.scores) {
                if request.error.is_some() {
                    continue;
                }
                let scores = score(&reranker, &request.request());
                for (i, (got, want)) in differences(&scores).iter().zip(expected).enumerate() {
                    let error = (got - want.logit).abs();
                    let place = format!("{} {} document {i} on {adapter}", model.path, request.name);
                    assert!(error < most, "{place}: got {got}, want {}", want.logit);
                    sum += error;
                    count += 1;
                }
            }
            assert!(sum / (count as f32) < mean, "{}: mean error {}", model.path, sum / count as f32);
            println!("{} {}: mean error {}", model.path, reranker.gpu().unwrap().kernels(), sum / count as f32);
        }
    });
}

#[test]
fn a_batch_equals_its_singles_and_any_order() {
    let golden = golden();
    let request = golden.requests.iter().max_by_key(|r| r.documents.len()).unwrap().request();
    everywhere(|adapter, _| {
        let reranker = load_with("odd-bf16", options(adapter));
        let together = differences(&score(&reranker, &request));
        for (document, together) in request.documents.iter().zip(&together) {
            let single = score(&reranker, &Request { documents: vec![document], ..request.clone() });
            assert!((differences(&single)[0] - together).abs() < 1e-4, "{document:?} on {adapter}");
        }
        let mut reversed = request.clone();
        reversed.documents.reverse();
        let backward = differences(&score(&reranker, &reversed));
        for (a, b) in together.iter().zip(backward.iter().rev()) {
            assert!((a - b).abs() < 1e-4, "{a} and {b} on {adapter}");
        }
    });
}

#[test]
fn many_and_long_documents_agree_with_the_cpu() {
    let texts: Vec<String> =
        (0..40).map(|i| format!("{i} {}", "the old fox runs over the snow ".repeat(1 + i % 25))).collect();
    let long = "a river stands by the snow and the old fox runs over it ".repeat(300);
    let documents: Vec<&str> = texts.iter().map(String::as_str).chain([&*long]).collect();
    let request = Request { query: "which river", documents, max_length: Some(4000), ..Request::default() };
    let want = score(&load("tiny-f32"), &request);
    assert!(want.prompt_tokens() > 8_000, "{} tokens are several batches", want.prompt_tokens());
    everywhere(|adapter, _| {
        let reranker = load_with("tiny-f32", options(adapter));
        // The second time the buffers are there already, and submissions are larger.
        for _ in 0..2 {
            let got = score(&reranker, &request);
            for (i, (got, want)) in differences(&got).iter().zip(differences(&want)).enumerate() {
                assert!((got - want).abs() < EXACT, "document {i} on {adapter}: {got}, want {want}");
            }
        }
    });
}

#[test]
fn a_prefix_kept_for_the_next_request_changes_nothing() {
    everywhere(|adapter, _| {
        let reranker = load_with("tiny-f32", options(adapter));
        let request = Request { query: "fox", documents: vec!["the old fox", "snow"], ..Request::default() };
        let asks = Request { keep_prefix: true, ..request.clone() };
        let fresh = differences(&score(&reranker, &request));
        let shared = reranker.tokenize(&request).unwrap().shared_prefix;
        for reused in [shared, 2 * shared] {
            let kept = score(&reranker, &asks);
            assert_eq!(kept.prefix_reused, reused);
            for (a, b) in differences(&kept).iter().zip(&fresh) {
                assert!((a - b).abs() < 1e-4, "{a} and {b} on {adapter}");
            }
        }
    });
}

#[test]
fn requests_scored_together_equal_themselves_alone() {
    everywhere(|adapter, _| {
        let mut reranker = load_with("tiny-f32", options(adapter));
        reranker.keep_prefixes(1 << 20);
        let request =
            |query| Request { query, documents: vec!["the old fox", "snow", "a red fox runs"], ..Request::default() };
        let requests = ["fox", "what falls in winter?", "red", "fox"].map(request);
        let prompts = requests.each_ref().map(|r| block_on(reranker.spell(r, &Free)).unwrap());
        // Twice: the second time, all prefixes are known.
        for documents in [0..2, 1..3] {
            let parts = prompts.each_ref().map(|prompts| Part { prompts, documents: documents.clone() });
            let together = block_on(reranker.score_together(&parts, &Free)).unwrap();
            for (request, logits) in requests.iter().zip(together) {
                let alone = differences(&score(&reranker, request));
                for (a, b) in logits.iter().zip(&alone[documents.clone()]) {
                    assert!((a.difference - b).abs() < 1e-4, "{} and {b} on {adapter}", a.difference);
                }
            }
        }
    });
}

/// Cancelled once it was asked so often.
struct After(AtomicUsize);

impl Pace for After {
    fn cancelled(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
    }
}

#[test]
fn a_cancelled_request_stops_and_the_next_one_works() {
    everywhere(|adapter, _| {
        let reranker = load_with("tiny-f32", options(adapter));
        let texts: Vec<String> =
            (0..24).map(|i| format!("{i} {}", "the old fox runs over the snow ".repeat(10))).collect();
        let documents = texts.iter().map(String::as_str).collect();
        let request = Request { query: "fox", documents, ..Request::default() };
        // Once for every document, once before the batch, then between submissions.
        let after = After(AtomicUsize::new(texts.len() + 1));
        let result = block_on(reranker.score(&request, &after, &mut |_, _, _, _| panic!("no score was wanted")));
        assert_eq!(result.unwrap_err().code(), "aborted");
        assert_eq!(score(&reranker, &request).scored.len(), texts.len());
    });
}

#[test]
fn requests_at_the_same_time_do_not_mix() {
    let texts: Vec<String> =
        (0..6).map(|i| format!("{i} {}", "the old fox runs over the snow ".repeat(1 + i))).collect();
    everywhere(|adapter, _| {
        let reranker = load_with("tiny-f32", options(adapter));
        let of = |i: usize| Request { query: "fox", documents: vec![&texts[i]; 1 + i], ..Request::default() };
        let alone: Vec<Vec<f32>> = (0..texts.len()).map(|i| differences(&score(&reranker, &of(i)))).collect();
        std::thread::scope(|scope| {
            for (i, alone) in alone.iter().enumerate() {
                let (reranker, request) = (&reranker, of(i));
                scope.spawn(move || {
                    for _ in 0..3 {
                        for (got, want) in differences(&score(reranker, &request)).iter().zip(alone) {
                            assert!((got - want).abs() < 1e-4, "request {i} on {adapter}: {got}, want {want}");
                        }
                    }
                });
            }
        });
    });
}

#[test]
fn what_is_too_much_for_the_gpu_is_an_error_and_the_next_request_works() {
    everywhere(|adapter, _| {
        let reranker = load_with("tiny-f32", options(adapter));
        let small = Request { query: "fox", documents: vec!["the old fox"], ..Request::default() };
        let before = differences(&score(&reranker, &small));
        let e = block_on(reranker.gpu().unwrap().reserve(1 << 24)).unwrap_err();
        assert_eq!(e.code(), "oom", "{e}");
        assert_eq!(differences(&score(&reranker, &small)), before);
    });
}

#[test]
fn a_lost_device_is_told() {
    everywhere(|adapter, _| {
        let reranker = load_with("tiny-f32", options(adapter));
        let lost = reranker.gpu().unwrap().lost();
        reranker.unload();
        block_on(lost);
        let request = Request { query: "fox", documents: vec!["the old fox"], ..Request::default() };
        let result = block_on(reranker.score(&request, &Free, &mut |_, _, _, _| {}));
        assert_eq!(result.unwrap_err().code(), "device-lost");
    });
}

#[test]
fn an_adapter_that_is_not_there_is_refused() {
    let result = block_on(Reranker::load(common::files("tiny-f32"), options("no such adapter"), |_, _| Ok(())));
    let e = result.err().unwrap();
    assert_eq!(e.code(), "webgpu-unavailable");
    assert!(e.to_string().contains("no such adapter"), "{e}");
}
