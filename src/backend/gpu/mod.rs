//! The GPU executor: walks a plan with kernels in WGSL, through wgpu: WebGPU in browsers, Vulkan, Metal or DirectX 12 natively.
//!
//! Weights lie on the GPU in a few compute layouts that hold every file type exactly; embedding rows stay with the processor. One
//! layer's keys and values are alive at a time. Work goes out in portions that a desktop does not notice (see `queue`).

mod device;
mod kernel;
mod memory;
mod params;
mod product;
mod queue;
mod run;
mod scratch;
mod shader;
#[cfg(test)]
mod tests;
mod tune;
mod weights;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

#[cfg(not(target_arch = "wasm32"))]
pub use device::adapters;
pub use device::{Adapter, GpuOptions};
pub use queue::Timing;
pub(crate) use run::Kept;

use self::{
    device::Device,
    kernel::{Access, Kernel, params_layout},
    memory::Buffer,
    queue::Portions,
    run::Run,
    scratch::Scratch,
    tune::Products,
    weights::{LayerWeights, Shape, Weights},
};
use super::{Backend, KeptPrefix, Pace};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Config, Head, Logits},
    plan::Batch,
    weights::{BoxFuture, Embedding, Loading},
};

/// Bounds of the rows of a batch.
const BATCH: [u64; 2] = [512, 8192];
/// Seconds that a batch should take, so that first scores come early.
const BATCH_SECONDS: f64 = 1.0;

/// Runs plans on a GPU.
pub struct Gpu {
    config: Config,
    shape: Shape,
    embedding: Embedding,
    layers: Vec<LayerWeights>,
    output_norm: Buffer,
    head: Head,
    kernels: Kernels,
    portions: Portions,
    tile_rows: usize,
    heads_at_once: usize,
    /// The buffers of the last request; a request that finds none makes its own.
    scratch: Mutex<Option<Scratch>>,
    // The last field: buffers go before their device.
    device: Device,
}

struct Kernels {
    norm: Kernel,
    row_max: Kernel,
    head_norm_rope: Kernel,
    attend: Kernel,
    /// By inputs in a block.
    quantize: HashMap<u32, Kernel>,
    products: Products,
}

impl Gpu {
    /// Finds a GPU and moves a model's weights to it, layer by layer.
    ///
    /// # Errors
    /// `webgpu-unavailable` without an adapter or a device, `oom` where the weights have no room, or what reading them gives.
    pub async fn load(mut loading: Loading<'_>, options: &GpuOptions) -> Result<Self> {
        let device = Device::open(options).await?;
        if let Some(text) = &options.tuning {
            tune::recall(text);
        }
        let config = loading.config().clone();
        let attention = Attention::choose(&config)?;
        let head = loading.head().await?;
        let output_norm = loading.output_norm().await?;
        let embedding = loading.embedding().await?;
        let shape = Shape::new(&config);
        let mut layers = Vec::new();
        for i in 0..config.layers {
            let layer = loading.layer(i, Ok).await?;
            layers.push(LayerWeights::upload(&device, &config, &layer).await?);
        }
        let output_norm = weights::vector(&device, &output_norm, shape.hidden).await?;
        let params = params_layout(&device);
        let portions = Portions::new(&device, &params, options.profile);
        let matrices: Vec<&Weights> = layers.iter().flat_map(LayerWeights::matrices).collect();
        let kernels = Kernels::new(&device, &portions, &params, &matrices, &attention, &mut || loading.alive()).await?;
        loading.finish()?;
        Ok(Self {
            config,
            shape,
            embedding,
            layers,
            output_norm,
            head,
            kernels,
            portions,
            tile_rows: attention.tile_rows(),
            heads_at_once: attention.heads,
            scratch: Mutex::default(),
            device,
        })
    }

    /// The adapter in use.
    pub fn adapter(&self) -> &Adapter {
        &self.device.adapter
    }

    /// What autotune found, here and before: give it to the next load's [`GpuOptions::tuning`].
    pub fn tuning(&self) -> String {
        tune::text()
    }

    /// The kernels in use: for every layout of weights the variant that multiplies by it.
    pub fn kernels(&self) -> String {
        let mut names: Vec<String> =
            self.kernels.products.iter().map(|(store, (v, _))| format!("{}: {}", store.name(), v.name())).collect();
        names.sort();
        names.join(", ")
    }

    /// What every kernel took so far, by name, where [`GpuOptions::profile`] asked for it.
    pub fn timings(&self) -> BTreeMap<Arc<str>, Timing> {
        self.portions.timings()
    }

    /// Bytes of weights on the GPU.
    pub fn weight_bytes(&self) -> u64 {
        self.layers.iter().flat_map(LayerWeights::matrices).map(Weights::bytes).sum()
    }

    /// Makes room for batches of `rows` rows of one sequence each, so that a later request need not.
    ///
    /// # Errors
    /// `oom` if that is more than the GPU has or binds.
    pub async fn reserve(&self, rows: usize) -> Result<()> {
        let mut scratch = self.take_scratch();
        let sizes =
            scratch::Sizes { rows, sequences: rows, chunk: run::CHUNK.min(rows), kept: 0, positions: 1, tiles: rows };
        let fitted = scratch.fit(&self.device, &self.shape, self.config.head_dim / 2, sizes).await;
        self.forget();
        fitted.map(|_| self.put_scratch(scratch))
    }

    /// Rows that the buffers of a batch can have.
    fn most_rows(&self) -> u64 {
        let limits = &self.device.limits;
        let widest = self.shape.hidden.max(self.shape.kv) as u64;
        (limits.max_storage_buffer_binding_size.min(limits.max_buffer_size) / (4 * widest)).max(BATCH[0])
    }

    fn take_scratch(&self) -> Scratch {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }

    fn put_scratch(&self, scratch: Scratch) {
        let mut kept = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        // Of two requests at the same time the larger one's.
        if kept.as_ref().is_none_or(|k| k.bytes() <= scratch.bytes()) {
            *kept = Some(scratch);
        }
    }

    /// Destroys the device, and with it all that lies on it. A borrowed one stays, and only the buffers go, with the backend.
    pub fn destroy(&self) {
        self.device.destroy();
    }

    /// Resolves with the reason once the device is lost.
    pub fn lost(&self) -> impl Future<Output = String> + use<> {
        let lost = self.device.lost();
        async move { lost.await.unwrap_or_default() }
    }

    /// Forgets bind groups: some of their buffers are gone.
    fn forget(&self) {
        let k = &self.kernels;
        let products = k.products.values().map(|(_, kernel)| kernel);
        products
            .chain(k.quantize.values())
            .chain([&k.norm, &k.row_max, &k.head_norm_rope, &k.attend])
            .for_each(Kernel::forget);
    }
}

impl Kernels {
    async fn new(
        device: &Device,
        portions: &Portions,
        params: &wgpu::BindGroupLayout,
        matrices: &[&Weights],
        attention: &Attention,
        alive: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Self> {
        use Access::{Read as R, Write as W};
        let fixed = async |name: &str, source: &str, constants: &[(&'static str, f64)], access: &[Access]| {
            Kernel::new(device, params, name, source.to_owned(), constants, access).await
        };
        let norm = fixed("rms_norm", include_str!("../../kernels/rms_norm.wgsl"), &[], &[R, R, W]).await?;
        let row_max = fixed("row_max", include_str!("../../kernels/row_max.wgsl"), &[], &[R, W]).await?;
        let source = include_str!("../../kernels/head_norm_rope.wgsl");
        let head_norm_rope = fixed("head_norm_rope", source, &[], &[W, R, R, R]).await?;
        let source = include_str!("../../kernels/attend.wgsl");
        let attend = fixed("attend", source, &attention.constants(), &[W, R, R, R]).await?;
        let products = tune::choose(device, portions, params, matrices, alive).await?;
        let mut quantize = HashMap::new();
        for (store, (variant, _)) in &products {
            let block = store.block();
            if variant.arithmetic == shader::Arithmetic::I8 && !quantize.contains_key(&block) {
                let name = format!("quantize {block}");
                quantize.insert(block, fixed(&name, &shader::quantize(block), &[], &[R, W, W]).await?);
            }
        }
        Ok(Self { norm, row_max, head_norm_rope, attend, quantize, products })
    }
}

/// How attention is cut for a shape: the constants of `attend.wgsl`.
struct Attention {
    /// Query rows times heads of a tile.
    rows: usize,
    /// Query heads of a tile, which share a key head.
    heads: usize,
    /// Vectors of four in a head.
    vectors: usize,
    /// Threads along keys.
    lanes: usize,
    /// Vectors of a head that are staged at once.
    slice: usize,
    /// Values that are staged at once.
    values: usize,
}

impl Attention {
    /// The largest tile that the workgroup memory and threads of WebGPU's default limits allow.
    ///
    /// # Errors
    /// `unsupported` for heads that are too large.
    fn choose(c: &Config) -> Result<Self> {
        const MEMORY: usize = 16 << 10;
        const THREADS: usize = 256;
        let vectors = c.head_dim.div_ceil(4);
        let group = c.heads / c.kv_heads;
        let lanes = vectors.div_ceil(2).next_power_of_two().max(8);
        let block = 4 * lanes;
        let most = if lanes == 8 { 64 } else { 32 };
        for (rows, slice) in [(64, 4), (32, 4), (16, 4), (16, 3), (8, 4), (8, 3), (4, 4), (4, 1)] {
            let keys = block * (slice | 1);
            let values = [16, 8, 4, 2, 1].into_iter().find(|v| v * vectors <= keys);
            let bytes = 16 * (slice * rows + keys + block * ((rows / 4) | 1));
            if let Some(values) = values
                && rows <= most
                && bytes <= MEMORY
                && rows / 4 * lanes <= THREADS
            {
                let heads = (1..=group.min(rows)).rev().find(|h| group.is_multiple_of(*h)).unwrap_or(1);
                return Ok(Self { rows, heads, vectors, lanes, slice, values });
            }
        }
        let what = format!("attention heads of {} elements are too large for the GPU backend", c.head_dim);
        Err(Error::new(ErrorKind::Unsupported, what).hint("compute on the CPU"))
    }

    fn tile_rows(&self) -> usize {
        self.rows / self.heads
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        [
            ("ROWS", self.rows),
            ("HEADS", self.heads),
            ("VECS", self.vectors),
            ("LANES", self.lanes),
            ("SLICE", self.slice),
            ("QUERY_SLICE", self.slice),
            ("VALUES", self.values),
        ]
        .map(|(name, n)| (name, n as f64))
        .to_vec()
    }
}

/// Rows of a batch behind a prefix of `shared` rows, where `rows` are what takes the time for a batch and the buffers can have `most`. A prefix too
/// large to keep is computed in every batch: it is shared by as many rows at least.
fn good_rows(rows: u64, shared: u64, most: u64) -> u64 {
    rows.clamp(BATCH[0], BATCH[1]).max(2 * shared).min(most)
}

impl Backend for Gpu {
    fn device(&self) -> &str {
        if cfg!(target_arch = "wasm32") { "webgpu" } else { "gpu" }
    }

    fn gpu(&self) -> Option<&Gpu> {
        Some(self)
    }

    fn batch_rows(&self, shared: usize) -> usize {
        let rate = self.portions.budget() as f64 / queue::SUBMISSION.as_secs_f64();
        good_rows((rate * BATCH_SECONDS) as u64 / self.config.layer_parameters(), shared as u64, self.most_rows())
            as usize
    }

    fn logits_together<'a>(
        &'a self,
        batches: &'a [Batch],
        kept: &'a mut [KeptPrefix],
        pace: &'a dyn Pace,
    ) -> BoxFuture<'a, Result<Vec<Vec<Logits>>>> {
        Box::pin(async move {
            self.device.check()?;
            let mut scratch = self.take_scratch();
            let logits = Run::logits(self, batches, kept, &mut scratch, pace).await;
            // Where memory ran out it goes: it may be what the next request lacks.
            if !matches!(&logits, Err(e) if e.kind() == ErrorKind::OutOfMemory) {
                self.put_scratch(scratch);
            }
            logits
        })
    }
}
