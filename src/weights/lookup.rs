//! Rows of a matrix that stays in its file: those that somebody asks for are read, and the last ones kept.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Mutex, PoisonError},
};

use futures::{StreamExt, TryStreamExt, stream};

use super::ModelFile;
use crate::{
    error::{Error, ErrorKind, Result},
    model::Role,
};

/// Rows no further apart than this many bytes are read by one request: a request costs about as much as reading them.
const GAP: u64 = 64 << 10;
/// Requests for the rows of one batch. Edge runtimes count them: more rows than that are read with what lies between.
const MOST_SPANS: usize = 256;
/// Bytes of one request, and requests under way.
const PIECE: u64 = 512 << 10;
const AT_ONCE: usize = 6;
/// Bytes of rows that are kept for the next batch.
const KEPT: usize = 4 << 20;

/// The rows of the embedding matrix, read when they are needed.
#[derive(Default)]
pub struct Lookup {
    /// The file's bytes of a row, by its number.
    rows: Mutex<HashMap<u32, Box<[u8]>>>,
}

impl Lookup {
    /// What is taken besides the rows of a batch.
    pub const BYTES: u64 = (KEPT as u64).saturating_add(PIECE.saturating_mul(AT_ONCE as u64));

    /// `[tokens, H]` embedding rows of `tokens`, into `out`.
    ///
    /// # Errors
    /// `bad-input` for a token that the model does not have, `download` or `bad-model` as met.
    pub async fn embed(&self, file: &ModelFile, tokens: &[u32], out: &mut [f32]) -> Result<()> {
        let vocabulary = file.config.vocabulary;
        if let Some(token) = tokens.iter().find(|&&t| t as usize >= vocabulary) {
            return Err(Error::new(ErrorKind::BadInput, format!("token id {token} of a vocabulary of {vocabulary}")));
        }
        // Taken out while files are read; a call that runs beside this one reads for itself.
        let mut rows = std::mem::take(&mut *self.rows.lock().unwrap_or_else(PoisonError::into_inner));
        let mut missing: Vec<u32> = tokens.iter().copied().filter(|t| !rows.contains_key(t)).collect();
        missing.sort_unstable();
        missing.dedup();
        let (dtype, row) = file.embedding_row()?;
        let reads = spans(&missing, row).into_iter().map(|span| async move {
            let matrix = file.rows(Role::Embedding, span.start as usize..span.end as usize).await?;
            Ok::<_, Error>((span, matrix))
        });
        let mut reads = stream::iter(reads).buffered(AT_ONCE);
        while let Some((span, matrix)) = reads.try_next().await? {
            let wanted = &missing[missing.partition_point(|&t| t < span.start)..];
            for &token in wanted.iter().take_while(|&&t| t < span.end) {
                rows.insert(token, matrix.row_bytes(token.wrapping_sub(span.start) as usize).into());
            }
        }
        for (token, out) in tokens.iter().zip(out.chunks_exact_mut(file.config.hidden)) {
            dtype.unpack(&rows[token], out)?;
        }
        if (rows.len() as u64).saturating_mul(row) <= KEPT as u64 {
            *self.rows.lock().unwrap_or_else(PoisonError::into_inner) = rows;
        }
        Ok(())
    }
}

/// Ranges of rows that hold all of `ids` (ascending, each once), for rows of `row` bytes.
fn spans(ids: &[u32], row: u64) -> Vec<Range<u32>> {
    let skipped = |pair: &[u32]| u64::from(pair[1].wrapping_sub(pair[0]).wrapping_sub(1)).saturating_mul(row);
    // The widest gap that is read over.
    let mut gaps: Vec<u64> = ids.windows(2).map(skipped).filter(|&gap| gap > GAP).collect();
    gaps.sort_unstable();
    let gap = gaps.len().checked_sub(MOST_SPANS).and_then(|i| gaps.get(i)).copied().unwrap_or(GAP);
    let rows = u32::try_from(PIECE.checked_div(row).unwrap_or(1)).unwrap_or(u32::MAX).max(1);
    let mut spans = Vec::new();
    for near in ids.chunk_by(|&a, &b| skipped(&[a, b]) <= gap) {
        let (Some(&first), Some(&last)) = (near.first(), near.last()) else { continue };
        let mut start = first;
        while start <= last {
            let end = last.saturating_add(1).min(start.saturating_add(rows));
            spans.push(start..end);
            start = end;
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_rows_are_read_together() {
        assert_eq!(spans(&[], 1000), []);
        let one = |range: Range<u32>| [range];
        assert_eq!(spans(&[7], 1000), one(7..8));
        assert_eq!(spans(&[1, 2, 30, 100], 1000), [1..31, 100..101]);
        // The last rows that numbers can name.
        assert_eq!(spans(&[u32::MAX - 1], 1 << 40), one(u32::MAX - 1..u32::MAX));
    }

    #[test]
    fn a_read_has_an_end() {
        let all: Vec<u32> = (0..2000).collect();
        let cut = spans(&all, 1024);
        assert_eq!(cut.iter().map(|s| s.len()).sum::<usize>(), 2000);
        assert!(cut.iter().all(|s| s.len() as u64 * 1024 <= PIECE) && cut.windows(2).all(|w| w[0].end == w[1].start));
    }

    #[test]
    fn many_far_rows_share_requests() {
        let far: Vec<u32> = (0..1000).map(|i| i * 100 + (i % 7)).collect();
        let cut = spans(&far, 1024);
        let whole: Vec<u32> = far.iter().copied().filter(|t| cut.iter().any(|s| s.contains(t))).collect();
        assert_eq!(whole, far);
        // Cutting long ones adds a few.
        assert!(cut.len() < 2 * MOST_SPANS, "{} requests", cut.len());
    }
}
