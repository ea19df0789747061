//! Whole models against the logits of Hugging Face transformers in float32, and the invariants of packing.

mod common;

use common::{GoldenModel, golden, load};
use edge_reranker::{
    backend::Free,
    rerank::{Part, Prompts, Request, Reranker, Scores},
};
use futures::executor::block_on;

fn score(reranker: &Reranker, request: &Request) -> Scores {
    block_on(reranker.score(request, &Free, &mut |_, _, _, _| {})).unwrap()
}

fn differences(scores: &Scores) -> Vec<f32> {
    scores.scored.iter().map(|s| s.logits.difference).collect()
}

/// The bound on the logits of exact files.
const BOUND: f32 = 1e-3;
/// The bounds on those of quantised files, whose products take inputs of 8 bits: on each, and on a model's mean.
const QUANTISED: [f32; 2] = [0.3, 0.05];

fn agrees(model: &GoldenModel) {
    let reranker = load(&model.path);
    let bound = if model.class == "exact" { BOUND } else { QUANTISED[0] };
    let mut errors = Vec::new();
    for (request, expected) in golden().requests.iter().zip(&model.scores) {
        if let Some(code) = &request.error {
            let error = block_on(reranker.score(&request.request(), &Free, &mut |_, _, _, _| {})).unwrap_err();
            assert_eq!(error.code(), code, "{} {}", model.path, request.name);
            continue;
        }
        let scores = score(&reranker, &request.request());
        assert_eq!(scores.scored.len(), expected.len());
        for (i, (got, want)) in scores.scored.iter().zip(expected).enumerate() {
            let place =
                format!("{} {} document {i}: got {:?}, want {}", model.path, request.name, got.logits, want.logit);
            errors.push((got.logits.difference - want.logit).abs());
            assert!(errors[errors.len() - 1] < bound, "{place}");
            let pair = got.logits.pair;
            assert_eq!(pair.is_some(), want.no.is_some(), "{place}");
            if let (Some((no, yes)), Some(want_no), Some(want_yes)) = (pair, want.no, want.yes) {
                assert!((no - want_no).abs() < bound && (yes - want_yes).abs() < bound, "{place}");
            }
        }
    }
    let mean = errors.iter().sum::<f32>() / errors.len() as f32;
    assert!(mean < bound.min(QUANTISED[1]), "{}: off by {mean} on average", model.path);
}

/// Where there is no instruction for bytes, quantised files are multiplied with inputs of 16 bits.
#[test]
fn inputs_of_sixteen_bits_are_nearly_as_good_as_floats() {
    use edge_reranker::{
        backend::{Backend, Cpu, KeptPrefix, simd::Isa},
        plan::{Before, pack},
        weights::{Loading, ModelFile},
    };

    let words = |isa: &Isa| ["avx512", "avx2", "sse2", "neon", "simd128", "portable"].contains(&isa.name());
    let golden = golden();
    let mut tried = 0;
    for isa in Isa::all().into_iter().filter(words) {
        for model in golden.models.iter().filter(|m| m.class != "exact") {
            let file = block_on(ModelFile::open(common::files(&model.path))).unwrap();
            let answers = file.tokenizer().unwrap().answers();
            let cpu = block_on(Cpu::load(Loading::new(&file, answers, |_, _| Ok(())), 1, isa)).unwrap();
            for (request, expected) in golden.requests.iter().zip(&model.scores).filter(|(r, _)| r.error.is_none()) {
                let ids: Vec<&[u32]> = request.expected.iter().map(|p| &p.ids[..]).collect();
                for batch in pack(&[], &ids, usize::MAX, 0, Before::Nothing) {
                    let logits = block_on(cpu.logits(&batch, &mut KeptPrefix::default(), &Free)).unwrap();
                    for (got, want) in logits.iter().zip(expected) {
                        let error = (got.difference - want.logit).abs();
                        assert!(
                            error < 5.0 * BOUND, // the scales of k-quants are kept within 2^-11
                            "{} {} on {}: off by {error}",
                            model.path,
                            request.name,
                            isa.name()
                        );
                        tried += 1;
                    }
                }
            }
        }
    }
    assert!(tried > 50 || Isa::all().iter().all(|isa| !words(isa)), "{tried} scores compared");
}

#[test]
fn every_model_agrees_with_the_reference() {
    let models = golden().models;
    assert!(models.len() >= 10, "the golden models are there");
    models.iter().for_each(agrees);
}

#[test]
fn requests_in_one_pass_equal_themselves_alone_to_the_last_bit() {
    for name in ["tiny-f32", "odd-bf16", "every-type.gguf"] {
        let mut reranker = load(name);
        let golden = golden();
        let requests: Vec<Request> =
            golden.requests.iter().filter(|r| r.error.is_none()).map(|r| r.request()).collect();
        let alone: Vec<Vec<f32>> = requests.iter().map(|r| differences(&score(&reranker, r))).collect();
        let prompts: Vec<Prompts> = requests.iter().map(|r| block_on(reranker.spell(r, &Free)).unwrap()).collect();
        // Of each request, the documents in so many parts; and with nothing kept of the prefixes, with little, and with all.
        for (parts_of_each, bytes) in [(1, 0), (1, 1 << 30), (2, 100_000), (3, 1 << 30)] {
            reranker.keep_prefixes(bytes);
            for _ in 0..2 {
                let mut got: Vec<Vec<f32>> = vec![Vec::new(); prompts.len()];
                for pass in 0..parts_of_each {
                    let part = |p: &'_ Prompts| {
                        let (n, at) = (p.own.len(), |i: usize| p.own.len() * i / parts_of_each);
                        at(pass)..if pass + 1 == parts_of_each { n } else { at(pass + 1) }
                    };
                    let parts: Vec<Part> = prompts.iter().map(|p| Part { prompts: p, documents: part(p) }).collect();
                    let logits = block_on(reranker.score_together(&parts, &Free)).unwrap();
                    for (got, logits) in got.iter_mut().zip(logits) {
                        got.extend(logits.iter().map(|l| l.difference));
                    }
                }
                assert_eq!(got, alone, "{name}, {parts_of_each} parts, {bytes} bytes");
            }
        }
        assert!(prompts.iter().any(|p| reranker.keeps(&p.shared)));
    }
}

#[test]
fn a_batch_equals_its_singles_to_the_last_bit() {
    for name in ["tiny-f32", "odd-bf16", "every-type.gguf"] {
        let reranker = load(name);
        for request in golden().requests.iter().filter(|r| r.error.is_none()) {
            let request = request.request();
            let together = differences(&score(&reranker, &request));
            for (document, &together) in request.documents.iter().zip(&together) {
                let single = score(&reranker, &Request { documents: vec![document], ..request.clone() });
                assert_eq!(differences(&single), [together], "{name} {document:?}");
            }
        }
    }
}

#[test]
fn sharing_the_prefix_changes_nothing() {
    use edge_reranker::{
        backend::{Backend, Cpu, KeptPrefix, simd::Isa},
        plan::{Before, pack},
        weights::{Loading, ModelFile},
    };

    let file = block_on(ModelFile::open(common::files("odd-bf16"))).unwrap();
    let loading = Loading::new(&file, file.tokenizer().unwrap().answers(), |_, _| Ok(()));
    let cpu = block_on(Cpu::load(loading, 0, Isa::best())).unwrap();
    let run = |shared: &[u32], own: &[&[u32]], budget, keep| {
        let mut kept = KeptPrefix::default();
        let batches = pack(shared, own, budget, keep, Before::Nothing);
        batches.iter().flat_map(|b| block_on(cpu.logits(b, &mut kept, &Free)).unwrap()).collect::<Vec<_>>()
    };
    for request in golden().requests.iter().filter(|r| r.error.is_none()) {
        let whole: Vec<&[u32]> = request.expected.iter().map(|p| &p.ids[..]).collect();
        let shared = request.shared_prefix.unwrap();
        let own: Vec<&[u32]> = whole.iter().map(|ids| &ids[shared..]).collect();
        let off = run(&[], &whole, usize::MAX, 0);
        assert_eq!(off, run(&whole[0][..shared], &own, usize::MAX, 0), "{}: in one batch", request.name);
        assert_eq!(off, run(&whole[0][..shared], &own, 1, usize::MAX), "{}: kept for later batches", request.name);
        assert_eq!(off, run(&whole[0][..shared], &own, 1, 0), "{}: computed again in each", request.name);
    }
}

#[test]
fn the_order_of_documents_does_not_matter() {
    let reranker = load("odd-bf16");
    let golden = golden();
    let request = golden.requests.iter().max_by_key(|r| r.documents.len()).unwrap().request();
    let forward = differences(&score(&reranker, &request));
    let mut reversed = request.clone();
    reversed.documents.reverse();
    let mut backward = differences(&score(&reranker, &reversed));
    backward.reverse();
    assert_eq!(forward, backward);
}

#[test]
fn several_batches_equal_one_and_compute_the_prefix_once() {
    let reranker = load("tiny-f32");
    let text = "a river stands by the snow and the old fox runs over it ".repeat(12);
    // Over 4,096 rows: more than one batch.
    let texts: Vec<String> = (0..40).map(|i| format!("{i} {text}")).collect();
    let request =
        Request { query: "which river", documents: texts.iter().map(String::as_str).collect(), ..Request::default() };
    let scores = score(&reranker, &request);
    assert!(scores.prompt_tokens() > 8192, "{} tokens make several batches", scores.prompt_tokens());
    let shared = reranker.tokenize(&request).unwrap().shared_prefix;
    assert_eq!(scores.prefix_reused, shared * (texts.len() - 1));
    for i in [0, 17, 39] {
        let single = score(&reranker, &Request { documents: vec![&texts[i]], ..request.clone() });
        assert_eq!(single.scored[0].logits, scores.scored[i].logits, "document {i}");
    }
}

#[test]
fn threads_and_instruction_sets_agree() {
    use edge_reranker::{
        backend::{Backend, Cpu, KeptPrefix, simd::Isa},
        plan::{Before, pack},
        weights::{Loading, ModelFile},
    };

    for (name, bound) in [("odd-bf16", BOUND), ("every-type.gguf", QUANTISED[0])] {
        let file = block_on(ModelFile::open(common::files(name))).unwrap();
        let answers = file.tokenizer().unwrap().answers();
        let golden = golden();
        let ids: Vec<&[u32]> = golden.requests.iter().flat_map(|r| &r.expected).map(|p| &p.ids[..]).collect();
        let [batch] = &pack(&[], &ids, usize::MAX, 0, Before::Nothing)[..] else { panic!("one batch") };
        let run = |threads, isa| {
            let cpu = block_on(Cpu::load(Loading::new(&file, answers, |_, _| Ok(())), threads, isa)).unwrap();
            let logits = block_on(cpu.logits(batch, &mut KeptPrefix::default(), &Free)).unwrap();
            logits.iter().map(|l| l.difference).collect::<Vec<_>>()
        };
        let best = run(1, Isa::best());
        assert_eq!(best, run(3, Isa::best()), "{name}: the number of threads must not move a rounding");
        for isa in Isa::all() {
            for (a, b) in best.iter().zip(run(2, isa)) {
                assert!((a - b).abs() < bound, "{name} on {}: {a} and {b}", isa.name());
            }
        }
    }
}

#[test]
fn a_cancelled_request_stops() {
    use edge_reranker::backend::Cancel;
    let reranker = load("tiny-f32");
    let cancel = Cancel::default();
    let stop = cancel.clone();
    let texts: Vec<String> = (0..60).map(|i| format!("{i} {}", "the old fox runs over the snow ".repeat(20))).collect();
    let request = Request { query: "fox", documents: texts.iter().map(String::as_str).collect(), ..Request::default() };
    let mut heard = 0;
    let result = block_on(reranker.score(&request, &cancel, &mut |_, _, done, _| {
        heard = done;
        stop.cancel();
    }));
    assert_eq!(result.unwrap_err().code(), "aborted");
    assert!(heard > 0 && heard < texts.len(), "scores came before the end: {heard}");
}

#[test]
fn a_prefix_kept_from_one_request_to_the_next_changes_nothing() {
    let reranker = load("odd-bf16");
    let request = Request { query: "fox", documents: vec!["the old fox", "snow"], ..Request::default() };
    let asks = Request { keep_prefix: true, ..request.clone() };
    let fresh = score(&reranker, &request);
    let shared = reranker.tokenize(&request).unwrap().shared_prefix;
    let runs = [score(&reranker, &asks), score(&reranker, &asks)];
    for (kept, reused) in runs.iter().zip([shared, 2 * shared]) {
        assert_eq!(differences(kept), differences(&fresh));
        assert_eq!(kept.prefix_reused, reused);
    }
    // A request of no documents computes no prefix that could be kept.
    let none = Request { query: "nothing", documents: Vec::new(), ..asks.clone() };
    score(&reranker, &none);
    score(&reranker, &Request { documents: vec!["snow"], ..none.clone() });
    let other = Request { query: "another", ..asks.clone() };
    assert_eq!(score(&reranker, &other).prefix_reused, reranker.tokenize(&other).unwrap().shared_prefix);
}
