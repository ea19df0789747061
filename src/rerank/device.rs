//! Which backend a model gets, and why.

use std::str::FromStr;

use super::{Device, LoadOptions, ModelInfo, info::Streaming};
#[cfg(feature = "cuda")]
use crate::backend::candle::{Candle, Place, Replicas, batch_bytes, cards, free_bytes};
#[cfg(feature = "gpu")]
use crate::backend::{Gpu, GpuOptions};
#[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
use crate::model::Config;
use crate::{
    backend::{Backend, Cpu, simd::Isa},
    error::{Error, ErrorKind, Result},
    weights::{Loading, ModelFile},
};

/// Parameters of all layers from which on a GPU is worth its start: below, the CPU is done before the GPU's kernels are compiled.
#[cfg(any(feature = "gpu", feature = "cuda"))]
const WORTH_A_GPU: u64 = 50_000_000;

/// Which NVIDIA cards compute, of those that the process sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cards {
    /// The first.
    #[default]
    First,
    /// All of them: replicas that share out the documents of a request, or parts of a model that is too large for one.
    All,
    /// Those whose bits are set.
    Numbered(u64),
}

impl Cards {
    /// Their numbers, where there are `count`.
    pub fn numbers(self, count: usize) -> Vec<usize> {
        match self {
            Self::First => vec![0],
            Self::All => (0..count.max(1)).collect(),
            Self::Numbered(bits) => (0..64).filter(|n| bits >> n & 1 == 1).collect(),
        }
    }
}

impl FromStr for Cards {
    type Err = Error;

    /// `all`, or numbers with commas between them.
    fn from_str(text: &str) -> Result<Self> {
        if text == "all" {
            return Ok(Self::All);
        }
        let mut bits = 0;
        for number in text.split(',') {
            let n = number.parse::<u32>().ok().filter(|&n| n < 64).ok_or_else(|| {
                Error::bad_input(format!("{number:?} is not the number of a card"))
                    .hint("write cuda:1, cuda:0,2 or cuda:all")
            })?;
            bits |= 1 << n;
        }
        Ok(Self::Numbered(bits))
    }
}

/// Refuses what this build cannot compute on at all, or what this machine does not have, where that is known without loading anything.
///
/// # Errors
/// `webgpu-unavailable`.
pub fn check_device(device: Device) -> Result<()> {
    let Device::Cuda(wanted) = device else { return Ok(()) };
    #[cfg(feature = "cuda")]
    return wanted.numbers(cards()).into_iter().try_for_each(|n| Place::Card(n).check());
    #[cfg(not(feature = "cuda"))]
    {
        let _ = wanted;
        Err(Error::new(ErrorKind::NoDevice, "this build does not use CUDA").at("device cuda").hint(
            "build it with `cargo build --release --features cuda` (docs/cuda.md), or use --device gpu, which reaches NVIDIA cards too",
        ))
    }
}

/// The GPU that would compute a model of this shape, if one would.
#[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
pub async fn gpu_for(config: &Config, device: Device) -> Option<crate::backend::gpu::Adapter> {
    let wanted = device == Device::Gpu || (device == Device::Auto && config.layer_parameters() >= WORTH_A_GPU);
    let adapters = if wanted { crate::backend::gpu::adapters().await } else { Vec::new() };
    adapters.into_iter().find(|a| device == Device::Gpu || !a.software)
}

type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> Result<()>;

/// Loads the weights of `file` where `options` say; why there is noted in `info`.
pub(super) async fn load(
    file: ModelFile,
    answers: (u32, u32),
    options: &LoadOptions,
    progress: Progress<'_>,
    info: &mut ModelInfo,
) -> Result<Box<dyn Backend>> {
    if let Some(memory) = options.streaming {
        return stream(file, answers, options, memory, info).await;
    }
    let file = &file;
    let because = |info: &mut ModelInfo, why: String| info.device_reason = why;
    check_device(options.device)?;
    #[cfg(feature = "cuda")]
    if options.device == Device::Auto && file.config.layer_parameters() >= WORTH_A_GPU && cards() > 0 {
        match cuda(file, answers, Cards::First, &mut *progress, info).await {
            Ok(backend) => {
                because(info, "an NVIDIA card was found".into());
                return Ok(backend);
            }
            Err(e) if matches!(e.code(), "webgpu-unavailable" | "oom" | "device-lost") => {
                info.warnings.push(format!("the NVIDIA card is not used: {e}"));
            }
            Err(e) => return Err(e),
        }
    }
    match options.device {
        Device::Cpu => because(info, "the CPU was asked for".into()),
        Device::Gpu => {
            let backend = gpu(file, answers, options, progress, false).await?;
            because(info, "a GPU was asked for".into());
            return Ok(backend);
        }
        #[cfg(feature = "cuda")]
        Device::Cuda(wanted) => {
            let backend = cuda(file, answers, wanted, progress, info).await?;
            because(info, "an NVIDIA card was asked for".into());
            return Ok(backend);
        }
        #[cfg(not(feature = "cuda"))]
        Device::Cuda(_) => unreachable!("refused above"),
        #[cfg(feature = "gpu")]
        Device::Auto if file.config.layer_parameters() >= WORTH_A_GPU => {
            match gpu(file, answers, options, &mut *progress, true).await {
                Ok(backend) => {
                    because(info, "a GPU was found".into());
                    return Ok(backend);
                }
                Err(e) if matches!(e.code(), "webgpu-unavailable" | "oom" | "device-lost" | "unsupported") => {
                    because(info, format!("no GPU could be used ({e})"));
                }
                Err(e) => return Err(e),
            }
        }
        #[cfg(feature = "gpu")]
        Device::Auto => because(info, "the model is small: the CPU is done before a GPU has started".into()),
        #[cfg(not(feature = "gpu"))]
        Device::Auto if cfg!(feature = "cuda") => {
            because(info, "no NVIDIA card was found, or the model is too small to be worth its start".into());
        }
        #[cfg(not(feature = "gpu"))]
        Device::Auto => because(info, "this build computes on the CPU only".into()),
    }
    Ok(Box::new(Cpu::load(Loading::new(file, answers, progress), options.threads, Isa::best()).await?))
}

/// Weights that are read when they are needed, which the CPU does.
async fn stream(
    file: ModelFile,
    answers: (u32, u32),
    options: &LoadOptions,
    memory: u64,
    info: &mut ModelInfo,
) -> Result<Box<dyn Backend>> {
    if matches!(options.device, Device::Gpu | Device::Cuda(_)) {
        return Err(Error::new(ErrorKind::Unsupported, "a GPU does not stream weights")
            .hint("leave streaming out, or compute on the CPU"));
    }
    let backend = Cpu::stream(file, answers, options.threads, Isa::best(), memory).await?;
    info.device_reason = "weights are streamed, which the CPU does".into();
    info.streaming = backend.most_rows().map(|tokens_per_pass| Streaming { memory, tokens_per_pass });
    Ok(Box::new(backend))
}

#[cfg(feature = "gpu")]
async fn gpu(
    file: &ModelFile,
    answers: (u32, u32),
    options: &LoadOptions,
    progress: Progress<'_>,
    hardware_only: bool,
) -> Result<Box<dyn Backend>> {
    let gpu = GpuOptions { hardware_only, ..options.gpu.clone() };
    Ok(Box::new(Gpu::load(Loading::new(file, answers, progress), &gpu).await?))
}

#[cfg(not(feature = "gpu"))]
async fn gpu(_: &ModelFile, _: (u32, u32), _: &LoadOptions, _: Progress<'_>, _: bool) -> Result<Box<dyn Backend>> {
    Err(Error::new(ErrorKind::NoDevice, "this build has no GPU support")
        .hint("build it with the feature `gpu`, or compute on the CPU"))
}

/// A replica on every card, or the layers shared out among them where a card cannot hold them all.
#[cfg(feature = "cuda")]
async fn cuda(
    file: &ModelFile,
    answers: (u32, u32),
    wanted: Cards,
    progress: Progress<'_>,
    info: &mut ModelInfo,
) -> Result<Box<dyn Backend>> {
    /// Rows of the smallest batch that is worth a replica, in bytes of 16-bit numbers.
    const ROWS: u64 = 2048;
    let places: Vec<Place> = wanted.numbers(cards()).into_iter().map(Place::Card).collect();
    let need = file.index.tensor_bytes() + batch_bytes(&file.config, ROWS, 2);
    let mut fits = true;
    if places.len() > 1 {
        for &place in &places {
            fits &= free_bytes(place)?.is_none_or(|free| free >= need);
        }
    }
    let groups: Vec<&[Place]> = if fits { places.chunks(1).collect() } else { vec![&places] };
    let mut replicas = Vec::new();
    for group in groups {
        let replica = Candle::load(Loading::new(file, answers, &mut *progress), group, None).await?;
        info.warnings.extend_from_slice(replica.warnings());
        replicas.push(replica);
    }
    Ok(if replicas.len() == 1 { Box::new(replicas.remove(0)) } else { Box::new(Replicas::new(replicas)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_named_by_number() {
        let numbers = |text: &str| text.parse::<Cards>().unwrap().numbers(4);
        assert_eq!(numbers("1"), [1]);
        assert_eq!(numbers("2,0,2"), [0, 2]);
        assert_eq!(numbers("all"), [0, 1, 2, 3]);
        assert_eq!(Cards::First.numbers(4), [0]);
        // None there: the first one is asked for, and its absence reported.
        assert_eq!(Cards::All.numbers(0), [0]);
        for bad in ["", "x", "1,", "-1", "64", "1 2"] {
            assert_eq!(bad.parse::<Cards>().unwrap_err().code(), "bad-input", "{bad:?}");
        }
    }
}
