//! Bytes from strangers become named, checked tensors.
//!
//! `ByteSource -> Index (GGUF or safetensors) -> checked against model::names -> Layer by layer`. Nothing here trusts a number of the
//! file before it has been compared with the file's length and the model's shape.
#![forbid(unsafe_code)]
#![deny(clippy::arithmetic_side_effects)]

mod block;
mod checkpoint;
mod gguf;
mod index;
mod lookup;
mod matrix;
mod model;
mod network;
mod open;
mod quantize;
mod safetensors;
mod source;
mod writer;

pub use block::DType;
pub use index::{Index, TensorInfo};
pub use lookup::Lookup;
pub use matrix::Matrix;
pub use model::{Format, ModelFile};
pub use network::{Embedding, Layer, Loading};
pub use quantize::{QuantType, quantize};
pub use source::{BoxFuture, ByteSource, MaybeSend, MemorySource, SourceFile};
