//! What a Qwen3 reranker is: its shape, the names of its tensors, its prompt, its head. No I/O, no device.

mod config;
mod head;
mod names;
mod prompt;

pub use config::Config;
pub use head::{Head, HeadKind, Logits};
pub use names::{LayerRole, Role};
pub use prompt::{DEFAULT_INSTRUCTION, DEFAULT_MAX_LENGTH, Template};
