//! The gated activation of the feed-forward layer.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, backend::BackendStorage};
#[cfg(feature = "cuda")]
use {crate::backend::candle::cuda, candle_core::CudaStorage};

use super::{read, stored};

/// gate and up `[C, F]` of one type: `gate / (1 + exp(-gate)) * up`.
pub(in crate::backend::candle) fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.apply_op2_no_bwd(up, &SwiGlu)
}

struct SwiGlu;

impl CustomOp2 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(&self, gate: &CpuStorage, gl: &Layout, up: &CpuStorage, ul: &Layout) -> Result<(CpuStorage, Shape)> {
        let (gates, ups) = (read(gate, gl)?, read(up, ul)?);
        let y = gates.iter().zip(&*ups).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
        Ok((stored(y, gate.dtype())?, gl.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, gate: &CudaStorage, gl: &Layout, up: &CudaStorage, ul: &Layout) -> Result<(CudaStorage, Shape)> {
        Ok((cuda::swiglu((gate, gl), (up, ul))?, gl.shape().clone()))
    }
}
