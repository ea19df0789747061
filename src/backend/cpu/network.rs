//! Where the executor's weights come from; and weights that are all in memory.

use std::sync::Arc;

use crate::{
    backend::simd::Weight,
    error::Result,
    model::{Config, Head},
    weights::{BoxFuture, Embedding, Layer, Loading, Matrix, MaybeSend},
};

/// Turns a matrix of a file into what the kernels take.
#[cfg(not(target_arch = "wasm32"))]
pub(super) type Pack<'a> = dyn Fn(Matrix) -> Result<Weight> + Sync + 'a;
/// Turns a matrix of a file into what the kernels take.
#[cfg(target_arch = "wasm32")]
pub(super) type Pack<'a> = dyn Fn(Matrix) -> Result<Weight> + 'a;

/// Where an executor gets its weights from: resident, or read when needed and dropped.
pub(super) trait Network: MaybeSend {
    /// The shape.
    fn config(&self) -> &Config;
    /// `[tokens, H]` embedding rows of `tokens`, into `out`.
    fn embed<'a>(&'a self, tokens: &'a [u32], out: &'a mut [f32]) -> BoxFuture<'a, Result<()>>;
    /// The weights of layer `i`; those that are read now are packed by `pack`.
    fn layer<'a>(&'a self, i: usize, pack: &'a Pack<'a>) -> BoxFuture<'a, Result<Arc<Layer<Weight>>>>;
    /// `[H]` the last norm.
    fn output_norm(&self) -> &[f32];
    /// The judging rows.
    fn head(&self) -> &Head;
}

/// All weights in memory: quantised matrices packed for the kernels, the others and the embedding as they are in the file.
pub(super) struct Resident {
    config: Config,
    embedding: Embedding,
    layers: Vec<Arc<Layer<Weight>>>,
    output_norm: Vec<f32>,
    head: Head,
}

impl Resident {
    /// Loads every tensor that scoring needs.
    ///
    /// # Errors
    /// `bad-model`, `download`, `oom` or `aborted` as met.
    pub(super) async fn load(mut loading: Loading<'_>, pack: &Pack<'_>) -> Result<Self> {
        let config = loading.config().clone();
        let head = loading.head().await?;
        let output_norm = loading.output_norm().await?;
        let embedding = loading.embedding().await?;
        let mut layers = Vec::new();
        for i in 0..config.layers {
            layers.push(Arc::new(loading.layer(i, pack).await?));
        }
        loading.finish()?;
        Ok(Self { config, embedding, layers, output_norm, head })
    }
}

impl Network for Resident {
    fn config(&self) -> &Config {
        &self.config
    }

    fn embed<'a>(&'a self, tokens: &'a [u32], out: &'a mut [f32]) -> BoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(self.embedding.embed(tokens, out)))
    }

    fn layer<'a>(&'a self, i: usize, _: &'a Pack<'a>) -> BoxFuture<'a, Result<Arc<Layer<Weight>>>> {
        Box::pin(std::future::ready(Ok(self.layers[i].clone())))
    }

    fn output_norm(&self) -> &[f32] {
        &self.output_norm
    }

    fn head(&self) -> &Head {
        &self.head
    }
}
