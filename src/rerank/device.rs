//! Which backend a model gets, and why.

use super::{Device, LoadOptions, ModelInfo, info::Streaming};
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
#[cfg(feature = "gpu")]
const WORTH_A_GPU: u64 = 50_000_000;

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
    match options.device {
        Device::Cpu => because(info, "the CPU was asked for".into()),
        Device::Gpu => {
            let backend = gpu(file, answers, options, progress, false).await?;
            because(info, "a GPU was asked for".into());
            return Ok(backend);
        }
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
    if options.device == Device::Gpu {
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
