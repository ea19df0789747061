//! What computes: a card, or the processor in its stead.

use candle_core::Device;

use super::failed;
use crate::error::{Error, ErrorKind, Result};

/// The compute capability that the kernels are compiled for.
#[cfg(feature = "cuda")]
const LEAST: i32 = 8;

/// Where a replica computes, or some of its layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The processor, for tests.
    Host,
    /// The NVIDIA card of this number.
    Card(usize),
}

/// How many NVIDIA cards this process can use. None in a build without the feature `cuda`.
pub fn cards() -> usize {
    #[cfg(feature = "cuda")]
    return super::cuda::cards();
    #[cfg(not(feature = "cuda"))]
    0
}

/// Bytes that are free on a card once all that is queued there is done; of the processor nobody knows.
///
/// # Errors
/// As [`Place::check`], and `device-lost` where the card does not start.
pub fn free_bytes(place: Place) -> Result<Option<u64>> {
    place.check()?;
    match place {
        #[cfg(feature = "cuda")]
        Place::Card(n) => super::cuda::free_bytes(n).map(Some).map_err(failed),
        _ => Ok(None),
    }
}

impl Place {
    /// # Errors
    /// `webgpu-unavailable` where there is no such card.
    pub fn check(self) -> Result<()> {
        let Self::Card(n) = self else { return Ok(()) };
        let count = cards();
        if n >= count {
            let what = if count == 0 { "no NVIDIA card was found".into() } else { format!("there is no card {n}") };
            let hint = if count == 0 {
                "see whether nvidia-smi lists one and CUDA_VISIBLE_DEVICES hides none; or compute with --device cpu or gpu".into()
            } else {
                format!("cards are numbered from 0 to {}", count - 1)
            };
            return Err(Error::new(ErrorKind::NoDevice, what).at(format!("device cuda:{n}")).hint(hint));
        }
        Ok(())
    }

    /// # Errors
    /// As [`Self::check`], and `device-lost` where the card does not start.
    pub(super) fn open(self) -> Result<Device> {
        self.check()?;
        let Self::Card(n) = self else { return Ok(Device::Cpu) };
        // A stream of its own: candle's usual one is another for every thread that asks.
        let device = Device::new_cuda_with_stream(n).map_err(failed)?;
        #[cfg(feature = "cuda")]
        if let Device::Cuda(device) = &device {
            let [major, minor] = super::cuda::capability(device).map_err(failed)?;
            if major < LEAST {
                let what = format!("the card has compute capability {major}.{minor}, {LEAST}.0 is the least");
                return Err(Error::new(ErrorKind::NoDevice, what)
                    .at(format!("device cuda:{n}"))
                    .hint("compute with --device gpu, which takes older cards, or cpu"));
            }
            super::cuda::prepare(device).map_err(failed)?;
        }
        Ok(device)
    }
}

/// Marks of work under way on a device, so that the host does not run ahead of it by more than a few layers: it could not stop then.
#[derive(Default)]
pub(super) struct Fences {
    #[cfg(feature = "cuda")]
    marks: std::collections::VecDeque<super::cuda::Mark>,
}

impl Fences {
    /// Layers that may be queued.
    #[cfg(feature = "cuda")]
    const AHEAD: usize = 2;

    /// Sets a mark after the work so far, and waits for that of some layers before.
    pub(super) fn pass(&mut self, device: &Device) -> candle_core::Result<()> {
        #[cfg(feature = "cuda")]
        if let Device::Cuda(device) = device {
            self.marks.push_back(super::cuda::Mark::set(device)?);
            if self.marks.len() > Self::AHEAD {
                self.marks.pop_front().map_or(Ok(()), super::cuda::Mark::wait)?;
            }
        }
        let _ = device;
        Ok(())
    }
}
