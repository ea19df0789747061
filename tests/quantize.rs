//! What `quantize` writes loads again and scores as it should.

mod common;

use common::{files, golden, tokenizer_in_lower_case};
use edge_reranker::{
    backend::Free,
    rerank::{LoadOptions, Reranker},
    text::Tokenizer,
    weights::{MemorySource, ModelFile, QuantType, SourceFile, quantize},
};
use futures::executor::block_on;

fn quantized(model: &str, kind: &str) -> Vec<u8> {
    quantized_as(model, kind.parse().unwrap())
}

fn quantized_as(model: &str, kind: QuantType) -> Vec<u8> {
    let file = block_on(ModelFile::open(files(model))).unwrap();
    let mut out = Vec::new();
    block_on(quantize(&file, model, kind, &mut out, |_, _| Ok(()))).unwrap();
    out
}

fn load(bytes: Vec<u8>) -> Reranker {
    let files = vec![SourceFile::new("model.gguf", MemorySource(bytes.into()))];
    block_on(Reranker::load(files, LoadOptions::default(), |_, _| Ok(()))).unwrap()
}

fn scores(reranker: &Reranker) -> Vec<f32> {
    let golden = golden();
    let requests = golden.requests.iter().filter(|r| r.error.is_none()).take(8);
    requests
        .flat_map(|r| block_on(reranker.score(&r.request(), &Free, &mut |_, _, _, _| {})).unwrap().scored)
        .map(|s| s.logits.difference)
        .collect()
}

/// Every value of a model's layers, one after the other.
fn values(file: &ModelFile) -> Vec<f32> {
    let mut values = Vec::new();
    for i in 0..file.config.layers {
        let mut layer = block_on(file.layer(i, Ok)).unwrap();
        for norm in [&mut layer.attn_norm, &mut layer.q_norm, &mut layer.k_norm, &mut layer.ffn_norm] {
            values.append(norm);
        }
        let matrices = [layer.q, layer.k, layer.v, layer.o, layer.gate, layer.up, layer.down];
        values.extend(matrices.iter().flat_map(|m| (0..m.rows()).flat_map(|row| m.row(row))));
    }
    values
}

/// Mean difference of the logits.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>() / a.len() as f32
}

#[test]
fn f32_carries_everything_over() {
    for model in ["tiny-f32", "odd-bf16", "tall-f16", "seqcls-one", "seqcls-two", "tiny-padded.gguf", "every-type.gguf"]
    {
        let copy = quantized(model, "f32");
        let files_of_copy = vec![SourceFile::new("model.gguf", MemorySource(copy.clone().into()))];
        let [ours, theirs] = [files(model), files_of_copy].map(|f| values(&block_on(ModelFile::open(f)).unwrap()));
        assert_eq!(ours, theirs, "{model}");

        let (before, after) = (common::load(model), load(copy));
        let distance = distance(&scores(&before), &scores(&after));
        // A backend may round what it multiplies blocks by, so that the same weights score a little differently.
        let most = if model == "every-type.gguf" { 0.05 } else { 1e-5 };
        assert!(distance < most, "{model}: {distance}");
        let golden = golden();
        let request = golden.requests[0].request();
        assert_eq!(before.tokenize(&request).unwrap().ids, after.tokenize(&request).unwrap().ids, "{model}");
    }
}

#[test]
fn a_tokeniser_in_lower_case_stays_one() {
    let replaced = files("tiny-f32").into_iter().map(|file| match file.name.as_str() {
        "tokenizer.json" => SourceFile::new("tokenizer.json", MemorySource(tokenizer_in_lower_case().into())),
        _ => file,
    });
    let file = block_on(ModelFile::open(replaced.collect())).unwrap();
    let mut out = Vec::new();
    block_on(quantize(&file, "lower", "q8_0".parse::<QuantType>().unwrap(), &mut out, |_, _| Ok(()))).unwrap();
    let copy = vec![SourceFile::new("model.gguf", MemorySource(out.into()))];
    let copy = block_on(ModelFile::open(copy)).unwrap().tokenizer().unwrap();
    let (ours, text) = (file.tokenizer().unwrap(), "Paris, PARIS and the \u{c9}cole");
    let ids = |t: &Tokenizer, text: &str| t.encode_plain(text, usize::MAX).unwrap();
    assert_eq!(ids(&copy, text), ids(&ours, text));
    assert_eq!(ids(&copy, text), ids(&copy, &text.to_lowercase()));
}

#[test]
fn every_type_loads_and_more_bits_are_closer() {
    let before = scores(&load(quantized("every-type.gguf", "f32")));
    let error = |kind: &str| {
        let reranker = load(quantized("every-type.gguf", kind));
        let error = distance(&before, &scores(&reranker));
        assert!(error < 1.0, "{kind}: mean error {error}");
        error
    };
    for kind in ["f16", "bf16", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k", "q5_k"] {
        error(kind);
    }
    let (q8, q6, q4) = (error("q8_0"), error("q6_k"), error("q4_k"));
    assert!(q8 < 0.03 && q8 < q6 && q6 < q4, "q8_0 {q8}, q6_k {q6}, q4_k {q4}");
    assert!(error("q4_0") > q8);
}

#[test]
fn names_and_sizes() {
    assert_eq!("int3".parse::<QuantType>().unwrap_err().code(), "bad-input");
    let (f32, q8) = (quantized("tiny-f32", "f32").len(), quantized("tiny-f32", "Q8_0").len());
    assert!(q8 * 2 < f32, "{q8} and {f32} bytes");
    assert_eq!(load(quantized("every-type.gguf", "q4_k")).info().quantization, "Q4_K");
}

#[test]
fn the_embedding_may_have_a_type_of_its_own() {
    let [q8, q4] = ["q8_0", "q4_0"].map(|name| name.parse::<QuantType>().unwrap());
    let bytes = quantized_as("every-type.gguf", q8.with_embedding(q4));
    let file = block_on(ModelFile::open(vec![SourceFile::new("m.gguf", MemorySource(bytes.clone().into()))])).unwrap();
    for (name, tensor) in file.index.tensors().iter().filter(|(_, t)| t.shape.len() == 2) {
        let wanted = match name.as_str() {
            "token_embd.weight" => "Q4_0",
            "cls.output.weight" => "F32",
            _ => "Q8_0",
        };
        assert_eq!(tensor.dtype.name(), wanted, "{name}");
    }
    let far = distance(&scores(&load(bytes)), &scores(&load(quantized("every-type.gguf", "f32"))));
    assert!(far < 1.0, "mean error {far}");
}
