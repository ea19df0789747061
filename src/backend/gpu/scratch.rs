//! The buffers that a batch needs, kept from one request to the next.

use super::{
    device::{Device, out_of_memory},
    memory::Buffer,
    weights::Shape,
};
use crate::error::Result;

/// Sizes of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// T
    pub(super) rows: usize,
    /// P: rows of kept prefixes.
    pub(super) kept: usize,
    /// S
    pub(super) sequences: usize,
    /// C
    pub(super) chunk: usize,
    /// Largest position + 1.
    pub(super) positions: usize,
    /// Tiles of all attention steps.
    pub(super) tiles: usize,
}

/// One buffer each, as large as the largest batch so far needed.
#[derive(Default)]
pub(super) struct Scratch {
    /// Positions whose angles were written.
    pub(super) angles: usize,
    buffers: [Option<Buffer>; Place::COUNT],
}

/// What a buffer is for; f32 unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `[T, H]`
    Residual,
    /// `[S, H]`
    Last,
    /// `[C or S, H]`
    Normed,
    /// `[C, heads * D]`
    Query,
    /// `[P + T, kv_heads * D]`: those of the kept prefixes first.
    Key,
    /// `[P + T, kv_heads * D]`
    Value,
    /// `[C, F]`
    Gate,
    /// `[C, widest input]` bytes: the input of a product with 8-bit activations.
    Bytes,
    /// `[C, widest input / 16]` pairs: the scales of `Bytes`.
    Scales,
    /// `[T + S]` u32: every row's position, then every last row's.
    Positions,
    /// `[positions, D / 2]` pairs: cosines and sines.
    Angles,
    /// `[tiles]` of six u32: what attention works on.
    Tiles,
    /// Bound where a kernel's variant has no use for a binding.
    Nothing,
}

impl Place {
    const COUNT: usize = Self::Nothing as usize + 1;
    const ALL: [Self; Self::COUNT] = [
        Self::Residual,
        Self::Last,
        Self::Normed,
        Self::Query,
        Self::Key,
        Self::Value,
        Self::Gate,
        Self::Bytes,
        Self::Scales,
        Self::Positions,
        Self::Angles,
        Self::Tiles,
        Self::Nothing,
    ];

    fn bytes(self, shape: &Shape, half: usize, s: Sizes) -> u64 {
        let widest = shape.hidden.max(shape.query).max(shape.feed);
        let words = match self {
            Self::Residual => s.rows * shape.hidden,
            Self::Last => s.sequences * shape.hidden,
            Self::Normed => s.chunk * shape.hidden,
            Self::Query => s.chunk * shape.query,
            Self::Key | Self::Value => (s.kept + s.rows) * shape.kv,
            Self::Gate => s.chunk * shape.feed,
            Self::Bytes => s.chunk * widest / 4,
            Self::Scales => s.chunk * widest / 8,
            Self::Positions => s.rows + s.sequences,
            Self::Angles => 2 * s.positions * half,
            Self::Tiles => 6 * s.tiles,
            Self::Nothing => 4,
        };
        4 * words as u64
    }
}

impl Scratch {
    /// Makes room for a batch. True if a buffer was replaced.
    ///
    /// # Errors
    /// `oom` if a buffer is larger than the adapter binds, or than its memory.
    pub(super) async fn fit(&mut self, device: &Device, shape: &Shape, half: usize, sizes: Sizes) -> Result<bool> {
        let most = device.limits.max_storage_buffer_binding_size.min(device.limits.max_buffer_size);
        let mut replaced = false;
        for place in Place::ALL {
            let bytes = place.bytes(shape, half, sizes);
            let slot = &mut self.buffers[place as usize];
            if slot.as_ref().is_some_and(|b| b.bytes() >= bytes) {
                continue;
            }
            if bytes > most {
                let (rows, most) = (sizes.rows, most >> 20);
                return Err(out_of_memory(format!(
                    "{rows} tokens at once need a buffer of over {most} MiB on this GPU"
                )));
            }
            // The old one first: both may be too much.
            *slot = None;
            if place == Place::Angles {
                self.angles = 0;
            }
            replaced = true;
            *slot = Some(device.guarded(|| Buffer::storage(device, &format!("{place:?}"), bytes)).await?);
        }
        Ok(replaced)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.buffers.iter().flatten().map(Buffer::bytes).sum()
    }

    pub(super) fn get(&self, place: Place) -> &Buffer {
        self.buffers[place as usize].as_ref().expect("fitted before use")
    }
}
