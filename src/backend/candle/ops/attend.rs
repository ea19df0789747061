//! Causal attention over packed sequences that share a prefix.

use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Result, Shape, Tensor, backend::BackendStorage};
#[cfg(feature = "cuda")]
use {crate::backend::candle::cuda, candle_core::CudaStorage};

use super::{read, stored};
use crate::plan::Tile;

/// Rows of a tile of the matrix kernel: query rows times the query heads that share a key/value head.
pub(in crate::backend::candle) const TILE_ROWS: usize = 64;

/// The largest head: what `attend_plain` has registers for.
pub(in crate::backend::candle) const LARGEST_HEAD: usize = 256;

/// True where the kernel on matrix instructions takes this type and head size.
pub(in crate::backend::candle) fn has_matrix_kernel(dtype: DType, head_dim: usize) -> bool {
    matches!(dtype, DType::F16 | DType::BF16) && matches!(head_dim, 64 | 128)
}

/// The tiles of an attention, here and on the device.
pub(in crate::backend::candle) struct Tiles {
    tiles: Vec<Tile>,
    /// Rows of the largest.
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "the processor's loops need no grid"))]
    pub(in crate::backend::candle) most_rows: u32,
    /// `[tiles, 6]` u32: [`Tile::words`].
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "the processor reads the tiles themselves"))]
    pub(in crate::backend::candle) table: Tensor,
}

impl Tiles {
    /// Lays them out on `device`, those with the most work first: the last ones to run are then short.
    pub(in crate::backend::candle) fn new(mut tiles: Vec<Tile>, device: &Device) -> Result<Self> {
        tiles.sort_by_key(|t| std::cmp::Reverse(t.rows * (t.first + t.rows)));
        let words: Vec<u32> = tiles.iter().flat_map(|t| t.words()).collect();
        let table = Tensor::from_vec(words, (tiles.len(), 6), device)?;
        Ok(Self { most_rows: tiles.iter().map(|t| t.rows).max().unwrap_or(0), tiles, table })
    }
}

/// q `[C, heads * D]`, k and v `[R, kv_heads * D]`, all of one type: what every head of q sees, `[C, heads * D]`. `plain` does without matrix
/// instructions.
pub(in crate::backend::candle) fn attend(
    [q, k, v]: [&Tensor; 3],
    tiles: &Tiles,
    head_dim: usize,
    plain: bool,
) -> Result<Tensor> {
    q.apply_op3_no_bwd(k, v, &Attend { tiles, head_dim, plain })
}

struct Attend<'a> {
    tiles: &'a Tiles,
    head_dim: usize,
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "the processor has one way"))]
    plain: bool,
}

impl CustomOp3 for Attend<'_> {
    fn name(&self) -> &'static str {
        "attend"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        ql: &Layout,
        k: &CpuStorage,
        kl: &Layout,
        v: &CpuStorage,
        vl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (queries, keys, values) = (read(q, ql)?, read(k, kl)?, read(v, vl)?);
        let (width, kv_width, d) = (ql.dims()[1], kl.dims()[1], self.head_dim);
        let group = width / kv_width;
        let scale = 1.0 / (d as f32).sqrt();
        let mut out = vec![0.0; queries.len()];
        for tile in &self.tiles.tiles {
            let key_row = |position: u32| {
                let row =
                    if position < tile.shared { tile.prefix + position } else { tile.own + position - tile.shared };
                row as usize * kv_width
            };
            for row in 0..tile.rows {
                for head in 0..width / d {
                    let at = (tile.query + row) as usize * width + head * d;
                    let kv = head / group * d;
                    let query = &queries[at..][..d];
                    let mut weights: Vec<f32> = (0..=tile.first + row)
                        .map(|p| {
                            keys[key_row(p) + kv..][..d].iter().zip(query).map(|(k, q)| k * q).sum::<f32>() * scale
                        })
                        .collect();
                    let most = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    weights.iter_mut().for_each(|w| *w = (*w - most).exp());
                    let sum: f32 = weights.iter().sum();
                    for (p, weight) in weights.iter().enumerate() {
                        let value = &values[key_row(p as u32) + kv..][..d];
                        out[at..][..d].iter_mut().zip(value).for_each(|(o, v)| *o += weight / sum * v);
                    }
                }
            }
        }
        Ok((stored(out, q.dtype())?, ql.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        q: &CudaStorage,
        ql: &Layout,
        k: &CudaStorage,
        kl: &Layout,
        v: &CudaStorage,
        vl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let out = cuda::attend([(q, ql), (k, kl), (v, vl)], self.tiles, self.head_dim, self.plain)?;
        Ok((out, ql.shape().clone()))
    }
}
