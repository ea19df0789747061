//! RMSNorm on every head, then the rotary position embedding.

use candle_core::{CpuStorage, InplaceOp3, Layout, Result, Tensor};
#[cfg(feature = "cuda")]
use {crate::backend::candle::cuda, candle_core::CudaStorage};

use super::{read, write};

/// x `[C, heads * D]` in place, w `[D]` f32, turns `[C, D]` f32: the cosines of each row's D / 2 angles, then their sines.
pub(in crate::backend::candle) fn head_norm_rope(x: &Tensor, w: &Tensor, turns: &Tensor, eps: f32) -> Result<()> {
    x.inplace_op3(w, turns, &HeadNormRope { eps })
}

struct HeadNormRope {
    eps: f32,
}

impl InplaceOp3 for HeadNormRope {
    fn name(&self) -> &'static str {
        "head_norm_rope"
    }

    fn cpu_fwd(
        &self,
        x: &mut CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        turns: &CpuStorage,
        tl: &Layout,
    ) -> Result<()> {
        let (w, turns) = (read(w, wl)?, read(turns, tl)?);
        let (width, d) = (xl.dims()[1], w.len());
        let mut values = read(x, xl)?.into_owned();
        for (row, turns) in values.chunks_exact_mut(width).zip(turns.chunks_exact(d)) {
            let (cosines, sines) = turns.split_at(d / 2);
            for head in row.chunks_exact_mut(d) {
                let mean = head.iter().map(|x| x * x).sum::<f32>() / d as f32;
                let scale = 1.0 / (mean + self.eps).sqrt();
                for i in 0..d / 2 {
                    let (a, b) = (head[i] * scale * w[i], head[i + d / 2] * scale * w[i + d / 2]);
                    head[i] = a * cosines[i] - b * sines[i];
                    head[i + d / 2] = b * cosines[i] + a * sines[i];
                }
            }
        }
        write(x, xl, &values)
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &mut CudaStorage,
        xl: &Layout,
        w: &CudaStorage,
        wl: &Layout,
        turns: &CudaStorage,
        tl: &Layout,
    ) -> Result<()> {
        cuda::head_norm_rope((x, xl), (w, wl), (turns, tl), self.eps)
    }
}
