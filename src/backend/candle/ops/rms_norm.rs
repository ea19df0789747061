//! RMSNorm of the residual stream, and what is added to it before.

use std::cell::RefCell;

use candle_core::{
    CpuStorage, CustomOp2, DType, InplaceOp2, InplaceOp3, Layout, Result, Shape, Storage, Tensor, op::BackpropOp,
};
#[cfg(feature = "cuda")]
use {crate::backend::candle::cuda, candle_core::CudaStorage};

use super::{read, stored, write};

/// x `[C, H]` f32, w `[H]` f32: `x / sqrt(mean(x^2) + eps) * w` as `[C, H]` of `to`.
pub(in crate::backend::candle) fn rms_norm(x: &Tensor, w: &Tensor, eps: f32, to: DType) -> Result<Tensor> {
    x.apply_op2_no_bwd(w, &RmsNorm { eps, to })
}

/// residual `[C, H]` f32 += more `[C, H]`, which gives the type of the result: the residual's [`rms_norm`].
pub(in crate::backend::candle) fn add_rms_norm(
    residual: &Tensor,
    more: &Tensor,
    w: &Tensor,
    eps: f32,
) -> Result<Tensor> {
    let op = AddRmsNorm { eps, normed: RefCell::default() };
    residual.inplace_op3(more, w, &op)?;
    let normed = op.normed.into_inner().expect("the operation has run");
    Ok(Tensor::from_storage(normed, residual.shape().clone(), BackpropOp::none(), false))
}

/// residual `[C, H]` f32 += more `[C, H]`.
pub(in crate::backend::candle) fn add(residual: &Tensor, more: &Tensor) -> Result<()> {
    residual.inplace_op2(more, &Add)
}

struct RmsNorm {
    eps: f32,
    to: DType,
}

struct AddRmsNorm {
    eps: f32,
    /// candle's operations in place give nothing back: this one leaves its result here.
    normed: RefCell<Option<Storage>>,
}

struct Add;

fn normed(x: &[f32], w: &[f32], eps: f32) -> Vec<f32> {
    let mut y = Vec::with_capacity(x.len());
    for x in x.chunks_exact(w.len()) {
        let mean = x.iter().map(|x| x * x).sum::<f32>() / w.len() as f32;
        let scale = 1.0 / (mean + eps).sqrt();
        y.extend(x.iter().zip(w).map(|(x, w)| x * scale * w));
    }
    y
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, w: &CpuStorage, wl: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = normed(&read(x, xl)?, &read(w, wl)?, self.eps);
        Ok((stored(y, self.to)?, xl.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout, w: &CudaStorage, wl: &Layout) -> Result<(CudaStorage, Shape)> {
        Ok((cuda::rms_norm((x, xl), (w, wl), self.eps, self.to)?, xl.shape().clone()))
    }
}

impl InplaceOp3 for AddRmsNorm {
    fn name(&self) -> &'static str {
        "add_rms_norm"
    }

    fn cpu_fwd(
        &self,
        residual: &mut CpuStorage,
        rl: &Layout,
        more: &CpuStorage,
        ml: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Result<()> {
        Add.cpu_fwd(residual, rl, more, ml)?;
        let y = normed(&read(residual, rl)?, &read(w, wl)?, self.eps);
        let to = candle_core::backend::BackendStorage::dtype(more);
        self.normed.replace(Some(Storage::Cpu(stored(y, to)?)));
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        residual: &mut CudaStorage,
        rl: &Layout,
        more: &CudaStorage,
        ml: &Layout,
        w: &CudaStorage,
        wl: &Layout,
    ) -> Result<()> {
        let normed = cuda::add_rms_norm((residual, rl), (more, ml), (w, wl), self.eps)?;
        self.normed.replace(Some(Storage::Cuda(normed)));
        Ok(())
    }
}

impl InplaceOp2 for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn cpu_fwd(&self, residual: &mut CpuStorage, rl: &Layout, more: &CpuStorage, ml: &Layout) -> Result<()> {
        let sum: Vec<f32> = read(residual, rl)?.iter().zip(&*read(more, ml)?).map(|(r, m)| r + m).collect();
        write(residual, rl, &sum)
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, residual: &mut CudaStorage, rl: &Layout, more: &CudaStorage, ml: &Layout) -> Result<()> {
        cuda::add((residual, rl), (more, ml))
    }
}
