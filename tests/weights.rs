//! One test for each way a file can be bad: refused with what, where and what to do, never a panic.

mod common;

use common::{files, golden_path};
use edge_reranker::{
    Error,
    backend::Free,
    kernels::noise,
    rerank::{LoadOptions, Request, Reranker},
    text::Tokenizer,
    weights::{Loading, MemorySource, ModelFile, SourceFile},
};
use futures::executor::block_on;

const GGUF: &str = "tiny-swapped.gguf";

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(golden_path(name)).unwrap()
}

fn load(files: Vec<SourceFile>) -> Result<Reranker, Error> {
    block_on(Reranker::load(files, LoadOptions::default(), |_, _| Ok(())))
}

fn load_gguf(bytes: Vec<u8>) -> Result<Reranker, Error> {
    load(vec![SourceFile::new("model.gguf", MemorySource(bytes.into()))])
}

/// Changes a good GGUF file and expects it to be refused with these words.
fn refused(change: impl FnOnce(&mut Vec<u8>), words: &str) {
    let mut bytes = bytes(GGUF);
    change(&mut bytes);
    let error = load_gguf(bytes).err().unwrap_or_else(|| panic!("accepted, expected a refusal with {words:?}"));
    assert_eq!(error.code(), "bad-model", "{error}");
    let text = error.to_string();
    assert!(text.contains(words), "{text:?} does not say {words:?}");
    assert!(
        text.starts_with("model.gguf") || text.starts_with("tensor") || text.starts_with("the token"),
        "{text:?} names no place"
    );
}

/// The place right behind `text`, with its length in front as GGUF writes texts.
fn after(bytes: &[u8], text: &str) -> usize {
    let needle = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let at =
        bytes.windows(needle.len()).position(|w| w == needle).unwrap_or_else(|| panic!("{text} is not in the file"));
    at + needle.len()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Sets a metadata number (behind its key and type).
fn set_number(bytes: &mut [u8], key: &str, value: u32) {
    let at = after(bytes, key) + 4;
    put(bytes, at, &value.to_le_bytes());
}

fn rename(bytes: &mut [u8], from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let at = after(bytes, from) - from.len();
    put(bytes, at, to.as_bytes());
}

const TENSOR: &str = "blk.0.attn_q.weight";

#[test]
fn the_unchanged_file_is_accepted() {
    assert!(load_gguf(bytes(GGUF)).is_ok());
}

#[test]
fn not_a_model_at_all() {
    refused(|b| b.clear(), "an empty file");
    refused(|b| *b = b"<!DOCTYPE html><html>".to_vec(), "HTML");
    refused(|b| *b = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n".to_vec(), "git lfs pull");
    refused(|b| *b = b"PK\x03\x04rest".to_vec(), "zip");
    refused(|b| put(b, 0, b"GGML"), "GGML");
}

#[test]
fn unknown_versions() {
    refused(|b| put(b, 4, &1u32.to_le_bytes()), "version 1");
    refused(|b| put(b, 4, &99u32.to_le_bytes()), "version 99");
    refused(|b| put(b, 4, &3u32.to_be_bytes()), "big-endian");
}

#[test]
fn counts_and_lengths_beyond_the_file() {
    refused(|b| put(b, 8, &u64::MAX.to_le_bytes()), "tensors");
    refused(|b| put(b, 16, &u64::MAX.to_le_bytes()), "metadata pairs");
    refused(|b| put(b, 24, &u64::MAX.to_le_bytes()), "metadata key");
    refused(
        |b| {
            let at = after(b, "tokenizer.ggml.tokens") + 8;
            put(b, at, &(1u64 << 60).to_le_bytes());
        },
        "tokenizer.ggml.tokens",
    );
}

#[test]
fn truncation_at_every_kind_of_place() {
    let len = bytes(GGUF).len();
    for keep in [5, 20, 40, 1000, len / 2, len - 1] {
        let error = load_gguf(bytes(GGUF)[..keep].to_vec()).err().unwrap();
        assert_eq!(error.code(), "bad-model", "{keep}: {error}");
    }
    refused(|b| b.truncate(b.len() - 100), "truncated");
}

#[test]
fn tensor_entries() {
    let entry = |b: &[u8]| after(b, TENSOR);
    refused(
        |b| {
            let at = entry(b);
            put(b, at, &9u32.to_le_bytes())
        },
        "9 dimensions",
    );
    refused(
        |b| {
            let at = entry(b) + 4;
            put(b, at, &0u64.to_le_bytes())
        },
        "dimension of 0",
    );
    refused(
        |b| {
            let at = entry(b) + 4;
            put(b, at, &u64::MAX.to_le_bytes())
        },
        TENSOR,
    );
    refused(
        |b| {
            let at = entry(b) + 4;
            put(b, at, &48u64.to_le_bytes())
        },
        TENSOR,
    );
    refused(
        |b| {
            let at = entry(b) + 20;
            put(b, at, &99u32.to_le_bytes())
        },
        "type 99",
    );
    // IQ4_XS: a real type that is not read.
    refused(
        |b| {
            let at = entry(b) + 20;
            put(b, at, &23u32.to_le_bytes())
        },
        "not supported",
    );
    refused(
        |b| {
            let at = entry(b) + 24;
            put(b, at, &u64::MAX.to_le_bytes())
        },
        TENSOR,
    );
    refused(
        |b| {
            let at = entry(b) + 24;
            put(b, at, &(1u64 << 40).to_le_bytes())
        },
        "truncated",
    );
    refused(
        |b| {
            let at = entry(b) + 24;
            put(b, at, &33u64.to_le_bytes())
        },
        "multiple of",
    );
}

#[test]
fn missing_double_and_foreign_tensors() {
    refused(|b| rename(b, "output_norm.weight", "output_nxrm.weight"), "output_norm.weight is missing");
    refused(|b| rename(b, "token_embd.weight", "token_embx.weight"), "token_embd.weight is missing");
    refused(|b| rename(b, "blk.1.attn_q.weight", "blk.0.attn_q.weight"), "twice");
    refused(|b| rename(b, "cls.output.weight", "blk.0.attn_q.bias"), "bias");
}

#[test]
fn metadata_that_makes_no_model() {
    refused(
        |b| {
            let at = after(b, "general.architecture") + 12;
            put(b, at, b"llama")
        },
        "\"llama\"",
    );
    refused(|b| set_number(b, "qwen3.attention.head_count", 0), "num_attention_heads is 0");
    refused(|b| set_number(b, "qwen3.attention.head_count_kv", 3), "evenly");
    refused(|b| set_number(b, "qwen3.block_count", u32::MAX), "num_hidden_layers");
    refused(|b| set_number(b, "qwen3.block_count", 7), "is missing");
    refused(|b| set_number(b, "qwen3.embedding_length", 96), "expected");
    refused(|b| rename(b, "qwen3.feed_forward_length", "qwen3.feed_forward_lengtx"), "feed_forward_length is missing");
    refused(|b| rename(b, "qwen3.block_count", "qwen3.block_counx"), "block_count is missing");
}

#[test]
fn an_alignment_of_nothing() {
    let pair = |value: u32| {
        [&17u64.to_le_bytes()[..], b"general.alignment", &4u32.to_le_bytes(), &value.to_le_bytes()].concat()
    };
    for value in [0, 3, 48, u32::MAX] {
        refused(
            |b| {
                let count = u64::from_le_bytes(b[16..24].try_into().unwrap()) + 1;
                put(b, 16, &count.to_le_bytes());
                b.splice(24..24, pair(value));
            },
            "general.alignment",
        );
    }
}

#[test]
fn tokenisers_inside_the_file() {
    refused(
        |b| {
            let at = after(b, "tokenizer.ggml.model") + 12;
            put(b, at, b"bert")
        },
        "bert",
    );
    refused(
        |b| {
            let at = after(b, "tokenizer.ggml.pre") + 12;
            put(b, at, b"llama")
        },
        "tokenizer.ggml.pre",
    );
    refused(|b| rename(b, "tokenizer.ggml.merges", "tokenizer.ggml.mergex"), "tokenizer.ggml.merges");
    refused(|b| rename(b, "tokenizer.ggml.token_type", "tokenizer.ggml.token_typx"), "token_type");
    refused(|b| set(b, "tokenizer.ggml.normalizer.strip_accents"), "strip_accents");
    refused(
        |b| {
            set(b, "tokenizer.ggml.normalizer.lowercase");
            let at = after(b, "tokenizer.ggml.normalizer.lowercase");
            put(b, at, &0_u32.to_le_bytes()); // a byte, not a truth value
        },
        "expected true or false",
    );
}

/// Adds a key whose value is true to a GGUF's metadata, and another one that keeps the tensors aligned.
fn set(b: &mut Vec<u8>, key: &str) {
    let entry =
        |key: &str| [&(key.len() as u64).to_le_bytes()[..], key.as_bytes(), &7_u32.to_le_bytes(), &[1]].concat();
    let first = entry(key);
    let rest = entry(&"x".repeat((first.len() + entry("").len()).next_multiple_of(32) - first.len() - entry("").len()));
    let pairs = u64::from_le_bytes(b[16..24].try_into().unwrap());
    put(b, 16, &(pairs + 2).to_le_bytes());
    b.splice(24..24, [first, rest].concat());
}

#[test]
fn weights_that_are_no_numbers_never_become_a_score() {
    let mut bytes = bytes(GGUF);
    let nan = f32::NAN.to_le_bytes();
    // The last tensors' data are at the end of the file; NaN everywhere there reaches every logit.
    let len = bytes.len();
    for at in (len - 4096..len - 4).step_by(4) {
        put(&mut bytes, at, &nan);
    }
    let reranker = load_gguf(bytes).unwrap();
    let request = Request { query: "q", documents: vec!["d"], ..Request::default() };
    let error = block_on(reranker.score(&request, &Free, &mut |_, _, _, _| {})).unwrap_err();
    assert_eq!(error.code(), "bad-model");
}

#[test]
fn damaged_bytes_never_panic() {
    let good = bytes(GGUF);
    let random = noise(42, 6000);
    let mut accepted = 0;
    for change in random.chunks_exact(3) {
        let mut bad = good.clone();
        // Mostly within the header, whose texts and numbers steer everything.
        let at = ((change[0] + 1.0) / 2.0 * 20_000.0) as usize % bad.len();
        bad[at] = ((change[1] + 1.0) * 127.9) as u8;
        bad[(at + 1) % good.len()] ^= if change[2] > 0.0 { 0xff } else { 0 };
        // What is accepted must score, or refuse to, without a panic as well.
        if let Ok(reranker) = load_gguf(bad) {
            accepted += 1;
            let request =
                Request { query: "q", documents: vec!["a document"], max_length: Some(200), ..Request::default() };
            let _ = block_on(reranker.score(&request, &Free, &mut |_, _, _, _| {}));
        }
    }
    assert!(
        (1..1999).contains(&accepted),
        "damage in texts and weights is accepted, in sizes and names refused: {accepted}"
    );
}

#[test]
fn damaged_tokenisers_never_panic() {
    let good = bytes("tokenizer/tokenizer.json");
    for change in noise(43, 1500).chunks_exact(2) {
        let mut bad = good.clone();
        let at = ((change[0] + 1.0) / 2.0 * bad.len() as f32) as usize % good.len();
        bad[at] = ((change[1] + 1.0) * 63.9) as u8;
        if let Ok(tokenizer) = Tokenizer::from_json(&bad) {
            let _ = tokenizer.encode_plain("some text, 12 words\n", usize::MAX);
        }
    }
}

#[test]
fn a_huge_list_that_nobody_needs_is_walked_over() {
    // A million bytes and a nested list under keys of no interest.
    let mut list = [&9u64.to_le_bytes()[..], b"some.list", &9u32.to_le_bytes(), &0u32.to_le_bytes()].concat();
    list.extend(1_000_000u64.to_le_bytes());
    list.extend(vec![7u8; 1_000_000]);
    list.extend(
        [&6u64.to_le_bytes()[..], b"nested", &9u32.to_le_bytes(), &9u32.to_le_bytes(), &1u64.to_le_bytes()].concat(),
    );
    list.extend([&4u32.to_le_bytes()[..], &1u64.to_le_bytes(), &5u32.to_le_bytes()].concat());
    // A text that keeps the data aligned.
    let len = 64 - (list.len() + 23) % 32;
    list.extend(
        [&3u64.to_le_bytes()[..], b"pad", &8u32.to_le_bytes(), &(len as u64).to_le_bytes(), &vec![b'x'; len]].concat(),
    );
    let mut gguf = bytes(GGUF);
    let count = u64::from_le_bytes(gguf[16..24].try_into().unwrap()) + 3;
    put(&mut gguf, 16, &count.to_le_bytes());
    gguf.splice(24..24, list);
    load_gguf(gguf).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn settings_that_would_be_computed_wrongly() {
    let with = |key: &str, value: u32| {
        let mut pair =
            [&(key.len() as u64).to_le_bytes()[..], key.as_bytes(), &4u32.to_le_bytes(), &value.to_le_bytes()].concat();
        let len = 64 - (pair.len() + 23) % 32;
        pair.extend(
            [&3u64.to_le_bytes()[..], b"pad", &8u32.to_le_bytes(), &(len as u64).to_le_bytes(), &vec![b'x'; len]]
                .concat(),
        );
        move |b: &mut Vec<u8>| {
            let count = u64::from_le_bytes(b[16..24].try_into().unwrap()) + 2;
            put(b, 16, &count.to_le_bytes());
            b.splice(24..24, pair);
        }
    };
    refused(with("qwen3.rope.dimension_count", 2), "rotary positions over 2");
    refused(with("split.count", 3), "one of 3 parts");
}

#[test]
fn tokenisers_of_another_kind() {
    let with = |from: &str, to: &str| {
        let json = String::from_utf8(bytes("tokenizer/tokenizer.json")).unwrap();
        let compact: serde_json::Value = serde_json::from_str(&json).unwrap();
        let json = compact.to_string();
        assert!(json.contains(from), "{from} is in the file");
        let error =
            Tokenizer::from_json(json.replace(from, to).as_bytes()).err().unwrap_or_else(|| panic!("{to} accepted"));
        assert_eq!(error.code(), "bad-model");
        error.to_string()
    };
    assert!(with("\"dropout\":null", "\"dropout\":0.5").contains("random"));
    assert!(with("\"type\":\"NFC\"", "\"type\":\"NFD\"").contains("NFC"));
    let steps =
        |steps: &str| with("{\"type\":\"NFC\"}", &format!("{{\"type\":\"Sequence\",\"normalizers\":[{steps}]}}"));
    let (nfc, lower) = ("{\"type\":\"NFC\"}", "{\"type\":\"Lowercase\"}");
    for other in ["".into(), lower.to_owned(), format!("{lower},{nfc}"), format!("{nfc},{lower},{lower}")] {
        assert!(steps(&other).contains("normalizer"), "{other}");
    }
    assert!(with("\"type\":\"BPE\"", "\"type\":\"Unigram\"").contains("BPE"));
    assert!(with("\"use_regex\":false", "\"use_regex\":true").contains("pre_tokenizer"));
    assert!(with("\"lstrip\":false", "\"lstrip\":true").contains("unusual"));
    assert!(with("\"continuing_subword_prefix\":null", "\"continuing_subword_prefix\":\"##\"").contains("prefix"));
}

fn folder(change: impl FnOnce(&mut Vec<(String, Vec<u8>)>)) -> Error {
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(golden_path("odd-bf16"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .map(|p| (p.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&p).unwrap()))
        .collect();
    files.sort();
    change(&mut files);
    load(files.into_iter().map(|(name, bytes)| SourceFile::new(name, MemorySource(bytes.into()))).collect())
        .err()
        .expect("refused")
}

#[test]
fn folders_with_something_missing() {
    let without = |name: &'static str| folder(|f| f.retain(|(n, _)| n != name)).to_string();
    assert!(without("tokenizer.json").contains("tokenizer.json is missing"));
    assert!(without("model-00002-of-00002.safetensors").contains("model-00002-of-00002.safetensors is missing"));
    assert!(folder(|f| f.retain(|(n, _)| !n.contains("safetensors"))).to_string().contains("no .safetensors"));
    assert!(folder(|f| f.retain(|(n, _)| n != "config.json")).to_string().contains("config.json"));
    assert!(folder(Vec::clear).to_string().contains("no model file"));
}

#[test]
fn folders_with_something_broken() {
    let with = |name: &'static str, change: fn(&mut Vec<u8>)| {
        folder(|f| change(&mut f.iter_mut().find(|(n, _)| n == name).unwrap().1))
    };
    const SHARD: &str = "model-00001-of-00002.safetensors";
    for (name, change, words) in [
        ("config.json", (|b| b.truncate(20)) as fn(&mut Vec<u8>), "config.json"),
        (
            "config.json",
            |b| *b = String::from_utf8(b.clone()).unwrap().replace("\"qwen3\"", "\"llama\"").into(),
            "llama",
        ),
        (
            "config.json",
            |b| *b = String::from_utf8(b.clone()).unwrap().replace("\"hidden_size\": 96", "\"hidden_size\": 64").into(),
            "shape",
        ),
        ("tokenizer.json", |b| b.truncate(100), "tokenizer.json"),
        (SHARD, |b| b.truncate(4), "too few"),
        (SHARD, |b| b.truncate(100), "outside the file"),
        (SHARD, |b| b.truncate(b.len() - 1), "truncated"),
        (SHARD, |b| put(b, 0, &u64::MAX.to_le_bytes()), "header"),
        (SHARD, |b| b[9] = b'!', "header"),
        (
            SHARD,
            |b| {
                let at = b.windows(6).position(|w| w == b"\"BF16\"").unwrap();
                put(b, at, b"\"I16\" ")
            },
            "I16",
        ),
    ] {
        let error = with(name, change);
        assert_eq!(error.code(), "bad-model", "{error}");
        assert!(error.to_string().contains(words), "{name}: {error} does not say {words:?}");
    }
}

#[test]
fn a_tokeniser_of_another_model() {
    let error = folder(|f| {
        let tokenizer = &mut f.iter_mut().find(|(n, _)| n == "tokenizer.json").unwrap().1;
        let mut json: serde_json::Value = serde_json::from_slice(tokenizer).unwrap();
        let added = serde_json::json!({"id": 9999, "content": "<|far|>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false});
        for i in 0..600 {
            let mut token = added.clone();
            token["content"] = format!("<|far{i}|>").into();
            token["id"] = (512 + i).into();
            json["added_tokens"].as_array_mut().unwrap().push(token);
        }
        *tokenizer = serde_json::to_vec(&json).unwrap();
    });
    assert!(error.to_string().contains("another model"), "{error}");
}

#[test]
fn swapped_classifier_rows_are_set_right() {
    // The golden scores of the file were made with the right order; here only that the order came from the rows themselves.
    let file = block_on(ModelFile::open(files(GGUF))).unwrap();
    let (no, yes) = file.tokenizer().unwrap().answers();
    let head = block_on(file.head(no, yes)).unwrap();
    let edge_reranker::model::Head::Two { no: no_row, .. } = head else { panic!("two rows") };
    let hidden = file.config.hidden;
    let mut loading = Loading::new(&file, (no, yes), |_, _| Ok(()));
    let mut embedding = vec![0.0; hidden];
    block_on(loading.embedding()).unwrap().embed(&[no], &mut embedding).unwrap();
    let dot: f32 = no_row.iter().zip(&embedding).map(|(a, b)| a * b).sum();
    let norms = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
    assert!(dot / (norms(&no_row) * norms(&embedding)) > 0.9);
}
