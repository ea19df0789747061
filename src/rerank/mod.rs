//! The product: a loaded model that scores the documents of a request.

mod device;
mod info;
#[cfg(feature = "cli")]
pub mod lexical;
pub mod metrics;
mod prefixes;
mod prompts;
mod rank;

use std::sync::{Mutex, MutexGuard, PoisonError};

use web_time::Instant;

#[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
pub use device::gpu_for;
pub use device::{Cards, check_device};
pub use info::{ModelInfo, Streaming};
use prefixes::Prefixes;
pub use prompts::{Part, Prompts};
pub use rank::{
    Billed, Meta, MetaTokens, RankOptions, Ranked, Reply, ReplyDocument, ReplyResult, Usage, Version, rank, reply,
};

use crate::{
    backend::{Backend, Pace, cpu::check_memory},
    error::{Error, ErrorKind, Place, Result},
    model::{DEFAULT_INSTRUCTION, DEFAULT_MAX_LENGTH, Logits, Template},
    plan::{Before, pack},
    text::{Asked, Prompt, Speller, Spelling, Tokenizer},
    weights::{ModelFile, SourceFile},
};

/// The most bytes of one text. A longer document would be cut to the maximum length anyway, but must first be held and walked.
const LONGEST_TEXT: usize = 64 << 20;

/// Parts of the memory for streaming that a request's texts may take: what the tokeniser takes at once (it needs some sixty times as much, before the
/// batches' buffers are there), and the ids of all prompts, each of which stands in its prompt and, with its position, in a batch.
const SPELLING_SHARE: u64 = 192;
const IDS_SHARE: u64 = 48;
const BYTES_PER_ID: u64 = 12;

/// What to score: one query against some documents.
#[derive(Clone, Debug, Default)]
pub struct Request<'a> {
    /// The query.
    pub query: &'a str,
    /// The documents.
    pub documents: Vec<&'a str>,
    /// The instruction; the model card's by default.
    pub instruction: Option<&'a str>,
    /// The form of the prompt.
    pub template: Template,
    /// Bound on the tokens of a whole prompt; 8192 by default, or the model's context if that is shorter.
    pub max_length: Option<usize>,
    /// Recognise control tokens in the texts, as the reference code does. Off, no text can end its own turn.
    pub parse_special: bool,
    /// Keep what was computed of PREFIX, instruction and query for the next request that has the same: a list that grows.
    pub keep_prefix: bool,
}

/// One document's score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// What the head said.
    pub logits: Logits,
    /// Tokens of its prompt.
    pub tokens: usize,
    /// True when the document's end was cut.
    pub truncated: bool,
}

/// The scores of a request.
#[derive(Clone, Debug, Default)]
pub struct Scores {
    /// One for each document, in the request's order.
    pub scored: Vec<Scored>,
    /// Tokens of the prefix that were not computed again.
    pub prefix_reused: usize,
    /// Milliseconds of tokenising.
    pub tokenize_ms: f64,
    /// Milliseconds of computing.
    pub infer_ms: f64,
    /// What the caller should know.
    pub warnings: Vec<String>,
}

impl Scores {
    /// Tokens of all prompts.
    pub fn prompt_tokens(&self) -> usize {
        self.scored.iter().map(|s| s.tokens).sum()
    }
}

/// The ids of a request's prompts.
#[derive(Clone, Debug)]
pub struct Tokenized {
    /// The whole prompts after truncation.
    pub ids: Vec<Vec<u32>>,
    /// Leading ids that are equal for every possible document of the query.
    pub shared_prefix: usize,
    /// Ids of the prompt's fixed first part.
    pub prefix: usize,
    /// Ids of the prompt's fixed last part.
    pub suffix: usize,
    /// Which documents were cut.
    pub truncated: Vec<bool>,
}

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// A GPU if there is a real one and the model is large enough to be worth its start, else the CPU. NVIDIA cards by CUDA where the build has it.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// Any GPU adapter, a software one too.
    Gpu,
    /// NVIDIA cards, in a build with the feature `cuda`.
    Cuda(Cards),
}

/// How to load a model.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The name that replies give; the file's by default.
    pub name: Option<String>,
    /// Threads, 0 for one a core.
    pub threads: usize,
    /// What computes.
    pub device: Device,
    /// Bytes of memory in all, weights then staying in their files: every pass reads them layer by layer. Scores are the same. Without, all weights are loaded.
    pub streaming: Option<u64>,
    /// Which GPU, and how.
    #[cfg(feature = "gpu")]
    pub gpu: crate::backend::GpuOptions,
}

/// Hears of a score as soon as it is known: the document's index, its logits, how many are done, of how many.
#[cfg(not(target_arch = "wasm32"))]
pub type OnScore<'a> = &'a mut (dyn FnMut(usize, Logits, usize, usize) + Send);
/// Hears of a score as soon as it is known: the document's index, its logits, how many are done, of how many.
#[cfg(target_arch = "wasm32")]
pub type OnScore<'a> = &'a mut dyn FnMut(usize, Logits, usize, usize);

/// A loaded model.
pub struct Reranker {
    tokenizer: Tokenizer,
    backend: Box<dyn Backend>,
    info: ModelInfo,
    /// The prefix of the last request that asked to keep it, or of several.
    kept: Mutex<Prefixes>,
}

impl Reranker {
    /// Loads a model from its files (see [`ModelFile::open`]); `progress(loaded, total)` in bytes may stop it with an error.
    ///
    /// # Errors
    /// `bad-model`, `download`, `oom` or `aborted`, saying what, where and what to do.
    pub async fn load(
        files: Vec<SourceFile>,
        options: LoadOptions,
        mut progress: impl FnMut(u64, u64) -> Result<()>,
    ) -> Result<Self> {
        let name = options.name.clone().or_else(|| files.first().map(|f| f.name.clone())).unwrap_or_default();
        let mut file = ModelFile::open(files).await?;
        if let Some(memory) = options.streaming {
            check_memory(&file, memory, options.threads)?; // before the tokeniser takes its part of it
        }
        let mut tokenizer = file.take_tokenizer()?;
        if let Some(memory) = options.streaming {
            tokenizer = tokenizer.limited((memory / SPELLING_SHARE) as usize);
        }
        let answers = tokenizer.answers();
        let mut info = ModelInfo::new(name, &file);
        info.fingerprint = file.fingerprint().await?;
        let backend = device::load(file, answers, &options, &mut progress, &mut info).await?;
        backend.device().clone_into(&mut info.device);
        let kept = Prefixes::one((backend.kept_bytes() / info.kept_row_bytes()) as usize);
        Ok(Self { tokenizer, backend, info, kept: kept.into() })
    }

    /// Frees what lies on a GPU, at once and whoever still holds the model: its calls fail with `device-lost` from here on.
    pub fn unload(&self) {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = self.gpu() {
            gpu.destroy();
        }
    }

    /// The GPU that computes, if one does.
    #[cfg(feature = "gpu")]
    pub fn gpu(&self) -> Option<&crate::backend::Gpu> {
        self.backend.gpu()
    }

    /// What was loaded.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The prompts' token ids, without scoring them.
    ///
    /// # Errors
    /// `too-long` or `bad-input`.
    pub fn tokenize(&self, request: &Request) -> Result<Tokenized> {
        tokenize(&self.tokenizer, self.info.context_length, request)
    }

    /// Scores every document of the request.
    ///
    /// # Errors
    /// `too-long`, `bad-input`, `oom`, `aborted`, or `bad-model` for a logit that is no number.
    pub async fn score(&self, request: &Request<'_>, pace: &dyn Pace, on_score: OnScore<'_>) -> Result<Scores> {
        let started = Instant::now();
        let spelling = spell(&self.tokenizer, self.info.context_length, request, pace).await?;
        self.check_fits(&spelling)?;
        let tokenize_ms = milliseconds(started);
        let started = Instant::now();
        let own: Vec<&[u32]> = spelling.prompts.iter().map(|p| &p.own[..]).collect();
        let kept_rows = self.prefixes().most();
        let known = if request.keep_prefix { self.prefixes().take(&spelling.shared) } else { None };
        let before = match (&known, request.keep_prefix) {
            (Some(_), _) => Before::Known,
            (None, true) => Before::Wanted,
            (None, false) => Before::Nothing,
        };
        let rows = self.backend.batch_rows(spelling.shared.len());
        let batches = pack(&spelling.shared, &own, rows, kept_rows, before);
        let mut kept = known.unwrap_or_default();
        let shared = spelling.shared.len();
        let mut scored = Vec::with_capacity(own.len());
        for batch in &batches {
            pace.breathe().await?;
            for logits in self.backend.logits(batch, &mut kept, pace).await? {
                let i = scored.len();
                let prompt = &spelling.prompts[i];
                let tokens = shared + prompt.own.len();
                scored.push(Scored { logits, tokens, truncated: prompt.truncated });
                on_score(i, logits, i + 1, own.len());
            }
        }
        if request.keep_prefix {
            let there = before == Before::Known || !batches.is_empty();
            if there {
                self.prefixes().put(spelling.shared, kept);
            }
        }
        let computed: usize = batches.iter().map(|b| b.tokens.len()).sum();
        let asked: usize = scored.iter().map(|s| s.tokens).sum();
        Ok(Scores {
            scored,
            prefix_reused: asked - computed,
            tokenize_ms,
            infer_ms: milliseconds(started),
            warnings: self.warnings(request),
        })
    }

    fn prefixes(&self) -> MutexGuard<'_, Prefixes> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where weights are streamed, every prompt must go through the layers in one piece, and the ids of all of them are held meanwhile.
    fn check_fits(&self, spelling: &Spelling) -> Result<()> {
        let Some(Streaming { memory, tokens_per_pass: most }) = self.info.streaming else { return Ok(()) };
        let tokens: usize = spelling.prompts.iter().map(|p| p.own.len()).sum();
        let room = (memory / IDS_SHARE / BYTES_PER_ID) as usize;
        if tokens > room {
            return Err(Error::new(
                ErrorKind::TooLong,
                format!("{tokens} tokens in one request; the memory for streaming holds {room}"),
            )
            .hint("make several requests, or give more memory"));
        }
        let length = |prompt: &Prompt| spelling.shared.len() + prompt.own.len();
        match spelling.prompts.iter().position(|p| length(p) > most) {
            None => Ok(()),
            Some(i) => {
                let what = format!(
                    "{} tokens with its prompt; the memory for streaming holds {most}",
                    length(&spelling.prompts[i])
                );
                Err(Error::new(ErrorKind::TooLong, what)
                    .at(format!("documents[{i}]"))
                    .hint(format!("set the maximum length to {most} or less, give more memory, or split the document")))
            }
        }
    }

    fn warnings(&self, request: &Request) -> Vec<String> {
        let mut warnings = self.info.warnings.clone();
        let texts = [("query", request.query), ("instruction", request.instruction.unwrap_or(""))];
        let in_texts = || texts.iter().find_map(|(name, t)| Some(((*name).to_owned(), Template::part_in(t)?)));
        let mut documents = request.documents.iter().enumerate();
        let in_documents = || documents.find_map(|(i, d)| Some((format!("documents[{i}]"), Template::part_in(d)?)));
        let found = in_texts().or_else(in_documents);
        match (request.template, found) {
            (Template::Raw, None) => warnings.push(
                "the texts hold neither PREFIX nor SUFFIX, and the raw template adds none: the scores mean little"
                    .into(),
            ),
            (Template::Card | Template::Eval, Some((place, part))) => {
                let how =
                    if request.parse_special { "inside another prompt" } else { "as plain text inside another prompt" };
                warnings.push(format!(
                    "{place} holds the prompt's {part} already; it was scored {how}. If you build prompts yourself, use the raw template"
                ));
            }
            (Template::Raw, Some(_)) | (_, None) => {}
        }
        if request.template == Template::Raw && request.instruction.is_some() {
            warnings.push("the raw template takes no instruction; it was ignored".into());
        }
        warnings
    }
}

/// The prompts' token ids from a tokeniser alone, for a model of `context` positions.
///
/// # Errors
/// `too-long` or `bad-input`.
pub fn tokenize(tokenizer: &Tokenizer, context: usize, request: &Request) -> Result<Tokenized> {
    let mut speller = speller(tokenizer, context, request)?;
    for (i, document) in request.documents.iter().enumerate() {
        speller.push(document).at(|| format!("documents[{i}]"))?;
    }
    let spelling = speller.finish();
    Ok(Tokenized {
        shared_prefix: spelling.shared.len(),
        prefix: spelling.prefix,
        suffix: spelling.suffix,
        truncated: spelling.prompts.iter().map(|p| p.truncated).collect(),
        ids: spelling.prompts.iter().map(|p| [&spelling.shared[..], &p.own].concat()).collect(),
    })
}

/// Spells all prompts of a request.
async fn spell(tokenizer: &Tokenizer, context: usize, request: &Request<'_>, pace: &dyn Pace) -> Result<Spelling> {
    let mut speller = speller(tokenizer, context, request)?;
    for (i, document) in request.documents.iter().enumerate() {
        speller.push(document).at(|| format!("documents[{i}]"))?;
        pace.breathe().await?;
    }
    Ok(speller.finish())
}

/// Checks the request and starts to spell it.
fn speller<'a>(tokenizer: &'a Tokenizer, context: usize, request: &Request<'a>) -> Result<Speller<'a>> {
    let texts = [("query", request.query), ("instruction", request.instruction.unwrap_or_default())];
    let documents = request.documents.iter().enumerate().map(|(i, d)| (i, *d));
    for (name, text) in texts {
        check_length(text).at(|| name.to_owned())?;
    }
    for (i, document) in documents {
        check_length(document).at(|| format!("documents[{i}]"))?;
    }
    let max_length = match request.max_length {
        None => DEFAULT_MAX_LENGTH.min(context),
        Some(n) if (1..=context).contains(&n) => n,
        Some(n) => {
            return Err(Error::bad_input(format!("the maximum length is {n}, this model takes 1 to {context} tokens")));
        }
    };
    let asked = Asked {
        template: request.template,
        instruction: request.instruction.unwrap_or(DEFAULT_INSTRUCTION),
        query: request.query,
        max_length,
        parse_special: request.parse_special,
    };
    Speller::new(tokenizer, asked)
}

fn check_length(text: &str) -> Result<()> {
    if text.len() <= LONGEST_TEXT {
        return Ok(());
    }
    Err(Error::new(ErrorKind::BadInput, format!("{} bytes of text, at most {LONGEST_TEXT} are taken", text.len()))
        .hint("split it into several documents"))
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
