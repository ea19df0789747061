//! Weights that stay in their files: a layer is read when the plan comes to it and dropped after it.

use std::sync::Arc;

use super::network::{Network, Pack};
use crate::{
    backend::simd::Weight,
    error::Result,
    model::{Config, Head, Role},
    weights::{BoxFuture, Layer, Lookup, ModelFile},
};

/// A model file, and the little of it that is kept.
pub(super) struct Streamed {
    file: ModelFile,
    lookup: Lookup,
    output_norm: Vec<f32>,
    head: Head,
}

impl Streamed {
    /// Reads what is kept; `answers` are the ids of "no" and "yes".
    ///
    /// # Errors
    /// `bad-model` or `download` as met.
    pub(super) async fn open(file: ModelFile, answers: (u32, u32)) -> Result<Self> {
        let head = file.head(answers.0, answers.1).await?;
        let output_norm = file.vector(Role::OutputNorm).await?;
        Ok(Self { file, lookup: Lookup::default(), output_norm, head })
    }
}

impl Network for Streamed {
    fn config(&self) -> &Config {
        &self.file.config
    }

    fn embed<'a>(&'a self, tokens: &'a [u32], out: &'a mut [f32]) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.lookup.embed(&self.file, tokens, out))
    }

    fn layer<'a>(&'a self, i: usize, pack: &'a Pack<'a>) -> BoxFuture<'a, Result<Arc<Layer<Weight>>>> {
        Box::pin(async move { Ok(Arc::new(self.file.layer(i, pack).await?)) })
    }

    fn output_norm(&self) -> &[f32] {
        &self.output_norm
    }

    fn head(&self) -> &Head {
        &self.head
    }
}
