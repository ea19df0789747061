//! `eval`: how well a model ranks, beside BM25 and beside a second model.
//!
//! Lines become queries with candidates (`rows`, `sets`), a model scores them (`scoring`), figures are taken of the rankings (`report`) and shown (`table`,
//! `json`, `plot`), and everything can be written for other tools to check (`export`).

mod compressed;
mod export;
mod files;
mod json;
mod plot;
mod report;
mod rows;
mod scoring;
mod sets;
mod table;

use std::{io::Write, path::PathBuf, time::Instant};

use clap::{Args, ValueEnum};

use super::{
    Common, documents,
    exit::Outcome,
    model,
    progress::{count, note},
};
use crate::{
    error::{Error, Result},
    rerank::metrics::{Bootstrap, Gain, Judging, Metric},
};
use export::Export;
use files::Target;
use report::{Kind, Reporter, System};
use scoring::{Scored, milliseconds};
use sets::Set;

/// How many documents BM25 finds where nobody says.
const DEFAULT_DEPTH: u32 = 100;

/// Measures how well the model ranks, beside BM25.
#[derive(Args)]
#[command(after_help = "\
In, one query a line of a .jsonl, .jsonl.gz or .jsonl.zst file, each file being a set; of a folder, all such files:
  {\"query_id\", \"query\", \"lang\"?, \"doc_lang\"?, \"group\"?, \"instruction\"?,
   \"candidates\": [{\"doc_id\", \"text\", \"label\", \"bm25_rank\"?}], \"relevant\"?: {DOC_ID: LABEL}}
Labels are whole numbers from 0, not relevant. \"relevant\" labels documents that are no candidates. \"lang\" is the query's language, \"doc_lang\" \
the documents' if that is another; figures by language go by \"group\" if there is one.

Metrics, @K for the first K documents: ndcg, map, mrr, recall, precision. nDCG's gain is 2^label - 1. A query without a relevant document \
counts 0, as in trec_eval and ranx. Documents with equal scores are in the order of their doc_id. Intervals hold 95 % of the means of queries \
drawn anew (bootstrap), differences are paired by query, and the mean of sets is drawn within each set. docs/eval.md has the formulas.

Out, with --format json:
  model, second_model       {name, device, load_ms, score_ms, documents, prompt_tokens, truncated}; second_model may be null
  baseline                  bm25, given, or null
  options                   as they were in force
  overall, sets, languages  {name, queries, without_relevant, metrics, retrieval_recall?}; a set of several languages has
                            languages too; overall is the mean of the sets, languages hold the queries of all sets
  metrics                   by name: {model, baseline?, second_model?, model_minus_baseline?, second_minus_model?}, each
                            {mean, low, high}
  missing_relevant          relevant documents that are in no corpus
  prepare_ms                reading and BM25

Examples:
  edge-reranker eval --data dev/
  edge-reranker eval --data faq.jsonl --metrics ndcg@5,recall@5 --model 0.6b-q8 --second-model mini --plot faq.svg
  edge-reranker eval --data queries.jsonl --corpus passages.jsonl --retrieve 50 --format json")]
pub(crate) struct Options {
    /// Files of queries with candidates, or folders of such files; - for standard input
    #[arg(long, value_name = "FILE|FOLDER", required = true, num_args = 1..)]
    data: Vec<String>,
    /// What the model is compared with
    #[arg(long, value_name = "NAME", default_value = "bm25")]
    baseline: Baseline,
    /// A second model, compared with the first
    #[arg(long, value_name = "PATH|ID")]
    second_model: Option<String>,
    /// What is measured
    #[arg(long, value_name = "LIST", default_value = "ndcg@10,map@10,mrr@10", value_delimiter = ',', value_parser = str::parse::<Metric>)]
    metrics: Vec<Metric>,
    /// nDCG's gain of a label
    #[arg(long, value_name = "NAME", default_value = "exponential")]
    gain: GainName,
    /// The lowest label that is relevant to map, mrr, recall and precision
    #[arg(long, value_name = "LABEL", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    relevant_from: u32,
    /// BM25 finds N documents for each query [default: 100], in the corpus or among all candidates of the file, and the model ranks these
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "100", value_parser = clap::value_parser!(u32).range(1..))]
    retrieve: Option<u32>,
    /// Where BM25 finds documents: {"doc_id", "text", "lang"?} on each line
    #[arg(long, value_name = "FILE")]
    corpus: Option<String>,
    /// The first N queries of each set only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// How many times queries are drawn anew for the intervals
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    resamples: u32,
    /// Where the draws begin
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The rows of the table
    #[arg(long, value_name = "WHAT", default_value = "set")]
    by: By,
    /// What to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Draw the first metric of each set, with its intervals
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Write query_id, doc_id and score (yes - no) of every document
    #[arg(long, value_name = "FILE.tsv")]
    run: Option<PathBuf>,
    /// Write labels and runs of each set as TREC files, for trec_eval, pytrec_eval or ranx
    #[arg(long, value_name = "FOLDER")]
    trec: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Baseline {
    /// BM25 over the documents of the set
    Bm25,
    /// The order of the candidates' bm25_rank
    Given,
    /// Nothing
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum GainName {
    /// 2^label - 1
    Exponential,
    /// The label
    Linear,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// A row for each set
    Set,
    /// A row for each language
    Language,
    /// Each set with its languages below
    Both,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table for people
    Table,
    /// One JSON object
    Json,
}

impl Options {
    /// The metrics, each once.
    fn metrics(&self) -> Vec<Metric> {
        let mut once = Vec::new();
        for metric in &self.metrics {
            if !once.contains(metric) {
                once.push(*metric);
            }
        }
        once
    }

    fn gain(&self) -> Gain {
        match self.gain {
            GainName::Exponential => Gain::Exponential,
            GainName::Linear => Gain::Linear,
        }
    }

    fn judging(&self) -> Judging {
        Judging { gain: self.gain(), relevant_from: self.relevant_from }
    }

    fn bootstrap(&self) -> Bootstrap {
        Bootstrap { resamples: self.resamples as usize, seed: self.seed }
    }

    /// How many documents BM25 finds, if it is to find any.
    fn depth(&self) -> Option<usize> {
        let corpus = self.corpus.as_ref().map(|_| DEFAULT_DEPTH);
        self.retrieve.or(corpus).map(|n| n as usize)
    }

    fn check(&self) -> Result<()> {
        if self.depth().is_some() && self.baseline == Baseline::Given {
            return Err(Error::bad_input("retrieved documents have no given rank").hint("use --baseline bm25 or none"));
        }
        Ok(())
    }
}

/// Runs the verb.
pub(crate) fn run(common: &Common, options: &Options, out: &mut dyn Write) -> Outcome {
    common.device()?;
    options.check()?;
    let started = Instant::now();
    let found = files::find(&options.data)?;
    let mut inputs: Vec<&str> = found.iter().map(|f| f.path.as_str()).collect();
    inputs.extend(options.corpus.as_deref());
    let sets = sets::read(&found, options)?;
    let prepare_ms = milliseconds(started);
    let mut export = Export::open(options, &sets, &inputs)?;
    let plot = options.plot.as_deref().map(|path| Target::open(path, &inputs)).transpose()?;
    say_what_is_odd(common, options, &sets);
    let second = options.second_model.as_ref().map(|model| {
        // Its tokeniser is its own.
        Common { model: model.clone(), tokenizer: None, ..common.clone() }
    });
    if let Some(second) = &second {
        model::find(second, &second.model)?; // now, and not after the first model's work
    }

    let first = scoring::score(common, &sets, |query, scores| export.query(query, scores))?;
    let second = second.map(|common| scoring::score(&common, &sets, |_, _| Ok(()))).transpose()?;
    let systems = systems(options, &sets, &first, second.as_ref());
    export.sets(&sets, &systems)?;
    let groups = Reporter::new(options, &sets, &systems).groups();
    if let Some(plot) = plot {
        let mut lines = plot.start()?;
        lines.write(&plot::draw(options, &groups, &systems))?;
        lines.flush()?;
    }
    match options.format {
        Format::Json => json::write(out, common, options, &sets, prepare_ms, &first, second.as_ref(), &groups),
        Format::Table => Ok(table::write(out, options, &groups, &systems)?),
    }
}

fn say_what_is_odd(common: &Common, options: &Options, sets: &[Set]) {
    for set in sets {
        let relevant = |q: &&sets::Query| q.judged.values().any(|l| options.judging().relevant(*l));
        let without = set.queries.len() - set.queries.iter().filter(relevant).count();
        let place = documents::place_of(&set.path);
        if without > 0 {
            let text = format!("{place}: {} of {} queries have no relevant document and count 0", count(without as u64), set.queries.len());
            note(common.quiet, &text);
        }
        if set.missing > 0 {
            let text = format!("{place}: {} relevant documents are nowhere to be found, which no ranking can mend", count(set.missing as u64));
            note(common.quiet, &text);
        }
    }
}

fn systems<'a>(options: &Options, sets: &'a [Set], first: &'a Scored, second: Option<&'a Scored>) -> Vec<System<'a>> {
    let of_model = |kind, scored: &'a Scored| System {
        kind,
        name: scored.model.clone(),
        score: Box::new(move |s, q, c| f64::from(scored.scores[s][q][c])),
    };
    let mut systems = vec![of_model(Kind::Model, first)];
    if options.baseline != Baseline::None {
        let name = if options.baseline == Baseline::Bm25 { "BM25" } else { "given" };
        systems.push(System {
            kind: Kind::Baseline,
            name: name.into(),
            score: Box::new(|s, q, c| sets[s].queries[q].candidates[c].baseline),
        });
    }
    systems.extend(second.map(|scored| of_model(Kind::Second, scored)));
    systems
}
