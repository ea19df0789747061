//! The large models on NVIDIA cards: the plan walked with candle's tensors in 16 bits, a whole batch of rows at a time.
//!
//! Products are candle's (cuBLAS for 16-bit weights, integer kernels for quantised ones); the rest are kernels of our own, in `cuda/kernels.cu`.
//! The residual stream, sums and softmax are f32. On the processor the same code runs with plain loops: that is how it is tested where there
//! is no card, and of no other use. `docs/cuda.md` says how to build, what it takes in memory and what was measured.

#[cfg(feature = "cuda")]
#[allow(unsafe_code)] // Its address: launching kernels. See the reasons at every block.
mod cuda;
mod memory;
mod network;
mod ops;
mod place;
mod replicas;
mod run;

pub use memory::{batch_bytes, weight_bytes};
pub use place::{Place, cards, free_bytes};
pub use replicas::Replicas;

use candle_core::{DType, Device, Tensor};
use network::Network;

use super::{Backend, KeptPrefix, Pace};
use crate::{
    error::{Error, ErrorKind, Result},
    model::Logits,
    plan::{Batch, Share, passes},
    weights::{self, BoxFuture, Loading},
};

/// The type that products and attention compute in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Compute {
    F32,
    F16,
    BF16,
}

impl Compute {
    /// That of the file; for quantised ones bf16 on a card, and f32 on the processor.
    fn of(file: weights::DType, place: Place) -> Self {
        match (file, place) {
            (weights::DType::F32, _) => Self::F32,
            (weights::DType::F16, _) => Self::F16,
            (weights::DType::BF16, _) => Self::BF16,
            (_, Place::Host) => Self::F32,
            (_, Place::Card(_)) => Self::BF16,
        }
    }

    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::BF16 => DType::BF16,
        }
    }
}

/// The keys and values of a prefix: for every layer `[shared, kv_heads * D]` each, on the layer's device.
pub(crate) type Kept = Vec<[Tensor; 2]>;

/// Runs plans on a card, or on several that share the layers.
pub struct Candle {
    network: Network,
    room: memory::Room,
}

impl Candle {
    /// Loads a model, its layers shared out evenly among `places` in their order. `compute` by default as the file's type has it.
    ///
    /// # Errors
    /// `webgpu-unavailable` where a card is not there, `bad-model`, `download`, `oom` or `aborted` as met.
    pub async fn load(loading: Loading<'_>, places: &[Place], compute: Option<Compute>) -> Result<Self> {
        let first = *places.first().ok_or_else(|| Error::bad_input("no device to compute on"))?;
        let compute = compute.unwrap_or_else(|| Compute::of(loading.main_dtype(), first));
        let network = Network::load(loading, places, compute).await?;
        let room = memory::room(&network.config, network.compute.size_in_bytes() as u64, places)?;
        Ok(Self { network, room })
    }

    /// Takes at most so many rows in a pass, though the device may have memory for more: it is shared with others.
    #[must_use]
    pub fn within(mut self, rows: usize) -> Self {
        self.room.should = self.room.should.min(rows);
        self.room.can = self.room.can.min(rows);
        self
    }

    /// The logits of several batches, `kept` one of each: in one pass, or in as few as the device has memory for.
    async fn run(&self, batches: &[Batch], mut kept: Vec<&mut Kept>, pace: &dyn Pace) -> Result<Vec<Vec<Logits>>> {
        let most = self.room.can;
        let mut all: Vec<Vec<Logits>> = batches.iter().map(|b| Vec::with_capacity(b.spans.len())).collect();
        for Share { of, batches } in passes(batches, most) {
            let rows: usize = batches.iter().map(|b| b.tokens.len()).sum();
            if rows > most {
                let what = format!("{rows} tokens at once; the device has memory for {most}");
                return Err(Error::new(ErrorKind::OutOfMemory, what)
                    .hint("cut documents by a smaller maximum length, or use a larger card"));
            }
            let mut in_pass: Vec<&mut Kept> = Vec::with_capacity(of.len());
            in_pass.extend(kept.iter_mut().enumerate().filter(|(i, _)| of.contains(i)).map(|(_, kept)| &mut **kept));
            for (i, logits) in of.into_iter().zip(run::run(&self.network, &batches, in_pass, pace).await?) {
                all[i].extend(logits);
            }
        }
        Ok(all)
    }

    /// What another replica kept of a prefix, on this one's devices.
    fn adopt(&self, kept: &Kept) -> Result<Kept> {
        let layer = |(layer, [keys, values]): (&network::Layer, &[Tensor; 2])| {
            let device = &self.network.devices[layer.at];
            // Through the host, as between the layers.
            let bring = |t: &Tensor| t.to_device(&Device::Cpu)?.to_device(device);
            Ok([bring(keys)?, bring(values)?])
        };
        self.network.layers.iter().zip(kept).map(layer).collect::<candle_core::Result<_>>().map_err(failed)
    }

    /// What a user should know: where a kernel of ours was found wrong on this card and is not used.
    pub fn warnings(&self) -> &[String] {
        &self.network.warnings
    }
}

impl Backend for Candle {
    fn device(&self) -> &str {
        if self.network.is_on_card() { "cuda" } else { "candle" }
    }

    fn kept_bytes(&self) -> u64 {
        self.room.kept
    }

    fn batch_rows(&self, shared: usize) -> usize {
        self.room.should.max(2 * shared).min(self.room.can)
    }

    fn most_rows(&self) -> Option<usize> {
        Some(self.room.can)
    }

    fn logits_together<'a>(
        &'a self,
        batches: &'a [Batch],
        kept: &'a mut [KeptPrefix],
        pace: &'a dyn Pace,
    ) -> BoxFuture<'a, Result<Vec<Vec<Logits>>>> {
        Box::pin(async move { self.run(batches, kept.iter_mut().map(|k| &mut k.candle).collect(), pace).await })
    }
}

/// A failure of candle's as one of ours.
fn failed(e: candle_core::Error) -> Error {
    let text = e.to_string();
    // Backtraces and the like follow in further lines.
    let text = text.lines().next().unwrap_or("unknown");
    let lower = text.to_lowercase();
    if ["out_of_memory", "out of memory", "alloc_failed"].iter().any(|part| lower.contains(part)) {
        return Error::new(ErrorKind::OutOfMemory, "the card's memory is full")
            .hint("use a smaller model, fewer bits, or a card with more memory that is free");
    }
    if of_driver(&e) {
        return Error::new(ErrorKind::DeviceLost, format!("the device failed: {text}"))
            .hint("see what nvidia-smi says of the card and its driver, then try again");
    }
    // Another device of this kind would do the same.
    Error::bad_model(format!("the device cannot compute it: {text}")).hint("compute with --device cpu or gpu")
}

/// Whether the driver or one of its libraries said so, and not candle or code of ours.
fn of_driver(e: &candle_core::Error) -> bool {
    use candle_core::Error as E;
    match e {
        E::Cuda(_) => true,
        E::WithBacktrace { inner, .. } | E::WithPath { inner, .. } | E::Context { inner, .. } => of_driver(inner),
        E::WrappedContext { wrapped, .. } => wrapped.downcast_ref().is_some_and(of_driver),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_driver_says_means_that_the_device_is_lost() {
        use candle_core::Error as E;
        let driver = || E::Cuda("CUDA_ERROR_LAUNCH_FAILED".into());
        let kind = |e: E| failed(e).kind();
        assert_eq!(kind(driver()), ErrorKind::DeviceLost);
        assert_eq!(kind(driver().context("a layer").with_path("model.gguf")), ErrorKind::DeviceLost);
        assert_eq!(kind(E::Cuda("CUDA_ERROR_OUT_OF_MEMORY".into())), ErrorKind::OutOfMemory);
        let ours = || E::Msg("no kernel for numbers of type U8".into());
        assert_eq!(kind(ours()), ErrorKind::BadModel);
        assert_eq!(kind(ours().context("a layer")), ErrorKind::BadModel);
    }
}
