//! Prompts of several requests, scored together.

use std::ops::Range;

use super::{Request, Reranker, prefixes::Prefixes, spell};
use crate::{
    backend::Pace,
    error::Result,
    model::Logits,
    plan::{Batch, Before, pack},
};

/// The prompts of one query's documents as token ids, ready to be scored.
#[derive(Clone, Debug, Default)]
pub struct Prompts {
    /// The leading ids that all have in common.
    pub shared: Vec<u32>,
    /// The ids behind them, one list a document: at least one.
    pub own: Vec<Vec<u32>>,
    /// Which documents were cut.
    pub truncated: Vec<bool>,
}

impl Prompts {
    /// Tokens of a document's whole prompt.
    pub fn tokens(&self, document: usize) -> usize {
        self.shared.len() + self.own[document].len()
    }

    /// Tokens that are computed: the shared ones once.
    pub fn computed(&self) -> usize {
        self.shared.len() + self.own.iter().map(Vec::len).sum::<usize>()
    }
}

/// Some of one query's documents.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    /// Of all its documents.
    pub prompts: &'a Prompts,
    /// Which.
    pub documents: Range<usize>,
}

/// The documents of all parts that have one prefix.
struct Group<'a> {
    shared: &'a [u32],
    own: Vec<&'a [u32]>,
}

impl Reranker {
    /// Spells a request's prompts without scoring them.
    ///
    /// # Errors
    /// `too-long`, `bad-input`, or `aborted`.
    pub async fn spell(&self, request: &Request<'_>, pace: &dyn Pace) -> Result<Prompts> {
        let spelling = spell(&self.tokenizer, self.info.context_length, request, pace).await?;
        self.check_fits(&spelling)?;
        let (own, truncated) = spelling.prompts.into_iter().map(|p| (p.own, p.truncated)).unzip();
        Ok(Prompts { shared: spelling.shared, own, truncated })
    }

    /// The most rows that should go through the model together, among them the `shared` rows of a prefix.
    pub fn rows_at_once(&self, shared: usize) -> usize {
        self.backend.batch_rows(shared)
    }

    /// Keeps the keys and values of the prefixes used last, within so many bytes.
    pub fn keep_prefixes(&mut self, bytes: u64) {
        let rows = bytes.min(self.backend.kept_bytes()) / self.info.kept_row_bytes();
        self.kept = Prefixes::of(rows as usize).into();
    }

    /// Whether the keys and values of this prefix are kept.
    pub fn keeps(&self, shared: &[u32]) -> bool {
        self.prefixes().holds(shared)
    }

    /// The logits of some documents of several queries, a list a part, in one pass over the weights. Scores are those
    /// of each query by itself, on the CPU to the last bit. What was computed of a prefix is kept, as [`Self::keep_prefixes`] says.
    ///
    /// # Errors
    /// `oom`, `aborted`, `device-lost`, or `bad-model` for a logit that is no number.
    pub async fn score_together(&self, parts: &[Part<'_>], pace: &dyn Pace) -> Result<Vec<Vec<Logits>>> {
        let mut groups: Vec<Group> = Vec::new();
        let mut places = Vec::new();
        for part in parts.iter().filter(|p| !p.documents.is_empty()) {
            let shared = &part.prompts.shared[..];
            let at = groups.iter().position(|g| g.shared == shared).unwrap_or_else(|| {
                groups.push(Group { shared, own: Vec::new() });
                groups.len() - 1
            });
            let own = &mut groups[at].own;
            let first = own.len();
            own.extend(part.prompts.own[part.documents.clone()].iter().map(Vec::as_slice));
            places.push((at, first..own.len()));
        }
        let most = self.prefixes().most();
        let mut known = Vec::new();
        let mut kept = Vec::new();
        let mut batches: Vec<Batch> = Vec::new();
        for group in &groups {
            let found = self.prefixes().take(group.shared);
            let before = if found.is_some() { Before::Known } else { Before::Wanted };
            known.push(found.is_some());
            kept.push(found.unwrap_or_default());
            batches.extend(pack(group.shared, &group.own, usize::MAX, most, before));
        }
        let result = self.backend.logits_together(&batches, &mut kept, pace).await;
        for ((group, kept), known) in groups.iter().zip(kept).zip(known) {
            if known || result.is_ok() {
                self.prefixes().put(group.shared.to_vec(), kept);
            }
        }
        let logits = result?;
        let mut lists = places.into_iter().map(|(at, documents)| logits[at][documents].to_vec());
        let of_part = |p: &Part| if p.documents.is_empty() { Vec::new() } else { lists.next().unwrap_or_default() };
        Ok(parts.iter().map(of_part).collect())
    }
}
