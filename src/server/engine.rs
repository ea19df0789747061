//! What the server asks of whatever scores: a model, or arithmetic in tests.

use std::sync::{Arc, Mutex, PoisonError};

use futures::executor::block_on;

use crate::{
    backend::Pace,
    error::Result,
    model::{Logits, Template},
    rerank::{Part, Prompts, Request, Reranker},
};

/// What the server says of the model.
#[derive(Clone, Debug)]
pub struct EngineInfo {
    /// The name that replies give.
    pub name: String,
    /// The element type of most weights.
    pub quantization: String,
    /// How many weights there are.
    pub parameters: u64,
    /// Positions.
    pub context_length: usize,
    /// What computes.
    pub device: String,
    /// Differs between any two engines whose scores may differ.
    pub identity: String,
}

/// What to spell: the documents of one query.
#[derive(Clone, Debug)]
pub struct Spell {
    /// The query.
    pub query: String,
    /// The documents.
    pub documents: Vec<String>,
    /// The instruction, the same for all queries of a request; the engine's own, if none.
    pub instruction: Option<Arc<str>>,
    /// Bound on the tokens of a whole prompt.
    pub max_length: usize,
}

/// Turns texts into tokens, and tokens into scores. Spelling goes on in several threads at once, scoring in one.
pub trait Engine: Send + Sync {
    /// What this is.
    fn info(&self) -> EngineInfo;

    /// The prompts' token ids.
    ///
    /// # Errors
    /// `too-long`, `bad-input`, or `aborted` by `pace`.
    fn spell(&self, texts: &Spell, pace: &dyn Pace) -> Result<Prompts>;

    /// The most rows that should go through the model together, among them `shared` of a long prefix.
    fn rows(&self, shared: usize) -> usize;

    /// Whether the keys and values of this prefix are at hand.
    fn knows(&self, shared: &[u32]) -> bool;

    /// The logits of some documents of each part, a list a part.
    ///
    /// # Errors
    /// As the model fails, or `aborted` by `pace`.
    fn score(&self, parts: &[Part<'_>], pace: &dyn Pace) -> Result<Vec<Vec<Logits>>>;
}

/// A loaded model as an engine.
pub struct Model {
    reranker: Reranker,
    template: Template,
    instruction: Option<String>,
    parse_special: bool,
    /// The most rows at once, where that is less than the backend likes best.
    most: usize,
    /// Held while texts are spelled, where the memory is for one request's.
    alone: Mutex<()>,
}

impl Model {
    /// Of `how`, the form of the prompt, the instruction (for requests that bring none of their own) and the reading of control tokens are taken.
    pub fn new(reranker: Reranker, how: &Request<'_>) -> Self {
        let Request { template, instruction, parse_special, .. } = how;
        let instruction = instruction.map(str::to_owned);
        Self {
            reranker,
            template: *template,
            instruction,
            parse_special: *parse_special,
            most: usize::MAX,
            alone: Mutex::default(),
        }
    }

    /// Takes at most so many rows at once: the backend's own choice is made for the throughput of one request, and all others wait for its end.
    #[must_use]
    pub fn at_once(mut self, rows: usize) -> Self {
        self.most = rows;
        self
    }
}

impl Engine for Model {
    fn info(&self) -> EngineInfo {
        let info = self.reranker.info();
        let asked = (&self.template, &self.instruction, self.parse_special);
        let identity = [&info.fingerprint, &info.device, env!("CARGO_PKG_VERSION"), &format!("{asked:?}")].join("\n");
        EngineInfo {
            name: info.name.clone(),
            quantization: info.quantization.into(),
            parameters: info.parameters,
            context_length: info.context_length,
            device: info.device.clone(),
            identity,
        }
    }

    fn spell(&self, texts: &Spell, pace: &dyn Pace) -> Result<Prompts> {
        let request = Request {
            query: &texts.query,
            documents: texts.documents.iter().map(String::as_str).collect(),
            instruction: texts.instruction.as_deref().or(self.instruction.as_deref()),
            template: self.template,
            max_length: Some(texts.max_length),
            parse_special: self.parse_special,
            keep_prefix: true,
        };
        let streams = self.reranker.info().streaming.is_some();
        let _alone = streams.then(|| self.alone.lock().unwrap_or_else(PoisonError::into_inner));
        block_on(self.reranker.spell(&request, pace))
    }

    fn rows(&self, shared: usize) -> usize {
        // Documents behind a long prefix share it among more of them.
        self.reranker.rows_at_once(shared).min(self.most.max(2 * shared))
    }

    fn knows(&self, shared: &[u32]) -> bool {
        self.reranker.keeps(shared)
    }

    fn score(&self, parts: &[Part<'_>], pace: &dyn Pace) -> Result<Vec<Vec<Logits>>> {
        block_on(self.reranker.score_together(parts, pace))
    }
}
