//! What candle has no operation for: kernels on a card ([`super::cuda`]), plain loops on the processor.
//!
//! The loops take what the kernels take and add in f32 too; the tests hold both to the twins in [`crate::kernels`].

mod attend;
mod head_norm_rope;
mod rms_norm;
mod swiglu;

use std::borrow::Cow;

use candle_core::{CpuStorage, DType, Layout, Result, bail};
use half::{bf16, f16};

pub(super) use attend::{LARGEST_HEAD, TILE_ROWS, Tiles, attend, has_matrix_kernel};
pub(super) use head_norm_rope::head_norm_rope;
pub(super) use rms_norm::{add, add_rms_norm, rms_norm};
pub(super) use swiglu::swiglu;

/// Where a tensor's numbers lie in its storage.
pub(super) fn range(layout: &Layout) -> Result<std::ops::Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => bail!("a tensor has gaps: {layout:?}"),
    }
}

/// A tensor's numbers.
fn read<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<Cow<'a, [f32]>> {
    let range = range(layout)?;
    Ok(match storage {
        CpuStorage::F32(v) => Cow::Borrowed(&v[range]),
        CpuStorage::F16(v) => v[range].iter().map(|x| x.to_f32()).collect(),
        CpuStorage::BF16(v) => v[range].iter().map(|x| x.to_f32()).collect(),
        other => bail!("numbers of type {:?}", candle_core::backend::BackendStorage::dtype(other)),
    })
}

/// Numbers as a new storage.
fn stored(values: Vec<f32>, to: DType) -> Result<CpuStorage> {
    Ok(match to {
        DType::F32 => CpuStorage::F32(values),
        DType::F16 => CpuStorage::F16(values.into_iter().map(f16::from_f32).collect()),
        DType::BF16 => CpuStorage::BF16(values.into_iter().map(bf16::from_f32).collect()),
        other => bail!("numbers of type {other:?}"),
    })
}

/// Numbers into a tensor that is there.
fn write(storage: &mut CpuStorage, layout: &Layout, values: &[f32]) -> Result<()> {
    let range = range(layout)?;
    match storage {
        CpuStorage::F32(v) => v[range].copy_from_slice(values),
        CpuStorage::F16(v) => v[range].iter_mut().zip(values).for_each(|(to, &x)| *to = f16::from_f32(x)),
        CpuStorage::BF16(v) => v[range].iter_mut().zip(values).for_each(|(to, &x)| *to = bf16::from_f32(x)),
        other => bail!("numbers of type {:?}", candle_core::backend::BackendStorage::dtype(other)),
    }
    Ok(())
}
