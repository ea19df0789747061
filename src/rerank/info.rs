//! What a loaded model says of itself.

use serde::Serialize;

use crate::{
    model::Role,
    weights::{Format, ModelFile},
};

/// A model's description, for `info()`, `inspect` and the page.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct ModelInfo {
    pub name: String,
    pub architecture: &'static str,
    /// `gguf` or `safetensors`.
    pub format: &'static str,
    /// The element type of most weights: `Q8_0`.
    pub quantization: &'static str,
    pub parameters: u64,
    /// Tells this model's weights from others of its shape: 16 hexadecimal digits.
    pub fingerprint: String,
    /// Bytes of all tensors in the file.
    pub bytes: u64,
    pub layers: usize,
    pub hidden: usize,
    pub intermediate: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub vocabulary: usize,
    pub context_length: usize,
    pub tied: bool,
    /// `tied`, `output`, `cls` or `score`.
    pub head: &'static str,
    pub device: String,
    /// Why this device computes.
    pub device_reason: String,
    /// Where weights are streamed: within how much memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streaming: Option<Streaming>,
    pub warnings: Vec<String>,
}

/// How weights are streamed.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Streaming {
    /// Bytes in all.
    pub memory: u64,
    /// Tokens, of the prefix and of all documents, that one pass over the weights takes; a prompt cannot be longer.
    pub tokens_per_pass: usize,
}

impl ModelInfo {
    /// Describes `file`, on no device yet.
    pub fn new(name: String, file: &ModelFile) -> Self {
        let c = &file.config;
        let matrix = c.vocabulary as u64 * c.hidden as u64;
        let output = file.index.get(&file.name(Role::Output)).is_some() && !file.tied;
        Self {
            name,
            architecture: "qwen3",
            format: match file.format {
                Format::Gguf => "gguf",
                Format::Checkpoint => "safetensors",
            },
            quantization: file.main_dtype().name(),
            parameters: c.layer_parameters() + matrix * if output { 2 } else { 1 },
            fingerprint: String::new(),
            bytes: file.index.tensor_bytes(),
            layers: c.layers,
            hidden: c.hidden,
            intermediate: c.intermediate,
            heads: c.heads,
            kv_heads: c.kv_heads,
            head_dim: c.head_dim,
            vocabulary: c.vocabulary,
            context_length: c.context,
            tied: file.tied,
            head: file.head.name(),
            device: String::new(),
            device_reason: String::new(),
            streaming: None,
            warnings: file.warnings.clone(),
        }
    }

    /// Bytes that one kept prefix row takes over all layers: a key and a value in f32.
    pub(crate) fn kept_row_bytes(&self) -> u64 {
        8 * self.layers as u64 * self.kv_heads as u64 * self.head_dim as u64
    }
}
