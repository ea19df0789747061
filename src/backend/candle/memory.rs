//! What a batch takes on a device, and how many rows a given amount of memory holds.
//!
//! T rows in the batch, C in a chunk; all of it is freed after the batch. Numbers of the computing type take `a` bytes.

use super::place::{Place, free_bytes};
use crate::{
    error::{Error, ErrorKind, Result},
    model::Config,
};

/// Rows in a chunk: products of so many rows reach what a card can do; twice as many would only take twice the memory.
pub(super) const CHUNK: usize = 4096;
/// Rows that a batch should have: below a second of work for the largest model on a large card, so that first scores come early.
const BATCH: [u64; 2] = [8192, 32_768];
/// Multiply-adds of a batch.
const BATCH_WORK: u64 = 57_000_000_000_000;
/// The fewest rows that are of use: a query and a long passage.
const FEWEST_ROWS: u64 = 1024;
/// Rows where nobody knows how much memory is free: the processor.
const HOST_ROWS: usize = 1 << 20;
/// The part of the free memory that is left to others: cuBLAS's own, what lies between allocations.
const LEFT: u64 = 8;
/// Bytes for kept prefixes, and the part of the free memory that they may take at most.
const KEPT: u64 = 512 << 20;
const KEPT_PART: u64 = 16;

/// About how many bytes a batch of `rows` rows takes on each device, in a computing type of `a` bytes.
pub fn batch_bytes(config: &Config, rows: u64, a: u64) -> u64 {
    rows * row_bytes(config, a) + rows.min(CHUNK as u64) * chunk_row_bytes(config, a)
}

/// Bytes of the weights: matrices of `bits` bits a number, embeddings among them, and norms.
pub fn weight_bytes(config: &Config, bits: f64) -> u64 {
    let matrices = config.layer_parameters() + (config.vocabulary * config.hidden) as u64;
    (matrices as f64 * bits / 8.0) as u64
}

/// Of every row: the residual; its key and value; the angles of its position; its embedding and the residual's copy when they are made.
fn row_bytes(c: &Config, a: u64) -> u64 {
    let (h, kv, d) = (c.hidden as u64, c.kv_width() as u64, c.head_dim as u64);
    4 * h + 2 * a * kv + 4 * d + (a + 4) * h
}

/// Of every row of a chunk: what is normed, its queries before and after attention, a product for the residual, its gates, their values and what
/// becomes of both. Quantised products take and give f32 beside.
fn chunk_row_bytes(c: &Config, a: u64) -> u64 {
    let (h, q, f) = (c.hidden as u64, c.q_width() as u64, c.intermediate as u64);
    a * (2 * h + 2 * q + 3 * f) + 8 * f
}

/// Whole chunks: a short one reads the weights for little.
fn good_rows(config: &Config) -> u64 {
    let chunk = CHUNK as u64;
    let rows = (BATCH_WORK / config.layer_parameters()).clamp(BATCH[0], BATCH[1]);
    (rows + chunk / 2) / chunk * chunk
}

/// Rows in a chunk of a batch of `rows` rows: chunks of one size, of whole tiles of a product.
pub(super) fn chunk(rows: usize) -> usize {
    const TILE: usize = 128;
    rows.div_ceil(rows.div_ceil(CHUNK).max(1)).next_multiple_of(TILE)
}

/// What a device has memory for beside the weights.
pub(super) struct Room {
    /// Rows that a batch should have.
    pub(super) should: usize,
    /// Rows that it can have.
    pub(super) can: usize,
    /// Bytes for the keys and values of kept prefixes.
    pub(super) kept: u64,
}

/// The room on the fullest of `places`, for numbers of `a` bytes.
///
/// # Errors
/// `oom` if it is too little for a query and a passage; what asking a card gives.
pub(super) fn room(config: &Config, a: u64, places: &[Place]) -> Result<Room> {
    let should = good_rows(config);
    let mut least: Option<u64> = None;
    for &place in places {
        let free = free_bytes(place)?;
        least = least.into_iter().chain(free).min();
    }
    let Some(free) = least else { return Ok(Room { should: should as usize, can: HOST_ROWS, kept: KEPT }) };
    let kept = KEPT.min(free / KEPT_PART);
    let room = free - free / LEFT - kept;
    let chunk = CHUNK as u64 * chunk_row_bytes(config, a);
    let small = room / (row_bytes(config, a) + chunk_row_bytes(config, a));
    let can = room.saturating_sub(chunk) / row_bytes(config, a);
    let can = if can < CHUNK as u64 { small } else { can };
    if can < FEWEST_ROWS {
        let what = format!("{} MB of the card's memory are free beside the weights", free >> 20);
        return Err(Error::new(ErrorKind::OutOfMemory, what).hint(format!(
            "{} MB are the least; use a model of fewer bits, or a larger card",
            batch_bytes(config, FEWEST_ROWS, a) >> 20
        )));
    }
    let [should, can] = [should.min(can), can.min(1 << 30)].map(|n| n as usize);
    Ok(Room { should, can, kept })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table in docs/cuda.md.
    #[test]
    fn counts_the_published_sizes() {
        let shape = |hidden, intermediate, layers, heads| Config {
            hidden,
            intermediate,
            layers,
            heads,
            kv_heads: 8,
            head_dim: 128,
            vocabulary: 151_669,
            rope_theta: 1e6,
            rms_eps: 1e-6,
            context: 40_960,
        };
        let tenths = |bytes: u64| (bytes as f64 / 1e8).round() / 10.0;
        let sizes = [shape(1024, 3072, 28, 16), shape(2560, 9728, 36, 32), shape(4096, 12_288, 36, 32)];
        let table = sizes.map(|c| {
            let rows = good_rows(&c);
            (tenths(weight_bytes(&c, 16.0)), rows, tenths(batch_bytes(&c, rows, 2)))
        });
        assert_eq!(table, [(1.2, 32_768, 0.7), (8.0, 16_384, 1.2), (15.1, 8192, 1.2)]);
    }

    #[test]
    fn chunks_are_alike() {
        for (rows, want) in [(1, 128), (4096, 4096), (4097, 2176), (8192, 4096), (8206, 2816), (32_091, 4096)] {
            assert_eq!(chunk(rows), want, "{rows} rows");
            assert!(chunk(rows) <= CHUNK);
        }
    }
}
