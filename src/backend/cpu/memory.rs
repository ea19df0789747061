//! What a batch takes in memory, and how many rows a given amount of it holds.

use super::{WASM, batch_rows};
use crate::{
    error::{Error, Result},
    model::Config,
    weights::{Lookup, ModelFile},
};

/// Rows in a chunk: enough to make reading the weights cheap, few enough to keep the wide buffers small.
pub(super) const CHUNK: usize = 1024;
/// The same where memory is scarce.
const SMALL_CHUNK: usize = 256;
/// The fewest rows of a pass over the weights: a query and a passage.
const FEWEST_ROWS: u64 = 512;
/// What the program itself takes: its data, stack and code's tables.
const PROGRAM: u64 = if WASM { 5 << 20 } else { 12 << 20 };
/// The part of all memory that a request's texts and ids may take.
const TEXTS_SHARE: u64 = 24;
/// What a further thread takes: its stack, and what it computes on.
const THREAD: u64 = 5 << 19;
/// Bytes of a tokeniser for each token: texts, numbers and merges, each in a map.
const TOKEN: u64 = if WASM { 110 } else { 190 };

/// About how many bytes a full batch takes beside resident weights.
pub fn working_bytes(config: &Config) -> u64 {
    let rows = batch_rows(config);
    rows as u64 * row_bytes(config) + chunk_bytes(config, CHUNK.min(rows))
}

/// Of every row: the residual, its key and its value, the angles of its position.
fn row_bytes(c: &Config) -> u64 {
    4 * (c.hidden + 2 * c.kv_width() + c.head_dim) as u64
}

/// Of a chunk: what is normed, its queries, its gates, and the input of a product in 16 bits.
fn chunk_bytes(c: &Config, rows: usize) -> u64 {
    4 * (rows * (c.hidden + c.q_width() + c.intermediate + c.intermediate.max(c.q_width()) / 2)) as u64
}

/// Says whether `memory` bytes in all are enough to stream the weights of `file` on so many threads.
///
/// # Errors
/// `bad-input` if they are not, saying how many are.
pub fn check_memory(file: &ModelFile, memory: u64, threads: usize) -> Result<()> {
    Frame::within(memory, file, threads).map(|_| ())
}

/// How an executor goes about with memory.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    /// Rows in a chunk.
    pub(super) chunk: usize,
    /// The most rows of a batch, where there is a limit.
    pub(super) rows: Option<usize>,
}

impl Frame {
    /// With all weights in memory.
    pub(super) const RESIDENT: Self = Self { chunk: CHUNK, rows: None };

    /// For streamed weights of `file`, `memory` bytes in all and so many threads.
    ///
    /// # Errors
    /// `bad-input` if that is too little, saying how much it takes.
    pub(super) fn within(memory: u64, file: &ModelFile, threads: usize) -> Result<Self> {
        let c = &file.config;
        let (layer, largest) = (0..c.layers)
            .map(|i| file.layer_bytes(i))
            .fold((0, 0), |(a, b), [layer, matrix]| (a.max(layer), b.max(matrix)));
        // Packed weights are up to a quarter larger than k-quants; a matrix is there twice while it is packed.
        let fixed = PROGRAM
            + THREAD * threads.saturating_sub(1) as u64
            + TOKEN * c.vocabulary as u64
            + layer * 5 / 4
            + 2 * largest
            + Lookup::BYTES
            + chunk_bytes(c, SMALL_CHUNK);
        // Every row may bring an embedding row of its own.
        let row = row_bytes(c) + file.embedding_row()?.1 + 64;
        let rows = (memory - memory / TEXTS_SHARE).saturating_sub(fixed) / row;
        if rows < FEWEST_ROWS {
            let least = ((fixed + FEWEST_ROWS * row) * TEXTS_SHARE / (TEXTS_SHARE - 1)).div_ceil(1 << 20) + 1;
            return Err(Error::bad_input(format!("{} MB are too few to stream this model", memory >> 20))
                .hint(format!("give it {least} MB or more")));
        }
        Ok(Self { chunk: SMALL_CHUNK, rows: Some(rows as usize) })
    }
}
