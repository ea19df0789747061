//! Several replicas of a model, each on devices of its own: the sequences of all batches are shared out, and each replica takes its share in one pass.

use std::thread;

use futures::executor::block_on;

use super::{Candle, Kept};
use crate::{
    backend::{Backend, KeptPrefix, Pace},
    error::{Error, ErrorKind, Result},
    model::Logits,
    plan::{Batch, Prefix, Share, shares},
    weights::BoxFuture,
};

/// One model several times.
pub struct Replicas {
    replicas: Vec<Candle>,
}

impl Replicas {
    /// # Errors
    /// `bad-input` for none.
    pub fn new(replicas: Vec<Candle>) -> Result<Self> {
        if replicas.is_empty() {
            return Err(Error::bad_input("no replica to compute with"));
        }
        Ok(Self { replicas })
    }

    /// Makes room for what is kept, and brings kept prefixes to the replicas that need them: now, while none has work that the copy would wait for.
    fn prepare(&self, batches: &[Batch], kept: &mut [KeptPrefix], shares: &[Share]) -> Result<()> {
        for (batch, kept) in batches.iter().zip(&mut *kept) {
            if batch.prefix == Prefix::Keep {
                kept.replicas.clear();
            }
            kept.replicas.resize_with(self.replicas.len(), Kept::default);
        }
        for (at, share) in shares.iter().enumerate() {
            for &i in share.of.iter().filter(|&&i| batches[i].prefix == Prefix::Kept) {
                let of_replicas = &mut kept[i].replicas;
                if of_replicas[at].is_empty() {
                    let known = of_replicas.iter().find(|k| !k.is_empty());
                    let known = known.expect("a prefix is known where a replica has kept it");
                    of_replicas[at] = self.replicas[at].adopt(known)?;
                }
            }
        }
        Ok(())
    }
}

impl Backend for Replicas {
    fn device(&self) -> &str {
        self.replicas[0].device()
    }

    fn kept_bytes(&self) -> u64 {
        self.replicas.iter().map(Backend::kept_bytes).min().unwrap_or(0)
    }

    /// Enough for all.
    fn batch_rows(&self, shared: usize) -> usize {
        self.replicas.iter().map(|r| r.batch_rows(shared)).min().unwrap_or(0).saturating_mul(self.replicas.len())
    }

    fn most_rows(&self) -> Option<usize> {
        self.replicas.iter().filter_map(Backend::most_rows).min()
    }

    fn logits_together<'a>(
        &'a self,
        batches: &'a [Batch],
        kept: &'a mut [KeptPrefix],
        pace: &'a dyn Pace,
    ) -> BoxFuture<'a, Result<Vec<Vec<Logits>>>> {
        Box::pin(async move {
            let shares = shares(batches, self.replicas.len());
            self.prepare(batches, kept, &shares)?;
            // What each share's batches keep, in the order of its batches.
            let mut of_shares: Vec<Vec<&mut Kept>> = shares.iter().map(|s| Vec::with_capacity(s.of.len())).collect();
            for (i, kept) in kept.iter_mut().enumerate() {
                for ((share, of_share), kept) in shares.iter().zip(&mut of_shares).zip(&mut kept.replicas) {
                    if share.of.contains(&i) {
                        of_share.push(kept);
                    }
                }
            }
            let results: Vec<Result<Vec<Vec<Logits>>>> = thread::scope(|scope| {
                let work = shares.iter().zip(&self.replicas).zip(of_shares);
                let workers: Vec<_> = work
                    .map(|((share, replica), kept)| scope.spawn(|| block_on(replica.run(&share.batches, kept, pace))))
                    .collect();
                workers.into_iter().map(|w| w.join().unwrap_or_else(|_| Err(panicked()))).collect()
            });
            let mut all: Vec<Vec<Logits>> = batches.iter().map(|b| Vec::with_capacity(b.spans.len())).collect();
            for (share, result) in shares.iter().zip(results) {
                for (&i, logits) in share.of.iter().zip(result?) {
                    all[i].extend(logits);
                }
            }
            Ok(all)
        })
    }
}

fn panicked() -> Error {
    Error::new(ErrorKind::DeviceLost, "a replica ended unexpectedly").hint("see standard error for what it said")
}
