//! Several replicas of a model, each on devices of its own: the sequences of a batch are shared out.

use std::thread;

use futures::executor::block_on;

use crate::{
    backend::{Backend, KeptPrefix, Pace},
    error::{Error, ErrorKind, Result},
    model::Logits,
    plan::{Batch, Prefix, Span},
    weights::BoxFuture,
};

/// Backends that answer alike.
pub struct Replicas {
    backends: Vec<Box<dyn Backend>>,
}

impl Replicas {
    /// # Errors
    /// `bad-input` for none.
    pub fn new(backends: Vec<Box<dyn Backend>>) -> Result<Self> {
        if backends.is_empty() {
            return Err(Error::bad_input("no replica to compute with"));
        }
        Ok(Self { backends })
    }
}

/// `batch` in at most `count` batches of about equally many rows, its sequences in their order. Each has the prefix that `batch` has: where that
/// is computed, each computes it.
pub fn shares(batch: &Batch, count: usize) -> Vec<Batch> {
    let prefix = batch.prefix_rows();
    let total = batch.tokens.len() - prefix;
    let mut shares: Vec<Batch> = Vec::new();
    let mut done = 0;
    for span in &batch.spans {
        // A sequence goes where its middle lies.
        let share = (2 * done + span.rows.len()) * count / (2 * total.max(1));
        done += span.rows.len();
        if shares.is_empty() || share >= shares.len() {
            shares.push(Batch {
                tokens: batch.tokens[..prefix].to_vec(),
                positions: batch.positions[..prefix].to_vec(),
                spans: Vec::new(),
                shared: batch.shared,
                prefix: batch.prefix,
            });
        }
        let to = shares.last_mut().expect("one was pushed");
        let start = to.tokens.len();
        to.tokens.extend_from_slice(&batch.tokens[span.rows.clone()]);
        to.positions.extend_from_slice(&batch.positions[span.rows.clone()]);
        to.spans.push(Span { rows: start..to.tokens.len(), shared: span.shared });
    }
    shares
}

impl Backend for Replicas {
    fn device(&self) -> &str {
        self.backends[0].device()
    }

    fn kept_bytes(&self) -> u64 {
        self.backends[0].kept_bytes()
    }

    fn batch_rows(&self, shared: usize) -> usize {
        self.backends.iter().map(|b| b.batch_rows(shared)).min().unwrap_or(0).saturating_mul(self.backends.len())
    }

    fn most_rows(&self) -> Option<usize> {
        self.backends.iter().filter_map(|b| b.most_rows()).min()
    }

    fn logits<'a>(
        &'a self,
        batch: &'a Batch,
        kept: &'a mut KeptPrefix,
        pace: &'a dyn Pace,
    ) -> BoxFuture<'a, Result<Vec<Logits>>> {
        Box::pin(async move {
            let mut shares = shares(batch, self.backends.len());
            if batch.prefix == Prefix::Keep && !kept.replicas.is_empty() {
                kept.replicas.clear();
            }
            kept.replicas.resize_with(self.backends.len(), KeptPrefix::default);
            // A batch of few sequences leaves replicas without the prefix, which later batches expect everywhere: they get it from a sequence that is
            // asked twice.
            if batch.prefix == Prefix::Keep {
                while shares.len() < self.backends.len() {
                    shares.push(shares[0].clone());
                }
            }
            let asked = batch.spans.len();
            let results: Vec<Result<Vec<Logits>>> = thread::scope(|scope| {
                let workers: Vec<_> = shares
                    .iter()
                    .zip(&self.backends)
                    .zip(&mut kept.replicas)
                    .map(|((share, backend), kept)| scope.spawn(move || block_on(backend.logits(share, kept, pace))))
                    .collect();
                workers.into_iter().map(|w| w.join().unwrap_or_else(|_| Err(panicked()))).collect()
            });
            let mut logits = Vec::with_capacity(asked);
            for result in results {
                logits.extend(result?);
            }
            logits.truncate(asked);
            Ok(logits)
        })
    }
}

fn panicked() -> Error {
    Error::new(ErrorKind::DeviceLost, "a replica ended unexpectedly").hint("see standard error for what it said")
}
