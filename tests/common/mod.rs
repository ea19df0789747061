//! The golden models and what the reference implementation said of them.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::path::{Path, PathBuf};

use edge_reranker::{
    model::Template,
    rerank::{Device, LoadOptions, Request, Reranker},
    weights::{MemorySource, SourceFile},
};
use futures::executor::block_on;
use serde::Deserialize;

#[derive(Deserialize)]
pub struct Golden {
    pub requests: Vec<GoldenRequest>,
    pub models: Vec<GoldenModel>,
}

#[derive(Deserialize)]
pub struct GoldenRequest {
    pub name: String,
    pub instruction: Option<String>,
    pub query: String,
    pub documents: Vec<String>,
    pub template: String,
    pub max_length: usize,
    pub parse_special: bool,
    pub error: Option<String>,
    pub shared_prefix: Option<usize>,
    pub expected: Vec<GoldenPrompt>,
}

#[derive(Deserialize)]
pub struct GoldenPrompt {
    pub ids: Vec<u32>,
    pub truncated: bool,
}

#[derive(Deserialize)]
pub struct GoldenModel {
    pub path: String,
    pub class: String,
    /// One list a request, empty where the request is an error.
    pub scores: Vec<Vec<GoldenScore>>,
}

#[derive(Deserialize)]
pub struct GoldenScore {
    pub no: Option<f32>,
    pub yes: Option<f32>,
    pub logit: f32,
}

impl GoldenRequest {
    pub fn request(&self) -> Request<'_> {
        Request {
            query: &self.query,
            documents: self.documents.iter().map(String::as_str).collect(),
            instruction: self.instruction.as_deref(),
            template: self.template.parse::<Template>().unwrap(),
            max_length: Some(self.max_length),
            parse_special: self.parse_special,
            keep_prefix: false,
        }
    }
}

pub fn golden_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

pub fn golden() -> Golden {
    serde_json::from_slice(&std::fs::read(golden_path("scores.json")).unwrap()).unwrap()
}

/// The `tokenizer.json` of the golden models, changed so that it puts text in lower case.
pub fn tokenizer_in_lower_case() -> Vec<u8> {
    let json = std::fs::read(golden_path("tokenizer/tokenizer.json")).unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    json["normalizer"] =
        serde_json::json!({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]});
    json.to_string().into()
}

/// The files of a golden model: one GGUF, or a folder.
pub fn files(name: &str) -> Vec<SourceFile> {
    let path = golden_path(name);
    let paths: Vec<PathBuf> =
        if path.is_dir() { std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()).collect() } else { vec![path] };
    paths
        .iter()
        .map(|p| {
            SourceFile::new(p.file_name().unwrap().to_str().unwrap(), MemorySource(std::fs::read(p).unwrap().into()))
        })
        .collect()
}

pub fn load(name: &str) -> Reranker {
    load_with(name, LoadOptions { device: Device::Cpu, ..LoadOptions::default() })
}

pub fn load_with(name: &str, options: LoadOptions) -> Reranker {
    block_on(Reranker::load(files(name), options, |_, _| Ok(()))).unwrap_or_else(|e| panic!("{name}: {e}"))
}
