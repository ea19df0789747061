//! The command line: `edge-reranker rank | score | tokenize | eval | inspect | download | quantize | bench | serve`.
//!
//! Results go to standard output, notes and progress bars to standard error. Every verb takes the options of `Common` and
//! writes through one buffered handle, so that a reader who goes away (`| head`) ends the run quietly.

mod bench;
mod documents;
mod download;
mod eval;
mod exit;
mod hub;
mod inspect;
mod interrupt;
mod model;
mod progress;
mod quantize;
mod rank;
mod score;
mod serve;
mod table;
mod tokenize;
#[cfg(feature = "gpu")]
mod tuning;
mod visible;

use std::{
    ffi::OsString,
    io::{BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
    thread,
};

use clap::{
    Args, Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
    error::{ContextKind, ContextValue},
};

use crate::{
    error::{Error, Result},
    model::Template,
    rerank::{self, Request},
};

const AFTER_HELP: &str = "\
Models (--model):
  mini                  the built-in model, no download
  0.6b-q8, 0.6b-q4      Qwen3-Reranker-0.6B in 8 and 4 bits (GGUF)
  0.6b, 4b, 8b          the original Qwen3-Reranker checkpoints
  PATH                  a .gguf file, or a folder with config.json, tokenizer.json and *.safetensors
  owner/name[@revision][:QUANT|/file.gguf]
                        a Hugging Face repository, kept in the cache that Python tools use

Environment:
  HF_HOME, HF_HUB_CACHE where downloads are kept        HF_ENDPOINT     a mirror of huggingface.co
  HF_HUB_OFFLINE=1      never use the network           HF_TOKEN        for private repositories
  HTTPS_PROXY, NO_PROXY how to reach the network

Exit codes:
  0  done                                               3  no such device
  1  a download failed, no memory or no disk space      4  the model file was refused
  2  wrong usage, bad input or no such path             130  interrupted

Examples:
  edge-reranker rank --query 'capital of China' 'Beijing is the capital.' 'Bananas are yellow.'
  edge-reranker rank --model 0.6b-q8 --query 'opening hours' --documents pages.jsonl --top-n 5
  edge-reranker score pairs.jsonl > scores.jsonl
  edge-reranker eval --data dev/ --model 0.6b-q8
  edge-reranker inspect model.gguf
  edge-reranker bench --documents 50 --tokens 256
  edge-reranker serve --port 8787";

/// Score query-document pairs with Qwen3-Reranker models.
#[derive(Parser)]
#[command(name = "edge-reranker", version, after_help = AFTER_HELP, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Rank(rank::Options),
    Score(score::Options),
    Tokenize(tokenize::Options),
    Eval(eval::Options),
    Inspect(inspect::Options),
    Download(download::Options),
    Quantize(quantize::Options),
    Bench(bench::Options),
    Serve(serve::Options),
}

/// The options that every verb takes.
#[derive(Args, Clone)]
#[command(next_help_heading = "Model and machine")]
pub(crate) struct Common {
    /// The model: a path, a short name or a Hugging Face id (see edge-reranker --help)
    #[arg(long, global = true, value_name = "PATH|ID", default_value = model::BUILTIN, env = "EDGE_RERANKER_MODEL")]
    model: String,
    /// A tokenizer.json to use instead of the model's own
    #[arg(long, global = true, value_name = "PATH")]
    tokenizer: Option<PathBuf>,
    /// Where to compute: auto, cpu, gpu, or cuda for an NVIDIA card (cuda:1, cuda:0,2 or cuda:all for others than the first)
    #[arg(long, global = true, value_name = "DEVICE", default_value = "auto", env = "EDGE_RERANKER_DEVICE", value_parser = device)]
    device: rerank::Device,
    /// The GPU to use, by a part of its name, where there are several
    #[arg(long, global = true, value_name = "NAME", env = "EDGE_RERANKER_ADAPTER")]
    adapter: Option<String>,
    /// Threads, 0 for one a core
    #[arg(long, global = true, value_name = "N", default_value_t = 0, env = "EDGE_RERANKER_THREADS", value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
    /// Leave the weights in their file and read them layer by layer for every pass, within this much memory in all: slower, for models larger than the memory
    #[arg(long, global = true, value_name = "MB", env = "EDGE_RERANKER_STREAMING", value_parser = clap::value_parser!(u64).range(1..=1 << 24))]
    streaming: Option<u64>,
    /// What makes a document relevant [default: Given a web search query, retrieve relevant passages that answer the query]
    #[arg(long, global = true, value_name = "TEXT")]
    instruction: Option<String>,
    /// The prompt: the model card's, the evaluation scripts', or raw for texts that hold the prompt's parts already
    #[arg(long, global = true, value_name = "NAME", default_value = "card", value_parser = template())]
    template: Template,
    /// The most tokens of a whole prompt; longer documents are cut at their end [default: 8192, or what the model takes]
    #[arg(long, global = true, value_name = "N")]
    max_length: Option<usize>,
    /// Recognise control tokens in the texts: a document can then end its own turn and answer "yes"
    #[arg(long, global = true)]
    parse_special: bool,
    /// No notes and no progress bars; errors are still shown
    #[arg(long, global = true)]
    quiet: bool,
}

/// What `--device` says.
fn device(text: &str) -> Result<rerank::Device, String> {
    let cards = text.strip_prefix("cuda").map(|rest| (rest, rest.strip_prefix(':')));
    match (text, cards) {
        ("auto", _) => Ok(rerank::Device::Auto),
        ("cpu", _) => Ok(rerank::Device::Cpu),
        ("gpu", _) => Ok(rerank::Device::Gpu),
        (_, Some(("", _))) => Ok(rerank::Device::Cuda(rerank::Cards::First)),
        (_, Some((_, Some(cards)))) => cards.parse().map(rerank::Device::Cuda).map_err(|e: Error| e.to_string()),
        _ => Err("possible values: auto, cpu, gpu, cuda, cuda:1, cuda:0,2, cuda:all".into()),
    }
}

fn template() -> impl TypedValueParser<Value = Template> {
    PossibleValuesParser::new(["card", "eval", "raw"]).try_map(|name| name.parse::<Template>())
}

impl Common {
    /// The options as a request that lacks its texts.
    fn request(&self) -> Request<'_> {
        Request {
            instruction: self.instruction.as_deref(),
            template: self.template,
            max_length: self.max_length,
            parse_special: self.parse_special,
            ..Request::default()
        }
    }

    /// Threads that a processor will compute on.
    fn threads(&self) -> usize {
        match usize::from(self.threads) {
            _ if cfg!(not(feature = "threads")) => 1,
            0 => thread::available_parallelism().map_or(1, usize::from),
            n => n,
        }
    }

    /// What computes; devices that this build or machine does not have are refused.
    fn device(&self) -> Result<rerank::Device> {
        rerank::check_device(self.device)?;
        Ok(self.device)
    }
}

/// Says how to write a text that starts with `-`, where such a text was taken for an option.
fn with_tip(mut e: clap::Error, arguments: impl Iterator<Item = OsString>) -> clap::Error {
    let arguments: Vec<String> =
        arguments.map(|a| a.to_string_lossy().into_owned()).take_while(|a| a != "--").collect();
    let pair = arguments.windows(2).find(|w| ["--query", "--instruction"].contains(&&*w[0]) && w[1].starts_with('-'));
    if let (clap::error::ErrorKind::UnknownArgument, Some([option, text])) = (e.kind(), pair) {
        let tip = format!("for a text that starts with -, write '{option}={text}'");
        e.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    e
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|e| with_tip(e, std::env::args_os()).exit());
    // The server ends in its own way: requests under way are answered.
    if !matches!(cli.verb, Verb::Serve(_)) {
        interrupt::listen();
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    let (common, out_ref) = (&cli.common, &mut out);
    let outcome = match &cli.verb {
        Verb::Rank(options) => rank::run(common, options, out_ref),
        Verb::Score(options) => score::run(common, options, out_ref),
        Verb::Tokenize(options) => tokenize::run(common, options, out_ref),
        Verb::Eval(options) => eval::run(common, options, out_ref),
        Verb::Inspect(options) => inspect::run(common, options, out_ref),
        Verb::Download(options) => download::run(common, options, out_ref),
        Verb::Quantize(options) => quantize::run(common, options),
        Verb::Bench(options) => bench::run(common, options, out_ref),
        Verb::Serve(options) => serve::run(common, options, out_ref),
    };
    // Results that were found before an error are results all the same.
    let flushed = out.flush();
    exit::end(outcome.and_then(|()| Ok(flushed?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_options_fit_together() {
        Cli::command().debug_assert();
    }
}
