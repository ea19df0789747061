//! Where plans run. The CPU executor is here; every backend answers the same question: which logits have the sequences of
//! this batch?

pub mod cpu;
mod pace;
#[allow(unsafe_code)] // Its address: see the reasons at every block.
pub mod simd;

use crate::{
    error::Result,
    model::Logits,
    plan::Batch,
    weights::{BoxFuture, MaybeSend},
};

pub use cpu::Cpu;
pub use pace::{Cancel, Free, Pace};

/// The keys and values of a shared prefix, kept between the batches of a request. Filled by a batch whose prefix is
/// [`Prefix::Keep`](crate::plan::Prefix::Keep).
#[derive(Default)]
pub struct KeptPrefix {
    /// For every layer `[shared, kv_heads * D]` keys and values.
    pub(crate) layers: Vec<[Vec<f32>; 2]>,
}

/// Runs batches.
pub trait Backend: MaybeSend {
    /// What the backend computes on, as users know it: `cpu`, `wasm`.
    fn device(&self) -> &str;

    /// The largest number of rows a batch should have.
    fn batch_rows(&self) -> usize;

    /// The logits of every sequence, in the batch's order.
    fn logits<'a>(
        &'a self,
        batch: &'a Batch,
        kept: &'a mut KeptPrefix,
        pace: &'a dyn Pace,
    ) -> BoxFuture<'a, Result<Vec<Logits>>>;
}
