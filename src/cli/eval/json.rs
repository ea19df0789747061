//! The whole report as one JSON object.

use std::{io::Write, path::Path};

use serde::Serialize;

use super::{Baseline, Options, report::Groups, scoring::Scored, sets::Set};
use crate::{
    cli::{Common, exit::Outcome},
    model::{DEFAULT_INSTRUCTION, Template},
    rerank::metrics::{Gain, Metric},
};

#[derive(Serialize)]
struct Report<'a> {
    version: &'static str,
    model: Model<'a>,
    second_model: Option<Model<'a>>,
    baseline: Option<&'static str>,
    options: Settings<'a>,
    prepare_ms: f64,
    missing_relevant: usize,
    #[serde(flatten)]
    groups: &'a Groups,
}

#[derive(Serialize)]
struct Model<'a> {
    name: &'a str,
    device: &'a str,
    load_ms: f64,
    score_ms: f64,
    documents: usize,
    prompt_tokens: usize,
    truncated: usize,
    max_length: usize,
}

#[derive(Serialize)]
struct Settings<'a> {
    data: &'a [String],
    corpus: Option<&'a str>,
    retrieve: Option<usize>,
    metrics: Vec<String>,
    gain: &'static str,
    relevant_from: u32,
    limit: Option<u32>,
    resamples: u32,
    seed: u64,
    instruction: &'a str,
    template: &'static str,
    max_length: usize,
    parse_special: bool,
    tokenizer: Option<&'a Path>,
    threads: usize,
}

impl<'a> From<&'a Scored> for Model<'a> {
    fn from(scored: &'a Scored) -> Self {
        Self {
            name: &scored.model,
            device: &scored.device,
            load_ms: scored.load_ms,
            score_ms: scored.score_ms,
            documents: scored.documents,
            prompt_tokens: scored.prompt_tokens,
            truncated: scored.truncated,
            max_length: scored.max_length,
        }
    }
}

/// What was found.
pub(super) struct Whole<'a> {
    pub(super) sets: &'a [Set],
    pub(super) prepare_ms: f64,
    pub(super) first: &'a Scored,
    pub(super) second: Option<&'a Scored>,
    pub(super) groups: &'a Groups,
}

pub(super) fn write(out: &mut dyn Write, common: &Common, options: &Options, whole: &Whole) -> Outcome {
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        model: whole.first.into(),
        second_model: whole.second.map(Model::from),
        baseline: match options.baseline {
            Baseline::Bm25 => Some("bm25"),
            Baseline::Given => Some("given"),
            Baseline::None => None,
        },
        options: Settings {
            data: &options.data,
            corpus: options.corpus.as_deref(),
            retrieve: options.depth(),
            metrics: options.metrics().iter().map(Metric::to_string).collect(),
            gain: if options.gain() == Gain::Linear { "linear" } else { "exponential" },
            relevant_from: options.relevant_from,
            limit: options.limit,
            resamples: options.resamples,
            seed: options.seed,
            instruction: common.instruction.as_deref().unwrap_or(DEFAULT_INSTRUCTION),
            template: match common.template {
                Template::Card => "card",
                Template::Eval => "eval",
                Template::Raw => "raw",
            },
            max_length: whole.first.max_length,
            parse_special: common.parse_special,
            tokenizer: common.tokenizer.as_deref(),
            threads: common.threads(),
        },
        prepare_ms: whole.prepare_ms,
        missing_relevant: whole.sets.iter().map(|s| s.missing).sum(),
        groups: whole.groups,
    };
    serde_json::to_writer_pretty(&mut *out, &report)?;
    Ok(writeln!(out)?)
}
