//! What `eval` is asked.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::{
    error::{Error, Result},
    rerank::metrics::{Bootstrap, Gain, Judging, Metric},
};

/// How many documents BM25 finds where nobody says.
const DEFAULT_DEPTH: u32 = 100;

/// Measures how well the model ranks, beside BM25.
#[derive(Args)]
#[command(after_help = "\
In, one query a line of a .jsonl or .ndjson file, plain or with .gz or .zst, each file being a set; of a folder, all such files:
  {\"query_id\", \"query\", \"lang\"?, \"doc_lang\"?, \"group\"?, \"instruction\"?,
   \"candidates\": [{\"doc_id\", \"text\", \"label\", \"bm25_rank\"?}], \"relevant\"?: {DOC_ID: LABEL}}
Labels are whole numbers from 0, not relevant, to 50 (more with --gain linear). Ids are texts, or whole numbers up to 2^53. \"relevant\" labels documents that are no candidates. \"lang\" is the query's language, \"doc_lang\" \
the documents' if that is another; figures by language go by \"group\" if there is one.

Metrics, @K for the first K documents: ndcg, map (or ap), mrr (rr), recall (r), precision (p). nDCG's gain is 2^label - 1. A query without a \
relevant document counts 0. Lots decide between documents of equal scores, the same in every run. Intervals hold 95 % of the means of queries \
drawn anew (bootstrap), differences are paired by query, and the mean of sets is drawn within each set. docs/eval.md has the formulas.

Out, with --format json:
  version                   of this program
  model, second_model       {name, device, load_ms, score_ms, documents, prompt_tokens, truncated, max_length}; second_model may be null
  baseline                  bm25, given, or null
  options                   as they were in force
  overall, sets, languages  {name, queries, without_relevant, metrics, retrieval_recall?}; a set of several languages has
                            languages too; overall is the mean of the sets, languages hold the queries of all sets
  metrics                   by name: {model, baseline?, second_model?, model_minus_baseline?, second_minus_model?}, each
                            {mean, low, high}; low and high are null where a set has one query
  missing_relevant          relevant documents that are in no corpus
  prepare_ms                reading and BM25

Examples:
  edge-reranker eval --data dev/
  edge-reranker eval --data faq.jsonl --metrics ndcg@5,recall@5 --model 0.6b-q8 --second-model mini --plot faq.svg
  edge-reranker eval --data queries.jsonl --corpus passages.jsonl --retrieve 50 --format json")]
pub(crate) struct Options {
    /// Files of queries with candidates, or folders of such files; - for standard input
    #[arg(long, value_name = "FILE|FOLDER", required = true, num_args = 1..)]
    pub(super) data: Vec<String>,
    /// What the model is compared with
    #[arg(long, value_name = "NAME", default_value = "bm25")]
    pub(super) baseline: Baseline,
    /// A second model, compared with the first
    #[arg(long, value_name = "PATH|ID")]
    pub(super) second_model: Option<String>,
    /// What is measured
    #[arg(long, value_name = "LIST", default_value = "ndcg@10,map@10,mrr@10", value_delimiter = ',', value_parser = str::parse::<Metric>)]
    pub(super) metrics: Vec<Metric>,
    /// nDCG's gain of a label
    #[arg(long, value_name = "NAME", default_value = "exponential")]
    pub(super) gain: GainName,
    /// The lowest label that is relevant to map, mrr, recall and precision
    #[arg(long, value_name = "LABEL", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) relevant_from: u32,
    /// BM25 finds N documents for each query [default: 100], in the corpus or among all candidates of the file, and the model ranks these
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "100", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) retrieve: Option<u32>,
    /// Where BM25 finds documents: {"doc_id" (or "id", "_id"), "title"?, "text", "lang"?} on each line
    #[arg(long, value_name = "FILE")]
    pub(super) corpus: Option<String>,
    /// The first N queries of each set only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: Option<u32>,
    /// How many times queries are drawn anew for the intervals
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub(super) resamples: u32,
    /// Where the draws begin
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// The rows of the table
    #[arg(long, value_name = "WHAT", default_value = "set")]
    pub(super) by: By,
    /// What to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub(super) format: Format,
    /// Draw the first metric of each set, with its intervals
    #[arg(long, value_name = "FILE.svg")]
    pub(super) plot: Option<PathBuf>,
    /// Write query_id, doc_id and score (yes - no) of every document
    #[arg(long, value_name = "FILE.tsv")]
    pub(super) run: Option<PathBuf>,
    /// Write labels and runs of each set as TREC files, for trec_eval, pytrec_eval or ranx
    #[arg(long, value_name = "FOLDER")]
    pub(super) trec: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Baseline {
    /// BM25 over the documents of the set
    Bm25,
    /// The order of the candidates' bm25_rank
    Given,
    /// Nothing
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum GainName {
    /// 2^label - 1
    Exponential,
    /// The label
    Linear,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum By {
    /// A row for each set
    Set,
    /// A row for each language
    Language,
    /// Each set with its languages below
    Both,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table for people
    Table,
    /// One JSON object
    Json,
}

impl Options {
    /// The metrics, each once.
    pub(super) fn metrics(&self) -> Vec<Metric> {
        let mut once = Vec::new();
        for metric in &self.metrics {
            if !once.contains(metric) {
                once.push(*metric);
            }
        }
        once
    }

    pub(super) fn gain(&self) -> Gain {
        match self.gain {
            GainName::Exponential => Gain::Exponential,
            GainName::Linear => Gain::Linear,
        }
    }

    pub(super) fn judging(&self) -> Judging {
        Judging { gain: self.gain(), relevant_from: self.relevant_from }
    }

    pub(super) fn bootstrap(&self) -> Bootstrap {
        Bootstrap { resamples: self.resamples as usize, seed: self.seed }
    }

    /// How many documents BM25 finds, if it is to find any.
    pub(super) fn depth(&self) -> Option<usize> {
        let corpus = self.corpus.as_ref().map(|_| DEFAULT_DEPTH);
        self.retrieve.or(corpus).map(|n| n as usize)
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.depth().is_some() && self.baseline == Baseline::Given {
            return Err(Error::bad_input("retrieved documents have no given rank").hint("use --baseline bm25 or none"));
        }
        if self.corpus.as_deref() == Some("-") && self.data.iter().any(|data| data == "-") {
            return Err(
                Error::bad_input("standard input cannot be both --data and --corpus").hint("name a file for one")
            );
        }
        for (option, path) in [("--run", &self.run), ("--plot", &self.plot), ("--trec", &self.trec)] {
            if path.as_deref().is_some_and(|path| path == "-" || path.as_os_str().is_empty()) {
                return Err(Error::bad_input("standard output has the report").at(option).hint("name a file"));
            }
        }
        if let Some(other) = self.plot.as_deref().and_then(Path::extension).filter(|e| !e.eq_ignore_ascii_case("svg")) {
            let what = format!("plots are written as SVG, not as {}", other.display());
            return Err(Error::bad_input(what).at("--plot").hint("name it FILE.svg"));
        }
        Ok(())
    }
}
