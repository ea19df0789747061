//! `inspect`: what a model file holds and what running it would take, without loading its weights.

use std::{collections::BTreeMap, io::Write};

use clap::{Args, ValueEnum};
use futures::executor::block_on;
use serde::Serialize;

use super::{
    Common,
    exit::Outcome,
    model,
    progress::{count, size},
    table,
    visible::{fit, one_line, visible},
};
use crate::{
    backend::{cpu::working_bytes, simd::Isa},
    error::{Error, ErrorKind, Result},
    rerank::{self, ModelInfo},
    weights::ModelFile,
};

/// Shows what a model file holds and what would run where; its weights are not loaded.
#[derive(Args)]
#[command(after_help = "\
Nothing is downloaded: a Hugging Face id must be on this machine already.

Examples:
  edge-reranker inspect model.gguf
  edge-reranker inspect ./Qwen3-Reranker-0.6B --tensors
  edge-reranker inspect 0.6b-q8 --format json")]
pub(crate) struct Options {
    /// A path, a short name or a Hugging Face id [default: what --model says]
    #[arg(value_name = "MODEL")]
    subject: Option<String>,
    /// List every tensor
    #[arg(long)]
    tensors: bool,
    /// What to print
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON object
    Json,
}

/// All that is found out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    #[serde(flatten)]
    info: ModelInfo,
    rope_theta: f32,
    rms_eps: f32,
    files: Vec<FileLine>,
    tokenizer: TokenizerLine,
    run: Run,
    /// Tensors by element type.
    types: BTreeMap<&'static str, Share>,
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tensors: Option<Vec<TensorLine>>,
}

#[derive(Serialize)]
struct FileLine {
    name: String,
    bytes: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenizerLine {
    source: &'static str,
    highest_id: u32,
    yes: u32,
    no: u32,
}

/// What would run where.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    device: &'static str,
    /// The GPU that computes, if one does.
    gpu: Option<String>,
    instructions: &'static str,
    threads: usize,
    weight_bytes: u64,
    /// About: a full batch and its buffers.
    working_bytes: u64,
}

#[derive(Default, Serialize)]
struct Share {
    tensors: usize,
    bytes: u64,
}

#[derive(Serialize)]
struct TensorLine {
    name: String,
    #[serde(rename = "type")]
    dtype: &'static str,
    shape: Vec<usize>,
    bytes: u64,
}

/// Runs the verb.
pub(crate) fn run(common: &Common, options: &Options, out: &mut dyn Write) -> Outcome {
    let report = report(common, options)?;
    if options.format == Format::Json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        return Ok(writeln!(out)?);
    }
    Ok(print(&report, out)?)
}

fn report(common: &Common, options: &Options) -> Result<Report> {
    let found = model::find_here(common, options.subject.as_deref().unwrap_or(&common.model))?;
    let files = found.files.iter().map(|f| FileLine { name: f.name.clone(), bytes: f.source.len() }).collect();
    let file = block_on(ModelFile::open(found.files)).map_err(|e| found.place.name(e))?;
    let tokenizer = file.tokenizer().map_err(|e| found.place.name(e))?;
    let (no, yes) = tokenizer.answers();
    let mut tensors: Vec<TensorLine> = file
        .index
        .tensors()
        .iter()
        .map(|(name, t)| TensorLine {
            name: name.clone(),
            dtype: t.dtype.name(),
            shape: t.shape.clone(),
            bytes: t.range.end - t.range.start,
        })
        .collect();
    tensors.sort_by_cached_key(|t| in_order(&t.name));
    let mut types: BTreeMap<&'static str, Share> = BTreeMap::new();
    for tensor in &tensors {
        let share = types.entry(tensor.dtype).or_default();
        share.tensors += 1;
        share.bytes += tensor.bytes;
    }
    let info = ModelInfo::new(found.name, &file);
    let device = common.device()?;
    #[cfg(feature = "gpu")]
    let gpu = block_on(rerank::gpu_for(&file.config, device)).map(|a| a.name);
    #[cfg(not(feature = "gpu"))]
    let gpu = None;
    if device == rerank::Device::Gpu && gpu.is_none() {
        return Err(
            Error::new(ErrorKind::NoDevice, "no GPU adapter was found").hint("leave --device out, or use --device cpu")
        );
    }
    let run = Run {
        device: match device {
            rerank::Device::Cuda(_) => "cuda",
            _ if gpu.is_some() => "gpu",
            _ => "cpu",
        },
        gpu,
        instructions: Isa::best().name(),
        threads: common.threads(),
        weight_bytes: info.bytes,
        working_bytes: working_bytes(&file.config),
    };
    let source = if file.has_tokenizer_json() { "tokenizer.json" } else { "inside the file" };
    Ok(Report {
        rope_theta: file.config.rope_theta,
        rms_eps: file.config.rms_eps,
        info,
        files,
        tokenizer: TokenizerLine { source, highest_id: tokenizer.highest_id(), yes, no },
        run,
        types,
        metadata: file.metadata,
        tensors: options.tensors.then_some(tensors),
    })
}

/// A key that puts layer 10 after layer 9.
fn in_order(name: &str) -> String {
    let pad =
        |part: &str| if part.bytes().all(|b| b.is_ascii_digit()) { format!("{part:0>8}") } else { part.to_owned() };
    name.split('.').map(pad).collect::<Vec<_>>().join(".")
}

fn print(r: &Report, out: &mut dyn Write) -> std::io::Result<()> {
    let i = &r.info;
    let columns = table::columns();
    writeln!(out, "{}", visible(&i.name))?;
    let mut line = |name: &str, value: String| writeln!(out, "  {name:<14}{}", visible(&value));
    let kind = if i.format == "gguf" { "GGUF" } else { "Hugging Face checkpoint (safetensors)" };
    line("format", format!("{kind}, {}", i.quantization))?;
    line(
        "size",
        format!("{} of tensors in {} file{}", size(i.bytes), r.files.len(), if r.files.len() == 1 { "" } else { "s" }),
    )?;
    line("parameters", count(i.parameters))?;
    line("layers", format!("{}, hidden {}, feed-forward {}", i.layers, i.hidden, i.intermediate))?;
    line("attention", format!("{} query heads, {} key/value heads of {}", i.heads, i.kv_heads, i.head_dim))?;
    line(
        "context",
        format!(
            "{} tokens, rope theta {}, RMSNorm epsilon {}",
            count(i.context_length as u64),
            r.rope_theta,
            r.rms_eps
        ),
    )?;
    line("head", head(i.head).into())?;
    let t = &r.tokenizer;
    line(
        "tokeniser",
        format!("{}, {} rows of embeddings, yes = {}, no = {}", t.source, count(i.vocabulary as u64), t.yes, t.no),
    )?;
    for (dtype, share) in &r.types {
        line(dtype, format!("{} tensors, {}", share.tensors, size(share.bytes)))?;
    }
    let threads = if r.run.threads == 1 { "" } else { "s" };
    let processor = format!("the processor, {} instructions, {} thread{threads}", r.run.instructions, r.run.threads);
    line("runs on", r.run.gpu.as_ref().map_or(processor, |name| format!("the GPU, {name}")))?;
    line(
        "memory",
        format!(
            "about {} for weights and {} to work in (a full batch; a document longer than that takes more)",
            size(r.run.weight_bytes),
            size(r.run.working_bytes)
        ),
    )?;
    for warning in &i.warnings {
        line("warning", warning.clone())?;
    }
    for file in &r.files {
        line("file", format!("{}, {}", file.name, size(file.bytes)))?;
    }
    if !r.metadata.is_empty() {
        writeln!(out, "metadata")?;
    }
    for (key, value) in &r.metadata {
        let text = format!("  {} = {}", one_line(key), one_line(value));
        writeln!(out, "{}", fit(&text, columns))?;
    }
    if let Some(tensors) = &r.tensors {
        let widest = tensors.iter().map(|t| t.name.len()).max().unwrap_or(0);
        writeln!(out, "tensors")?;
        for t in tensors {
            writeln!(
                out,
                "  {:<widest$}  {:<5} {:>16} {:>12}",
                visible(&t.name),
                t.dtype,
                format!("{:?}", t.shape),
                size(t.bytes)
            )?;
        }
    }
    Ok(())
}

fn head(name: &str) -> &'static str {
    match name {
        "tied" => "two rows of the embedding matrix",
        "output" => "two rows of the output matrix",
        "cls" => "a classifier inside the GGUF (cls.output.weight)",
        _ => "a sequence classifier (score.weight)",
    }
}
