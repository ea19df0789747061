//! The whole report as one JSON object.

use std::io::Write;

use serde::Serialize;

use super::{Baseline, Options, report::Groups, scoring::Scored, sets::Set};
use crate::{
    cli::{Common, exit::Outcome},
    model::{DEFAULT_INSTRUCTION, Template},
    rerank::metrics::{Gain, Metric},
};

#[derive(Serialize)]
struct Report<'a> {
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
    max_length: Option<usize>,
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
        }
    }
}

#[allow(clippy::too_many_arguments)]
pub(super) fn write(
    out: &mut dyn Write,
    common: &Common,
    options: &Options,
    sets: &[Set],
    prepare_ms: f64,
    first: &Scored,
    second: Option<&Scored>,
    groups: &Groups,
) -> Outcome {
    let report = Report {
        model: first.into(),
        second_model: second.map(Model::from),
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
            max_length: common.max_length,
        },
        prepare_ms,
        missing_relevant: sets.iter().map(|s| s.missing).sum(),
        groups,
    };
    serde_json::to_writer_pretty(&mut *out, &report)?;
    Ok(writeln!(out)?)
}
