//! Weights on their way to the GPU: layer by layer, repacked a few rows at a time, never twice in memory.

use super::{
    device::Device,
    memory::Buffer,
    shader::Store,
};
use crate::{
    backend::blocks::{self, GROUP, Scale},
    error::Result,
    model::Config,
    weights::{Layer, Matrix},
};

/// Bytes repacked at once.
const PIECE: usize = 1 << 20;

/// Pieces written between two submissions.
const STAGED: usize = 8;

/// The shape as it is on the GPU: padded so that every row is whole vectors and every input whole blocks. Padding is zero everywhere.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// H
    pub hidden: usize,
    /// Width of all query heads.
    pub query: usize,
    /// Width of all key heads.
    pub kv: usize,
    /// F
    pub feed: usize,
    /// D
    pub head: usize,
}

impl Shape {
    pub(super) fn new(c: &Config) -> Self {
        let head = c.head_dim.next_multiple_of(4);
        Self {
            hidden: c.hidden.next_multiple_of(32),
            query: (c.heads * head).next_multiple_of(32),
            kv: c.kv_heads * head,
            feed: c.intermediate.next_multiple_of(32),
            head,
        }
    }
}

/// A row of a matrix on the GPU: row `.1` of source `.0`, or zeros.
pub(super) type Row = Option<(usize, usize)>;

/// Some rows of a matrix in buffers of their own, each small enough to be bound.
pub(super) struct Slice {
    pub(super) quants: Buffer,
    pub(super) scales: Option<Buffer>,
    pub(super) first: usize,
    pub(super) rows: usize,
}

/// `[outputs, inputs]` on the GPU.
pub(super) struct Weights {
    pub(super) store: Store,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) slices: Vec<Slice>,
}

impl Weights {
    pub(super) fn bytes(&self) -> u64 {
        self.slices.iter().map(|s| s.quants.bytes() + s.scales.as_ref().map_or(0, Buffer::bytes)).sum()
    }
}

/// One layer on the GPU.
pub(super) struct LayerWeights {
    pub(super) attn_norm: Buffer,
    pub(super) q: Weights,
    pub(super) k: Weights,
    pub(super) v: Weights,
    pub(super) q_norm: Buffer,
    pub(super) k_norm: Buffer,
    pub(super) o: Weights,
    pub(super) ffn_norm: Buffer,
    /// Rows of gate and up interleaved by fours, for the product that joins them.
    pub(super) gate_up: Weights,
    pub(super) down: Weights,
}

impl LayerWeights {
    pub(super) async fn upload(device: &Device, config: &Config, layer: &Layer) -> Result<Self> {
        let shape = Shape::new(config);
        let heads = |count: usize| heads(count, config.head_dim, shape.head);
        let columns: Vec<Row> = pad(heads(config.heads), shape.query);
        let columns = (shape.head != config.head_dim).then_some(&columns[..]);
        let plain = |n: usize, padded: usize| pad((0..n).map(|r| Some((0, r))).collect(), padded);
        let matrix = async |m: &Matrix, inputs, rows: Vec<Row>| upload(device, &[m], inputs, rows, None).await;
        let this = Self {
            attn_norm: vector(device, &layer.attn_norm, shape.hidden).await?,
            q: matrix(&layer.q, shape.hidden, pad(heads(config.heads), shape.query)).await?,
            k: matrix(&layer.k, shape.hidden, heads(config.kv_heads)).await?,
            v: matrix(&layer.v, shape.hidden, heads(config.kv_heads)).await?,
            q_norm: vector(device, &layer.q_norm, config.head_dim).await?,
            k_norm: vector(device, &layer.k_norm, config.head_dim).await?,
            o: upload(device, &[&layer.o], shape.query, plain(config.hidden, shape.hidden), columns).await?,
            ffn_norm: vector(device, &layer.ffn_norm, shape.hidden).await?,
            gate_up: {
                let rows = (0..2 * shape.feed).map(|r| {
                    let (source, row) = (r / 4 % 2, r / 8 * 4 + r % 4);
                    (row < config.intermediate).then_some((source, row))
                });
                upload(device, &[&layer.gate, &layer.up], shape.hidden, rows.collect(), None).await?
            },
            down: matrix(&layer.down, shape.feed, plain(config.hidden, shape.hidden)).await?,
        };
        device.submit(None).await;
        device.check()?;
        Ok(this)
    }

    pub(super) fn matrices(&self) -> [&Weights; 6] {
        [&self.gate_up, &self.down, &self.q, &self.k, &self.v, &self.o]
    }
}

/// Rows of heads whose size is padded.
pub(super) fn heads(count: usize, size: usize, padded: usize) -> Vec<Row> {
    (0..count * padded).map(|r| (r % padded < size).then_some((0, r / padded * size + r % padded))).collect()
}

fn pad(mut rows: Vec<Row>, len: usize) -> Vec<Row> {
    rows.resize(len, None);
    rows
}

/// `[padded]` f32.
pub(super) async fn vector(device: &Device, values: &[f32], padded: usize) -> Result<Buffer> {
    let mut values = values.to_vec();
    values.resize(padded, 0.0);
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let buffer = device.guarded(|| Buffer::storage(device, "vector", bytes.len() as u64)).await?;
    device.queue.write_buffer(&buffer.raw, 0, &bytes);
    Ok(buffer)
}

/// Uploads the rows of one or two matrices of equal width, columns moved where `columns` says so.
pub(super) async fn upload(
    device: &Device,
    sources: &[&Matrix],
    inputs: usize,
    rows: Vec<Row>,
    columns: Option<&[Row]>,
) -> Result<Weights> {
    let packer = Packer::new(sources, inputs, columns);
    let (row_bytes, scale_bytes) = packer.row_bytes();
    let most = device.limits.max_storage_buffer_binding_size.min(device.limits.max_buffer_size);
    // Whole tiles of every variant, and whole groups of gate and up.
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let per_slice = (most / row_bytes.max(scale_bytes) / 128).max(1) * 128;
    let mut slices = Vec::new();
    for first in (0..rows.len()).step_by(per_slice) {
        let rows = &rows[first..rows.len().min(first + per_slice)];
        let make = || {
            let scales =
                (scale_bytes > 0).then(|| Buffer::storage(device, "scales", (rows.len() * scale_bytes) as u64));
            (Buffer::storage(device, "weights", (rows.len() * row_bytes) as u64), scales)
        };
        let (quants, scales) = device.guarded(make).await?;
        let per_piece = (PIECE / row_bytes).max(1);
        for (i, piece) in rows.chunks(per_piece).enumerate() {
            let (q, s) = packer.pack(sources, piece, columns);
            device.queue.write_buffer(&quants.raw, (i * per_piece * row_bytes) as u64, &q);
            if let Some(scales) = &scales {
                device.queue.write_buffer(&scales.raw, (i * per_piece * scale_bytes) as u64, &s);
            }
            // Written data waits in memory until something is submitted.
            if (i + 1) % STAGED == 0 {
                device.submit(None).await;
            }
        }
        slices.push(Slice { quants, scales, first, rows: rows.len() });
    }
    Ok(Weights { store: packer.store, inputs, outputs: rows.len(), slices })
}

/// Repacks rows into a store.
pub(super) struct Packer {
    pub(super) store: Store,
    inputs: usize,
}

impl Packer {
    pub(super) fn new(sources: &[&Matrix], inputs: usize, columns: Option<&[Row]>) -> Self {
        let store = sources.iter().map(|m| Store::of(m.dtype())).reduce(Store::with).unwrap_or(Store::F32);
        let whole = sources.iter().all(|m| m.columns().is_multiple_of(32));
        let exact = columns.is_some() || (matches!(store, Store::Blocks { .. }) && !whole);
        Self { store: if exact { Store::F32 } else { store }, inputs }
    }

    /// The bytes of `rows`: their values, and their scales.
    pub(super) fn pack(&self, sources: &[&Matrix], rows: &[Row], columns: Option<&[Row]>) -> (Vec<u8>, Vec<u8>) {
        let (mut q, mut s) = (Vec::new(), Vec::new());
        rows.iter().for_each(|row| self.pack_row(sources, *row, columns, &mut q, &mut s));
        (q, s)
    }

    /// Bytes of a row's values and of its scales.
    fn row_bytes(&self) -> (usize, usize) {
        match self.store {
            Store::F32 => (4 * self.inputs, 0),
            Store::F16 | Store::BF16 => (2 * self.inputs, 0),
            Store::Blocks { bits, block, halves } => {
                let scales = self.inputs / block as usize * if halves { 4 } else { 8 };
                (self.inputs * bits as usize / 8, scales)
            }
        }
    }

    fn pack_row(&self, sources: &[&Matrix], row: Row, columns: Option<&[Row]>, q: &mut Vec<u8>, s: &mut Vec<u8>) {
        let (q_end, s_end) = (q.len() + self.row_bytes().0, s.len() + self.row_bytes().1);
        if let Some((source, row)) = row {
            let matrix = sources[source];
            match (self.store, columns) {
                (Store::F32, None) => q.extend(matrix.row(row).iter().flat_map(|v| v.to_le_bytes())),
                (Store::F32, Some(columns)) => {
                    let values = matrix.row(row);
                    let moved = columns.iter().map(|c| c.map_or(0.0, |(_, c)| values[c]));
                    q.extend(moved.flat_map(f32::to_le_bytes));
                }
                (Store::F16 | Store::BF16, _) => q.extend_from_slice(matrix.row_bytes(row)),
                (Store::Blocks { bits, block, halves }, _) => {
                    let mut quants = vec![0; matrix.columns()];
                    let mut scales = vec![[0.0; 2]; matrix.columns() / GROUP];
                    blocks::decode(matrix.dtype(), matrix.row_bytes(row), &mut quants, &mut scales);
                    pack_quants(bits, &quants, q);
                    scales.iter().step_by(block as usize / GROUP).for_each(|scale| pack_scale(halves, *scale, s));
                }
            }
        }
        q.resize(q_end, 0);
        s.resize(s_end, 0);
    }
}

fn pack_quants(bits: u32, quants: &[i8], out: &mut Vec<u8>) {
    match bits {
        4 => out.extend(quants.as_chunks::<8>().0.iter().flat_map(|q| {
            let byte = |i: usize| (q[i] | q[i + 4] << 4).cast_unsigned();
            [byte(0), byte(1), byte(2), byte(3)]
        })),
        _ => out.extend(quants.iter().map(|q| q.cast_unsigned())),
    }
}

fn pack_scale(halves: bool, scale: Scale, out: &mut Vec<u8>) {
    if halves {
        out.extend(scale.into_iter().flat_map(|v| half::f16::from_f32(v).to_le_bytes()));
    } else {
        out.extend(scale.into_iter().flat_map(f32::to_le_bytes));
    }
}
