//! `--device cuda` from end to end where there is no card: a driver that keeps its memory on the host and emulates the kernels (tests/cuda/driver.cpp).
//! It needs a binary whose CUDA libraries are opened at run time, as src/backend/candle/toolkit/make.sh has it.
#![cfg(all(feature = "cuda", feature = "cli", target_os = "linux"))]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use edge_reranker::kernels::noise;
use half::bf16;
use safetensors::{Dtype, tensor::TensorView};

/// Largest differences of logits between a card and the processor, by the type that both compute in.
const BOUND_F32: f32 = 1e-3;
const BOUND_BF16: f32 = 0.3;

/// The folder of the driver's libraries; none where there is no C++ compiler.
fn driver() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("driver-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda/driver.cpp");
        let library = folder.join("libcuda.so.1");
        let compiler = std::env::var_os("CXX").unwrap_or_else(|| "g++".into());
        let mut command = Command::new(compiler);
        command.args(["-O2", "-std=c++20", "-w", "-fPIC", "-shared", "-o"]).arg(&library).arg(source);
        match command.output() {
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
            Err(e) => {
                eprintln!("skipped: no C++ compiler ({e})");
                return None;
            }
        }
        for name in ["libcublas.so.13", "libcublasLt.so.13", "libcurand.so.10"] {
            std::os::unix::fs::symlink(&library, folder.join(name)).unwrap();
        }
        Some(folder)
    };
    BUILT.get_or_init(build).as_deref()
}

const DOCUMENTS: [&str; 4] = ["the old fox runs over the snow", "snow", "a river by the snow, a river by the fox", "x"];

fn score(model: &Path, device: &str, environment: &[(&str, &str)]) -> Output {
    let pairs: String =
        DOCUMENTS.map(|d| serde_json::json!({"query": "which river", "document": d}).to_string() + "\n").concat();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pairs-{}.jsonl", std::process::id()));
    fs::write(&file, pairs).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-reranker"));
    command.arg("score").arg(&file).arg("--model").arg(model).args(["--device", device, "--quiet"]);
    command.env_remove("LD_LIBRARY_PATH").envs(environment.iter().copied()).output().unwrap()
}

fn logits(output: &Output) -> Vec<f32> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let logit = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["logit"].as_f64().unwrap() as f32;
    lines.lines().map(logit).collect()
}

/// Scores on `device` with the driver; none where it cannot be used.
fn on_card(model: &Path, device: &str, memory: Option<&str>) -> Option<Output> {
    on_such_a_card(model, device, memory.map(|m| ("DRIVER_MEMORY", m)))
}

/// The same where a variable says what card it is.
fn on_such_a_card(model: &Path, device: &str, kind: Option<(&str, &str)>) -> Option<Output> {
    let folder = driver()?.to_str().unwrap();
    let environment: Vec<_> = [("LD_LIBRARY_PATH", folder)].into_iter().chain(kind).collect();
    let output = score(model, device, &environment);
    if String::from_utf8_lossy(&output.stderr).contains("symbol lookup error") {
        eprintln!("skipped: this binary is linked with NVIDIA's own libraries");
        return None;
    }
    Some(output)
}

/// A seeded bf16 checkpoint of two layers with heads of `head_dim`, beside the golden models' tokeniser.
fn checkpoint(head_dim: usize, heads: usize, kv_heads: usize) -> PathBuf {
    let (hidden, inner, layers) = (64, 96, 2);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/odd-bf16");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("heads-{head_dim}-{heads}"));
    fs::create_dir_all(&folder).unwrap();
    fs::copy(golden.join("tokenizer.json"), folder.join("tokenizer.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(golden.join("config.json")).unwrap()).unwrap();
    for (key, value) in [
        ("hidden_size", hidden),
        ("intermediate_size", inner),
        ("num_hidden_layers", layers),
        ("num_attention_heads", heads),
        ("num_key_value_heads", kv_heads),
        ("head_dim", head_dim),
    ] {
        config[key] = value.into();
    }
    config["tie_word_embeddings"] = true.into();
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let vocabulary = config["vocab_size"].as_u64().unwrap() as usize;
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    let mut add = |name: String, shape: Vec<usize>, middle: f32, scale: f32| {
        let values = noise(tensors.len() as u64 + 1, shape.iter().product());
        let bytes = values.iter().flat_map(|x| bf16::from_f32(middle + scale * x).to_le_bytes()).collect();
        tensors.push((format!("{name}.weight"), shape, bytes));
    };
    add("model.embed_tokens".into(), vec![vocabulary, hidden], 0.0, 0.2);
    add("model.norm".into(), vec![hidden], 2.0, 0.5);
    for i in 0..layers {
        let at = format!("model.layers.{i}.");
        for (name, width) in [("input_layernorm", hidden), ("post_attention_layernorm", hidden)] {
            add(format!("{at}{name}"), vec![width], 1.0, 0.2);
        }
        for (name, rows, columns) in [
            ("self_attn.q_proj", heads * head_dim, hidden),
            ("self_attn.k_proj", kv_heads * head_dim, hidden),
            ("self_attn.v_proj", kv_heads * head_dim, hidden),
            ("self_attn.o_proj", hidden, heads * head_dim),
            ("mlp.gate_proj", inner, hidden),
            ("mlp.up_proj", inner, hidden),
            ("mlp.down_proj", hidden, inner),
        ] {
            add(format!("{at}{name}"), vec![rows, columns], 0.0, 2.0 / (columns as f32).sqrt());
        }
        for name in ["self_attn.q_norm", "self_attn.k_norm"] {
            add(format!("{at}{name}"), vec![head_dim], 1.5, 0.5);
        }
    }
    let views: Vec<(String, TensorView)> = tensors
        .iter()
        .map(|(name, shape, bytes)| (name.clone(), TensorView::new(Dtype::BF16, shape.clone(), bytes).unwrap()))
        .collect();
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
    folder
}

fn agrees(model: &Path, device: &str, memory: Option<&str>, bound: f32) {
    let Some(got) = on_card(model, device, memory) else { return };
    let (got, want) = (logits(&got), logits(&score(model, "cpu", &[])));
    assert_eq!(got.len(), DOCUMENTS.len());
    for (got, want) in got.iter().zip(&want) {
        assert!((got - want).abs() < bound, "{} on {device}: {got}, want {want}", model.display());
    }
    assert!(want.iter().any(|x| (x - want[0]).abs() > bound), "scores that differ: {want:?}");
}

#[test]
fn heads_of_the_matrix_kernels() {
    agrees(&checkpoint(128, 4, 1), "cuda", None, BOUND_BF16);
    agrees(&checkpoint(64, 4, 2), "cuda:1", None, BOUND_BF16);
}

#[test]
fn other_heads_and_f32() {
    agrees(&common::golden_path("tiny-f32"), "cuda", None, BOUND_F32);
    agrees(&common::golden_path("odd-bf16"), "cuda", None, BOUND_BF16);
}

#[test]
fn two_cards_as_replicas_and_as_halves() {
    let model = common::golden_path("tiny-f32");
    agrees(&model, "cuda:all", None, BOUND_F32);
    // Too little for a replica on each, so the layers are shared out.
    agrees(&model, "cuda:0,1", Some("7000000"), BOUND_F32);
}

#[test]
fn a_full_card_and_a_missing_one_are_said() {
    let model = common::golden_path("tiny-f32");
    let Some(full) = on_card(&model, "cuda", Some("1500000")) else { return };
    let text = String::from_utf8_lossy(&full.stderr).into_owned();
    assert_eq!(full.status.code(), Some(1), "{text}");
    assert!(text.contains("memory"), "{text}");
    let missing = on_card(&model, "cuda:2", None).unwrap();
    let text = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert_eq!(missing.status.code(), Some(3), "{text}");
    assert!(text.contains("cards are numbered from 0 to 1"), "{text}");
}

#[test]
fn a_card_that_is_too_old_is_refused() {
    let model = common::golden_path("tiny-f32");
    let Some(old) = on_such_a_card(&model, "cuda", Some(("DRIVER_CAPABILITY", "7"))) else { return };
    let text = String::from_utf8_lossy(&old.stderr).into_owned();
    assert_eq!(old.status.code(), Some(3), "{text}");
    assert!(text.contains("compute capability 7.0"), "{text}");
}
