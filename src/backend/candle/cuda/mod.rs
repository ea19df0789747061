//! Launches the kernels of `kernels.cu`, which the build script compiles to PTX; the driver makes the card's own code of that.

use candle_core::{
    CudaDevice, CudaStorage, DType, Layout, Result, Storage,
    backend::BackendStorage,
    bail,
    cuda_backend::{
        WrapErr,
        cudarc::driver::{CudaContext, CudaEvent, LaunchConfig, PushKernelArg, sys},
    },
};
use half::{bf16, f16};

use super::ops::{LARGEST_HEAD, Tiles, has_matrix_kernel, range};

const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx"));

type In<'a> = (&'a CudaStorage, &'a Layout);
type InOut<'a> = (&'a mut CudaStorage, &'a Layout);

/// The body for each type of numbers: `$T` is the type, `$name` ends the kernels' names.
macro_rules! by_type {
    ($dtype:expr, $T:ident, $name:ident => $body:expr) => {
        match $dtype {
            DType::F32 => {
                type $T = f32;
                let $name = "f32";
                $body
            }
            DType::F16 => {
                type $T = f16;
                let $name = "f16";
                $body
            }
            DType::BF16 => {
                type $T = bf16;
                let $name = "bf16";
                $body
            }
            other => bail!("no kernel for numbers of type {other:?}"),
        }
    };
}

/// How many cards there are; none without a driver.
pub(super) fn cards() -> usize {
    CudaContext::device_count().map_or(0, |n| usize::try_from(n).unwrap_or(0))
}

/// The card's compute capability.
pub(super) fn capability(device: &CudaDevice) -> Result<[i32; 2]> {
    use sys::CUdevice_attribute as Attribute;
    let stream = device.cuda_stream();
    let of = |attribute| stream.context().attribute(attribute).w();
    Ok([
        of(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
        of(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
    ])
}

/// Makes a fresh device fit for one stream that is used from any thread.
pub(super) fn prepare(device: &CudaDevice) -> Result<()> {
    // SAFETY: the device has one stream, on which all its tensors are made, used and freed; what goes to another device goes through the host.
    unsafe { device.disable_event_tracking() };
    let context = device.cuda_stream().context().clone();
    if !context.has_async_alloc() {
        return Ok(());
    }
    // Freed memory stays with the process: otherwise every wait for a result gives it back, and the next batch must map it anew.
    let mut pool = std::ptr::null_mut();
    let mut most = u64::MAX;
    // SAFETY: `pool` is written by the first call, and the attribute of the second is 64 bits wide.
    unsafe {
        sys::cuDeviceGetDefaultMemPool(&mut pool, context.cu_device()).result().w()?;
        let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut most).cast()).result().w()
    }
}

/// Bytes that are free on the card of this number, once all that is queued there is done.
pub(super) fn free_bytes(card: usize) -> Result<u64> {
    let context = CudaContext::new(card).w()?;
    context.synchronize().w()?;
    context.mem_get_info().w().map(|(free, _)| free as u64)
}

/// A point in a device's work.
pub(super) struct Mark(CudaEvent);

impl Mark {
    /// After all that is queued now.
    pub(super) fn set(device: &CudaDevice) -> Result<Self> {
        device.cuda_stream().record_event(None).w().map(Self)
    }

    /// Until the work before it is done.
    pub(super) fn wait(self) -> Result<()> {
        self.0.synchronize().w()
    }
}

/// Launches a kernel on `grid` blocks of so many threads; the arguments are those of the kernel of this name in `kernels.cu`.
macro_rules! launch {
    ($device:expr, $name:expr, $grid:expr, $threads:expr, [$($arg:expr),+]) => {{
        let grid: (usize, usize) = $grid;
        let function = $device.get_or_load_custom_func(&$name, "edge_reranker", PTX)?;
        let mut launch = function.builder();
        $(launch.arg($arg);)+
        let config = LaunchConfig {
            grid_dim: (u32::try_from(grid.0)?, u32::try_from(grid.1)?, 1),
            block_dim: ($threads, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: every function below gives the arguments in the kernel's order and types, after it has compared the lengths of the buffers with the
        // sizes that it gives.
        unsafe { launch.launch(config) }.w()?;
    }};
}

/// Threads of a block where every thread works for itself or with its block.
const THREADS: u32 = 256;
/// Blocks at most where threads go on in strides of the grid.
const BLOCKS: usize = 4096;

/// Refuses what candle gives where the plan promises otherwise: a kernel would read past the end.
fn expect(what: &str, got: usize, want: usize) -> Result<()> {
    if got != want {
        bail!("{what}: {got} numbers, expected {want}");
    }
    Ok(())
}

/// As [`super::ops::rms_norm`].
pub(super) fn rms_norm((x, xl): In<'_>, (w, wl): In<'_>, eps: f32, to: DType) -> Result<CudaStorage> {
    let (rows, width) = xl.shape().dims2()?;
    expect("the norm's weights", wl.shape().elem_count(), width)?;
    let device = x.device();
    let x = x.as_cuda_slice::<f32>()?.slice(range(xl)?);
    let w = w.as_cuda_slice::<f32>()?.slice(range(wl)?);
    by_type!(to, T, name => {
        // SAFETY: the kernel writes every number.
        let mut y = unsafe { device.alloc::<T>(rows * width)? };
        let wide = i32::try_from(width)?;
        launch!(device, format!("rms_norm_{name}"), (rows, 1), THREADS, [&x, &w, &mut y, &wide, &eps]);
        Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
    })
}

/// As [`super::ops::add_rms_norm`].
pub(super) fn add_rms_norm((x, xl): InOut<'_>, (more, ml): In<'_>, (w, wl): In<'_>, eps: f32) -> Result<CudaStorage> {
    let (rows, width) = xl.shape().dims2()?;
    expect("the norm's weights", wl.shape().elem_count(), width)?;
    expect("what is added", ml.shape().elem_count(), rows * width)?;
    let device = x.device().clone();
    let mut x = x.as_cuda_slice_mut::<f32>()?.slice_mut(range(xl)?);
    let w = w.as_cuda_slice::<f32>()?.slice(range(wl)?);
    by_type!(more.dtype(), T, name => {
        let more = more.as_cuda_slice::<T>()?.slice(range(ml)?);
        // SAFETY: the kernel writes every number.
        let mut y = unsafe { device.alloc::<T>(rows * width)? };
        let wide = i32::try_from(width)?;
        launch!(device, format!("add_rms_norm_{name}"), (rows, 1), THREADS, [&mut x, &more, &w, &mut y, &wide, &eps]);
        Ok(CudaStorage::wrap_cuda_slice(y, device))
    })
}

/// As [`super::ops::add`].
pub(super) fn add((x, xl): InOut<'_>, (more, ml): In<'_>) -> Result<()> {
    let count = xl.shape().elem_count();
    expect("what is added", ml.shape().elem_count(), count)?;
    let device = x.device().clone();
    let mut x = x.as_cuda_slice_mut::<f32>()?.slice_mut(range(xl)?);
    by_type!(more.dtype(), T, name => {
        let more = more.as_cuda_slice::<T>()?.slice(range(ml)?);
        launch!(device, format!("add_{name}"), (blocks(count), 1), THREADS, [&mut x, &more, &count]);
        Ok(())
    })
}

/// As [`super::ops::swiglu`].
pub(super) fn swiglu((gate, gl): In<'_>, (up, ul): In<'_>) -> Result<CudaStorage> {
    let count = gl.shape().elem_count();
    expect("the gates' values", ul.shape().elem_count(), count)?;
    let device = gate.device();
    by_type!(gate.dtype(), T, name => {
        let gate = gate.as_cuda_slice::<T>()?.slice(range(gl)?);
        let up = up.as_cuda_slice::<T>()?.slice(range(ul)?);
        // SAFETY: the kernel writes every number.
        let mut y = unsafe { device.alloc::<T>(count)? };
        launch!(device, format!("swiglu_{name}"), (blocks(count.div_ceil(4)), 1), THREADS, [&gate, &up, &mut y, &count]);
        Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
    })
}

/// As [`super::ops::head_norm_rope`].
pub(super) fn head_norm_rope((x, xl): InOut<'_>, (w, wl): In<'_>, (turns, tl): In<'_>, eps: f32) -> Result<()> {
    let (rows, width) = xl.shape().dims2()?;
    let head_dim = wl.shape().elem_count();
    expect("whole heads in a row", width % head_dim, 0)?;
    expect("the turns", tl.shape().elem_count(), rows * head_dim)?;
    let device = x.device().clone();
    let w = w.as_cuda_slice::<f32>()?.slice(range(wl)?);
    let turns = turns.as_cuda_slice::<f32>()?.slice(range(tl)?);
    let (warps, items) = (THREADS as usize / 32, rows * width / head_dim);
    let numbers = [items, width / head_dim, head_dim].map(i32::try_from);
    let [items32, heads, d] = [numbers[0]?, numbers[1]?, numbers[2]?];
    by_type!(x.dtype(), T, name => {
        let mut x = x.as_cuda_slice_mut::<T>()?.slice_mut(range(xl)?);
        let grid = (items.div_ceil(warps), 1);
        launch!(device, format!("head_norm_rope_{name}"), grid, THREADS, [&mut x, &w, &turns, &items32, &heads, &d, &eps]);
        Ok(())
    })
}

/// As [`super::ops::attend`].
pub(super) fn attend([q, k, v]: [In<'_>; 3], tiles: &Tiles, head_dim: usize, plain: bool) -> Result<CudaStorage> {
    let ((_, width), (keys, kv_width)) = (q.1.shape().dims2()?, k.1.shape().dims2()?);
    expect("the values", v.1.shape().elem_count(), keys * kv_width)?;
    let (device, dtype) = (q.0.device(), q.0.dtype());
    let plain = plain || !has_matrix_kernel(dtype, head_dim);
    if head_dim > LARGEST_HEAD {
        bail!("heads of {head_dim} numbers; the kernels take {LARGEST_HEAD} at most");
    }
    let (storage, layout) = tiles.table.storage_and_layout();
    let Storage::Cuda(table) = &*storage else { bail!("the tiles are not on the card") };
    let table = table.as_cuda_slice::<u32>()?.slice(range(layout)?);
    let (heads, kv_heads) = (width / head_dim, kv_width / head_dim);
    let numbers = [heads, kv_heads, head_dim].map(i32::try_from);
    let [heads32, kv_heads32, d] = [numbers[0]?, numbers[1]?, numbers[2]?];
    let scale = 1.0 / (head_dim as f32).sqrt();
    let count = layout.dims()[0];
    by_type!(dtype, T, name => {
        let q4 = q.0.as_cuda_slice::<T>()?.slice(range(q.1)?);
        let k4 = k.0.as_cuda_slice::<T>()?.slice(range(k.1)?);
        let v4 = v.0.as_cuda_slice::<T>()?.slice(range(v.1)?);
        // SAFETY: the tiles hold every row of q once, so the kernel writes every number.
        let mut y = unsafe { device.alloc::<T>(q4.len())? };
        if plain {
            let grid = (count, tiles.most_rows as usize * heads);
            launch!(device, format!("attend_plain_{name}"), grid, 32, [&q4, &k4, &v4, &mut y, &table, &heads32, &kv_heads32, &d, &scale]);
        } else {
            // Its exponentials are powers of two.
            let scale = scale * std::f32::consts::LOG2_E;
            let grid = (count, kv_heads);
            launch!(device, format!("attend_{head_dim}_{name}"), grid, 128, [&q4, &k4, &v4, &mut y, &table, &heads32, &kv_heads32, &scale]);
        }
        Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
    })
}

fn blocks(work: usize) -> usize {
    work.div_ceil(THREADS as usize).clamp(1, BLOCKS)
}
