//! The weights on their devices.

use std::{
    borrow::Cow,
    sync::{Mutex, PoisonError},
};

use candle_core::{
    DType, Device, Tensor,
    quantized::{QStorage, QTensor},
};

use super::{Compute, Place, failed, ops};
use crate::{
    error::{Error, ErrorKind, Result},
    kernels::{head_norm_rope, noise},
    model::{Config, Head},
    plan::Tile,
    weights::{Loading, Matrix},
};

/// A matrix that rows are multiplied by.
pub(super) enum Product {
    /// `[N, K]`
    Dense(Tensor),
    /// `[N, K]` in the file's blocks.
    Quantised(Box<QTensor>),
}

impl Product {
    fn new(matrix: &Matrix, device: &Device, compute: DType) -> candle_core::Result<Self> {
        if matrix.dtype().is_quantized() {
            return quantised(matrix, device).map(Self::Quantised);
        }
        // The processor multiplies f32 alone; the values are those of the type all the same.
        let dense = dense(matrix, device)?.to_dtype(compute)?;
        Ok(Self::Dense(if device.is_cpu() { dense.to_dtype(DType::F32)? } else { dense }))
    }

    /// x `[C, K]` to `[C, N]`, of x's type.
    pub(super) fn apply(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Quantised(w) => x.apply_op1_no_bwd(w.as_ref()),
            Self::Dense(w) => x.to_dtype(w.dtype())?.matmul(&w.t()?)?.to_dtype(x.dtype()),
        }
    }
}

fn quantised(matrix: &Matrix, device: &Device) -> candle_core::Result<Box<QTensor>> {
    // candle reads blocks in place and wants them aligned.
    let bytes = matrix.data();
    let bytes = if bytes.as_ptr().addr().is_multiple_of(4) { Cow::Borrowed(bytes) } else { Cow::Owned(bytes.to_vec()) };
    let storage = QStorage::from_data(bytes, device, matrix.dtype().candle())?;
    QTensor::new(storage, (matrix.rows(), matrix.columns())).map(Box::new)
}

fn dense(matrix: &Matrix, device: &Device) -> candle_core::Result<Tensor> {
    use crate::weights::DType as W;
    let dtype = match matrix.dtype() {
        W::F16 => DType::F16,
        W::BF16 => DType::BF16,
        _ => DType::F32,
    };
    Tensor::from_raw_buffer(matrix.data(), dtype, &[matrix.rows(), matrix.columns()], device)
}

/// One layer. The norms are f32.
pub(super) struct Layer {
    /// Its device, among the network's.
    pub(super) at: usize,
    /// `[H]`
    pub(super) attn_norm: Tensor,
    pub(super) q: Product,
    pub(super) k: Product,
    pub(super) v: Product,
    /// `[D]`
    pub(super) q_norm: Tensor,
    /// `[D]`
    pub(super) k_norm: Tensor,
    pub(super) o: Product,
    /// `[H]`
    pub(super) ffn_norm: Tensor,
    pub(super) gate: Product,
    pub(super) up: Product,
    pub(super) down: Product,
}

/// A model on its devices.
pub(super) struct Network {
    pub(super) config: Config,
    pub(super) compute: DType,
    pub(super) devices: Vec<Device>,
    pub(super) layers: Vec<Layer>,
    /// `[V, H]` on the first device.
    embedding: Product,
    /// `[H]` on the last layer's.
    pub(super) output_norm: Tensor,
    pub(super) head: Head,
    /// True where attention does without matrix instructions.
    pub(super) plain: bool,
    pub(super) warnings: Vec<String>,
    /// For every device `[positions, D]`: the cosines of a position's angles, then their sines.
    turns: Vec<Mutex<Option<Tensor>>>,
}

impl Network {
    /// # Errors
    /// As [`super::Candle::load`].
    pub(super) async fn load(mut loading: Loading<'_>, places: &[Place], compute: Compute) -> Result<Self> {
        let (config, compute) = (loading.config().clone(), compute.dtype());
        if config.head_dim > ops::LARGEST_HEAD {
            let what =
                format!("attention heads of {} elements: {} are the most here", config.head_dim, ops::LARGEST_HEAD);
            return Err(Error::new(ErrorKind::Unsupported, what).hint("compute with --device cpu"));
        }
        let devices = places.iter().map(|p| p.open()).collect::<Result<Vec<_>>>()?;
        let (plain, warnings) = attention(&config, compute, &devices)?;
        let head = loading.head().await?;
        let device_of = |layer: usize| layer * devices.len() / config.layers;
        let last = &devices[device_of(config.layers - 1)];
        let output_norm = on(loading.output_norm().await?, last)?;
        let embedding = loading.embedding().await?;
        let embedding = match embedding.matrix() {
            m if m.dtype().is_quantized() => quantised(m, &devices[0]).map(Product::Quantised),
            m => dense(m, &devices[0]).map(Product::Dense),
        }
        .map_err(failed)?;
        let mut layers = Vec::with_capacity(config.layers);
        for i in 0..config.layers {
            let at = device_of(i);
            let device = &devices[at];
            let layer = loading.layer(i, |matrix| Product::new(&matrix, device, compute).map_err(failed)).await?;
            layers.push(Layer {
                at,
                attn_norm: on(layer.attn_norm, device)?,
                q: layer.q,
                k: layer.k,
                v: layer.v,
                q_norm: on(layer.q_norm, device)?,
                k_norm: on(layer.k_norm, device)?,
                o: layer.o,
                ffn_norm: on(layer.ffn_norm, device)?,
                gate: layer.gate,
                up: layer.up,
                down: layer.down,
            });
        }
        check_products(&layers, &devices, compute)?;
        loading.finish()?;
        let turns = devices.iter().map(|_| Mutex::default()).collect();
        Ok(Self { config, compute, devices, layers, embedding, output_norm, head, plain, warnings, turns })
    }

    pub(super) fn is_on_card(&self) -> bool {
        self.devices.iter().any(Device::is_cuda)
    }

    /// `[T, H]` f32 embedding rows, on the first device.
    ///
    /// # Errors
    /// `bad-input` for a token that the model does not have: a card would read past the matrix.
    pub(super) fn embed(&self, tokens: &[u32]) -> Result<Tensor> {
        let vocabulary = self.config.vocabulary;
        if let Some(token) = tokens.iter().find(|&&t| t as usize >= vocabulary) {
            return Err(Error::new(ErrorKind::BadInput, format!("token id {token} of a vocabulary of {vocabulary}")));
        }
        let rows = || -> candle_core::Result<Tensor> {
            let ids = Tensor::from_slice(tokens, tokens.len(), &self.devices[0])?;
            match &self.embedding {
                Product::Dense(w) => w.index_select(&ids, 0)?.to_dtype(DType::F32),
                Product::Quantised(w) => w.embedding(&ids)?.to_dtype(DType::F32),
            }
        };
        rows().map_err(failed)
    }

    /// `[T, D]`: the cosines of every row's angles, then their sines, on device `at`.
    pub(super) fn turns(&self, at: usize, positions: &Tensor, most: usize) -> candle_core::Result<Tensor> {
        let mut table = self.turns[at].lock().unwrap_or_else(PoisonError::into_inner);
        if table.as_ref().is_none_or(|t| t.dims()[0] <= most) {
            // Twice as many, so that the table grows a few times only.
            let count = (2 * (most + 1)).clamp(1024, self.config.context.max(1024)).max(most + 1);
            let frequencies = head_norm_rope::frequencies(self.config.rope_theta, self.config.head_dim);
            let mut values = Vec::with_capacity(count * self.config.head_dim);
            for p in 0..count {
                let turns: Vec<[f32; 2]> = frequencies.iter().map(|&f| head_norm_rope::turn(p, f)).collect();
                values.extend(turns.iter().map(|t| t[0]));
                values.extend(turns.iter().map(|t| t[1]));
            }
            *table = Some(Tensor::from_vec(values, (count, self.config.head_dim), &self.devices[at])?);
        }
        table.as_ref().map_or_else(|| unreachable!("made above"), |t| t.index_select(positions, 0))
    }
}

/// Refuses a device whose quantised products are wrong: candle's kernels for them do not say so where they were compiled for other cards. One
/// matrix of each type is tried, with few rows and with many, which other kernels take.
fn check_products(layers: &[Layer], devices: &[Device], compute: DType) -> Result<()> {
    /// Largest error as a part of the result. Inputs of 8 bits give a hundredth.
    const BOUND: f32 = 0.1;
    let mut known = Vec::new();
    for layer in layers {
        let device = &devices[layer.at];
        for product in [&layer.k, &layer.v, &layer.q, &layer.o, &layer.gate, &layer.up, &layer.down] {
            let Product::Quantised(w) = product else { continue };
            let kind = (layer.at, w.dtype());
            if known.contains(&kind) {
                continue;
            }
            known.push(kind);
            let error = |rows: usize| -> candle_core::Result<f32> {
                let width = w.shape().dims2()?.1;
                let x = Tensor::from_vec(noise(1, rows * width), (rows, width), device)?.to_dtype(compute)?;
                let want = x.to_dtype(DType::F32)?.matmul(&w.dequantize(device)?.t()?)?;
                let off = (product.apply(&x)?.to_dtype(DType::F32)? - &want)?;
                let size = |t: &Tensor| t.sqr()?.sum_all()?.to_scalar::<f32>();
                Ok((size(&off)? / size(&want)?).sqrt())
            };
            for rows in [1, 70] {
                let error = error(rows).map_err(failed)?;
                if error.is_nan() || error > BOUND {
                    let what =
                        format!("products of {:?} matrices are off by {error} of their size on this card", w.dtype());
                    return Err(Error::new(ErrorKind::DeviceLost, what)
                        .hint("build for this card: CUDA_COMPUTE_CAP is its compute capability without the point"));
                }
            }
        }
    }
    Ok(())
}

fn on(vector: Vec<f32>, device: &Device) -> Result<Tensor> {
    let len = vector.len();
    Tensor::from_vec(vector, len, device).map_err(failed)
}

/// Whether attention must do without matrix instructions, and what to say of it. The kernel is used where it agrees with the plain one on this very
/// card: a wrong score would look like any other.
fn attention(config: &Config, compute: DType, devices: &[Device]) -> Result<(bool, Vec<String>)> {
    /// Largest difference of attended values of about 1, in 16 bits.
    const BOUND: f32 = 0.03;
    let (d, heads, kv_heads) = (config.head_dim, config.heads, config.kv_heads);
    if !ops::has_matrix_kernel(compute, d) || heads / kv_heads > ops::TILE_ROWS {
        return Ok((true, Vec::new()));
    }
    for device in devices.iter().filter(|d| d.is_cuda()) {
        let error = || -> candle_core::Result<f32> {
            let (prefix, own) = (70, 75);
            let rows = |seed, n, heads| {
                Tensor::from_vec(noise(seed, n * heads * d), (n, heads * d), device)?.to_dtype(compute)
            };
            let (q, k, v) = (rows(1, own, heads)?, rows(2, prefix + own, kv_heads)?, rows(3, prefix + own, kv_heads)?);
            let most = ops::TILE_ROWS / (heads / kv_heads);
            let tiles = (0..own).step_by(most).map(|start| Tile {
                query: start as u32,
                rows: most.min(own - start) as u32,
                first: (prefix + start) as u32,
                prefix: 0,
                shared: prefix as u32,
                own: prefix as u32,
            });
            let tiles = ops::Tiles::new(tiles.collect(), device)?;
            let got = ops::attend([&q, &k, &v], &tiles, d, false)?.to_dtype(DType::F32)?;
            let want = ops::attend([&q, &k, &v], &tiles, d, true)?.to_dtype(DType::F32)?;
            let off = (got - want)?.abs()?.flatten_all()?.to_vec1::<f32>()?;
            Ok(off.into_iter().fold(0.0, |a: f32, b| if b.is_nan() { f32::INFINITY } else { a.max(b) }))
        };
        let error = error().map_err(failed)?;
        if error > BOUND {
            let what = format!(
                "attention on matrix instructions is off by {error} on this card and is not used: long documents take longer"
            );
            return Ok((true, vec![what]));
        }
    }
    Ok((false, Vec::new()))
}
