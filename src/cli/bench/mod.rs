//! `bench`: how fast a model scores on this machine.
//!
//! A pass scores every request once; as many passes are measured as `--repeat` says, after a warm-up that is not. Times are wall-clock and
//! include tokenising. Percentiles are interpolated linearly between the closest ranks.

mod report;
mod requests;
mod words;
mod work;

use std::{io::Write, time::Instant};

use clap::{Args, ValueEnum};
use futures::executor::block_on;

use super::{
    Common,
    exit::Outcome,
    interrupt, model,
    progress::{Progress, Unit, note},
};
use crate::{
    error::Result,
    rerank::{Request, Reranker, Scores},
    weights::ModelFile,
};
use report::Report;
use requests::{Length, Requests, Texts};

/// Tokens of documents that the warm-up takes, and one document at least: as many as make the matrix products large.
const WARM_UP_TOKENS: usize = 1024;
/// Seconds from which on a run says beforehand how long it will take.
const LONG_SECONDS: f64 = 30.0;

/// Measures how fast the model scores on this machine.
#[derive(Args)]
#[command(after_help = "\
Without --data, one request: a query of 16 tokens and documents of --tokens each, common words from a seed.
With --data, pairs as `score` takes them; consecutive ones with the same query and instruction are one
request. A pass scores every request once. A warm-up with another query comes first and does not count.

Out, with --format json; times are in milliseconds, sizes in bytes:
  model, device             the names of both
  adapter                   the GPU that computed, or null
  instructions, threads     of the processor that computed, or null
  documents, requests       of a pass
  tokens_per_document       null with --data
  prompt_tokens             all prompts' tokens of a pass
  prefix_reused_tokens      how many of them were shared and not computed again
  repeat                    measured passes
  load_ms                   from opening the model's files to ready
  ms_per_pair               {median, min, max} of the passes: a pass's time over its documents
  tokens_per_second         of the median pass, all prompt_tokens counted
  documents_per_second      of the median pass
  request_ms                {p50, p95} of all requests of all passes
  first_score_ms            {p50} of the same, until a request's first score
  peak_memory_bytes         the largest resident memory, mapped files included; null where not told
  model_bytes               the model's tensors
  gops                      1e9 operations a second that the median pass could not do without
  ceiling_gops              what the processor reaches at most; null where not measured
  share_of_ceiling          gops as a part of it
  scores                    with --data: logit differences, yes - no, of the last pass in input order
Operations are two for each multiply-add of the layers, with what prompts share counted once, causal
attention, and of the last layer only what the scores need.

Examples:
  edge-reranker bench
  edge-reranker bench --model 0.6b-q8 --documents 50 --tokens 256 --threads 4
  edge-reranker bench --data pairs.jsonl --repeat 3 --format json")]
pub(crate) struct Options {
    /// Documents of the request
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    documents: u32,
    /// Tokens of each document
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    tokens: u32,
    /// How many times to score
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// A JSONL file of pairs to score instead, or - for standard input
    #[arg(long, value_name = "FILE|-", conflicts_with_all = ["documents", "tokens"])]
    data: Option<String>,
    /// What to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table for people
    Table,
    /// One JSON object
    Json,
}

/// Runs the verb.
pub(crate) fn run(common: &Common, options: &Options, out: &mut dyn Write) -> Outcome {
    common.device()?;
    let requests = prepare(common, options)?;
    let started = Instant::now();
    let reranker = model::load(common)?;
    let load_ms = milliseconds(started);
    let passes = measure(common, options.repeat, &requests, &reranker)?;
    let report = Report::new(common, &reranker, &requests, load_ms, &passes);
    if options.format == Format::Json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        return Ok(writeln!(out)?);
    }
    Ok(report.print(out)?)
}

/// The requests, checked with the model's tokeniser and context before its weights are loaded.
fn prepare(common: &Common, options: &Options) -> Result<Requests> {
    let found = model::find(common, &common.model)?;
    let file = block_on(ModelFile::open(found.files)).map_err(|e| found.place.name(e))?;
    let tokenizer = file.tokenizer().map_err(|e| found.place.name(e))?;
    match &options.data {
        Some(path) => Requests::read(common, path, options.repeat, &tokenizer, file.config.context),
        None => Requests::generate(common, options, &tokenizer, file.config.context),
    }
}

/// What one pass took and gave.
#[derive(Default)]
struct Pass {
    /// Milliseconds of each request.
    request_ms: Vec<f64>,
    /// Milliseconds of each request until its first score.
    first_score_ms: Vec<f64>,
    /// Tokens that were not computed again.
    prefix_reused: usize,
    /// Logit differences in input order.
    scores: Vec<f32>,
}

fn measure(common: &Common, repeat: u32, requests: &Requests, reranker: &Reranker) -> Result<Vec<Pass>> {
    let scorer = Scorer { common, reranker, max_length: requests.max_length };
    let seconds = scorer.warm_up(requests)? * f64::from(repeat);
    if seconds >= LONG_SECONDS {
        let text =
            format!("this will take about {seconds:.0} s; a smaller --repeat, or fewer documents, make it shorter");
        note(common.quiet, &text);
    }
    let documents = requests.documents();
    let total = documents as u64 * u64::from(repeat);
    let bar = Progress::new(!common.quiet, Unit::Documents, "Measuring", Some(total));
    let mut passes = Vec::new();
    let mut warnings = Vec::new();
    for i in 0..repeat as usize {
        let mut pass = Pass::default();
        for texts in &requests.all {
            let before = i * documents + pass.scores.len();
            let started = Instant::now();
            let mut first = None;
            let scores = scorer.score(texts, |done| {
                first.get_or_insert_with(|| milliseconds(started));
                bar.set((before + done) as u64);
            })?;
            let took = milliseconds(started);
            pass.request_ms.push(took);
            pass.first_score_ms.push(first.unwrap_or(took));
            pass.prefix_reused += scores.prefix_reused;
            pass.scores.extend(scores.scored.iter().map(|s| s.logits.difference));
            warnings.extend(scores.warnings.into_iter().filter(|w| !warnings.contains(w)).collect::<Vec<_>>());
        }
        passes.push(pass);
    }
    drop(bar);
    for warning in warnings.iter().chain(&requests.cut_note()) {
        note(common.quiet, warning);
    }
    Ok(passes)
}

struct Scorer<'a> {
    common: &'a Common,
    reranker: &'a Reranker,
    max_length: Option<usize>,
}

impl Scorer<'_> {
    fn score(&self, texts: &Texts, mut on_score: impl FnMut(usize) + Send) -> Result<Scores> {
        let request = texts.request(self.common, self.max_length);
        let scores = interrupt::pausing(|cancel| {
            block_on(self.reranker.score(&request, cancel, &mut |_, _, done, _| on_score(done)))
        });
        scores.map_err(|e| texts.name(e))
    }

    /// Scores the first documents for another query. Returns about how many seconds a pass will take.
    fn warm_up(&self, requests: &Requests) -> Result<f64> {
        let (texts, length) = (&requests.all[0], &requests.lengths[0]);
        let before = length.prompts.iter().scan(0, |sum, prompt| {
            *sum += prompt - length.shared;
            Some(*sum - (prompt - length.shared))
        });
        let some = before.take_while(|tokens| *tokens < WARM_UP_TOKENS).count();
        // A part of the query is no longer than the whole.
        let query = &texts.query[..texts.query.floor_char_boundary(texts.query.len() / 2)];
        let request = texts.request(self.common, self.max_length);
        let request = Request { query, documents: request.documents[..some].to_vec(), ..request };
        let started = Instant::now();
        let scores = interrupt::pausing(|cancel| block_on(self.reranker.score(&request, cancel, &mut |_, _, _, _| {})));
        let scores = scores.map_err(|e| texts.name(e))?;
        let computed = (scores.prompt_tokens() - scores.prefix_reused) as f64;
        let to_compute: usize = requests.lengths.iter().map(Length::computed).sum();
        Ok(started.elapsed().as_secs_f64() * to_compute as f64 / computed)
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
