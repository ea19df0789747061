//! Where plans run: on the CPU or on a GPU. Every backend answers the same question: which logits have the sequences of
//! this batch?

mod blocks;
#[cfg(feature = "candle")]
pub mod candle;
pub mod cpu;
#[cfg(feature = "gpu")]
pub mod gpu;
mod pace;
#[allow(unsafe_code)] // Its address: see the reasons at every block.
pub mod simd;

use crate::{
    error::Result,
    model::Logits,
    plan::Batch,
    weights::{BoxFuture, MaybeSend},
};

#[cfg(feature = "candle")]
pub use candle::Candle;
pub use cpu::Cpu;
#[cfg(feature = "gpu")]
pub use gpu::{Gpu, GpuOptions};
pub use pace::{Cancel, Free, Pace};

/// The keys and values of a shared prefix, kept between the batches of a request, or from one request to the next. Filled by a batch whose prefix is
/// [`Prefix::Keep`](crate::plan::Prefix::Keep).
#[derive(Default)]
pub struct KeptPrefix {
    /// For every layer `[shared, kv_heads * D]` keys and values.
    pub(crate) layers: Vec<[Vec<f32>; 2]>,
    /// The same on a GPU.
    #[cfg(feature = "gpu")]
    pub(crate) gpu: Option<gpu::Kept>,
    /// The same on the devices that candle computes on.
    #[cfg(feature = "candle")]
    pub(crate) candle: candle::Kept,
    /// The same for every replica; none where a replica has not met the prefix.
    #[cfg(feature = "candle")]
    pub(crate) replicas: Vec<candle::Kept>,
}

/// Runs batches.
pub trait Backend: MaybeSend {
    /// What the backend computes on, as users know it: `cpu`, `wasm`, `gpu`, `webgpu`.
    fn device(&self) -> &str;

    /// The GPU backend, if this is it.
    #[cfg(feature = "gpu")]
    fn gpu(&self) -> Option<&Gpu> {
        None
    }

    /// The most memory that the kept keys and values of a prefix may take.
    fn kept_bytes(&self) -> u64 {
        512 << 20
    }

    /// The largest number of rows a batch should have whose sequences share a prefix of `shared` rows.
    fn batch_rows(&self, shared: usize) -> usize;

    /// The most rows that a batch can have, where there is a limit: no sequence may be longer.
    fn most_rows(&self) -> Option<usize> {
        None
    }

    /// The logits of several batches that go through the layers together, each with a prefix of its own and what is kept of it.
    fn logits_together<'a>(
        &'a self,
        batches: &'a [Batch],
        kept: &'a mut [KeptPrefix],
        pace: &'a dyn Pace,
    ) -> BoxFuture<'a, Result<Vec<Vec<Logits>>>>;

    /// The logits of every sequence of one batch, in its order.
    fn logits<'a>(
        &'a self,
        batch: &'a Batch,
        kept: &'a mut KeptPrefix,
        pace: &'a dyn Pace,
    ) -> BoxFuture<'a, Result<Vec<Logits>>> {
        let (batches, kept) = (std::slice::from_ref(batch), std::slice::from_mut(kept));
        Box::pin(async move { Ok(self.logits_together(batches, kept, pace).await?.into_iter().flatten().collect()) })
    }
}
