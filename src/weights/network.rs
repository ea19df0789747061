//! What an executor takes: layers of weights, and all of them resident.

use std::sync::Arc;

use super::{
    Matrix, ModelFile,
    source::{BoxFuture, MaybeSend},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Config, Head, Role},
};

/// One layer's weights, quantised matrices still quantised.
#[allow(missing_docs)]
pub struct Layer {
    pub attn_norm: Vec<f32>,
    pub q: Matrix,
    pub k: Matrix,
    pub v: Matrix,
    pub q_norm: Vec<f32>,
    pub k_norm: Vec<f32>,
    pub o: Matrix,
    pub ffn_norm: Vec<f32>,
    pub gate: Matrix,
    pub up: Matrix,
    pub down: Matrix,
}

/// Where an executor gets its weights from: resident, or read when needed and dropped.
pub trait Network: MaybeSend {
    /// The shape.
    fn config(&self) -> &Config;
    /// `[tokens, H]` embedding rows of `tokens`, into `out`.
    fn embed<'a>(&'a self, tokens: &'a [u32], out: &'a mut [f32]) -> BoxFuture<'a, Result<()>>;
    /// The weights of layer `i`.
    fn layer(&self, i: usize) -> BoxFuture<'_, Result<Arc<Layer>>>;
    /// `[H]` the last norm.
    fn output_norm(&self) -> &[f32];
    /// The judging rows.
    fn head(&self) -> &Head;
}

/// All weights in memory, in the file's own types.
pub struct Resident {
    config: Config,
    embedding: Matrix,
    layers: Vec<Arc<Layer>>,
    output_norm: Vec<f32>,
    head: Head,
}

impl Resident {
    /// Loads every tensor that scoring needs; `progress(loaded, total)` in bytes after each layer.
    ///
    /// # Errors
    /// `bad-model`, `download` or `aborted` as met.
    pub async fn load(
        file: &ModelFile,
        (no, yes): (u32, u32),
        mut progress: impl FnMut(u64, u64) -> Result<()>,
    ) -> Result<Self> {
        let total = file.index.tensor_bytes();
        let head = file.head(no, yes).await?;
        let output_norm = file.vector(Role::OutputNorm).await?;
        let embedding = file.matrix(Role::Embedding).await?;
        let mut loaded = embedding.bytes() as u64;
        progress(loaded, total)?;
        let mut layers = Vec::new();
        for i in 0..file.config.layers {
            let layer = file.layer(i).await?;
            for m in [&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down] {
                loaded = loaded.saturating_add(m.bytes() as u64);
            }
            layers.push(Arc::new(layer));
            progress(loaded, total)?;
        }
        progress(total, total)?;
        Ok(Self { config: file.config.clone(), embedding, layers, output_norm, head })
    }
}

impl Network for Resident {
    fn config(&self) -> &Config {
        &self.config
    }

    fn embed<'a>(&'a self, tokens: &'a [u32], out: &'a mut [f32]) -> BoxFuture<'a, Result<()>> {
        for (&token, row) in tokens.iter().zip(out.chunks_exact_mut(self.config.hidden)) {
            let token = token as usize;
            if token >= self.config.vocabulary {
                let e = Error::new(
                    ErrorKind::BadInput,
                    format!("token id {token} of a vocabulary of {}", self.config.vocabulary),
                );
                return Box::pin(std::future::ready(Err(e)));
            }
            self.embedding.unpack_rows(token..token.saturating_add(1), row);
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn layer(&self, i: usize) -> BoxFuture<'_, Result<Arc<Layer>>> {
        Box::pin(std::future::ready(Ok(self.layers[i].clone())))
    }

    fn output_norm(&self) -> &[f32] {
        &self.output_norm
    }

    fn head(&self) -> &Head {
        &self.head
    }
}
