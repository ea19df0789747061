//! `rank`: documents in the order of their relevance.

use std::io::Write;

use clap::{Args, ValueEnum};
use futures::executor::block_on;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    Common,
    documents::{self, Document, Id, InputFormat},
    exit::Outcome,
    interrupt, model,
    progress::{Progress, Unit, count, note},
    table,
};
use crate::{
    error::{Error, Result},
    model::DEFAULT_MAX_LENGTH,
    rerank::{RankOptions, Ranked, ReplyDocument, Request, Scores, rank, reply},
};

/// Ranks documents by how well they answer a query.
#[derive(Args)]
#[command(after_help = "\
Documents come from the command line, then from the files in the order given; an index counts them all from 0.
The kind of a file is known by its ending; for others and for standard input it is guessed from the first characters.

Examples:
  edge-reranker rank --query 'capital of China' 'Beijing is the capital.' 'Bananas are yellow.'
  edge-reranker rank --query 'opening hours' --documents pages.jsonl --top-n 5 --format json
  grep -rh TODO src | edge-reranker rank --query 'memory leak' --documents - --threshold 0.5")]
pub(crate) struct Options {
    /// What the documents should answer (write --query=TEXT for a text that starts with -)
    #[arg(long, value_name = "TEXT")]
    query: String,
    /// Documents to rank
    #[arg(value_name = "DOC")]
    texts: Vec<String>,
    /// A file of documents (.txt, .jsonl, .csv, .json), or - for standard input; may be repeated
    #[arg(long, value_name = "FILE|-")]
    documents: Vec<String>,
    /// How the files are written, whatever their ending
    #[arg(long, value_name = "FORMAT")]
    input_format: Option<InputFormat>,
    /// Print the first N only, 0 for all
    #[arg(long, value_name = "N", default_value_t = 0)]
    top_n: usize,
    /// Print only documents that score at least X
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = threshold)]
    threshold: Option<f32>,
    /// Print the texts too (in a table: whole texts)
    #[arg(long)]
    return_documents: bool,
    /// Print the difference of the logits, yes - no, instead of the probability
    #[arg(long)]
    raw_scores: bool,
    /// What to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table for people
    Table,
    /// One JSON object, as the HTTP server would reply
    Json,
    /// One JSON object a result
    Jsonl,
    /// Comma-separated values with a header line
    Csv,
}

fn threshold(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(x) if !x.is_nan() => Ok(x),
        _ => Err("expected a number".into()),
    }
}

/// Runs the verb.
pub(crate) fn run(common: &Common, options: &Options, out: &mut dyn Write) -> Outcome {
    common.device()?;
    let documents = gather(common, options)?;
    let reranker = model::load(common)?;
    let request = Request {
        query: &options.query,
        documents: documents.iter().map(|d| d.text.as_str()).collect(),
        ..common.request()
    };
    let scores = {
        let bar = Progress::new(!common.quiet, Unit::Documents, "Scoring", Some(documents.len() as u64));
        interrupt::pausing(|cancel| {
            block_on(reranker.score(&request, cancel, &mut |_, _, done, _| bar.set(done as u64)))
        })?
    };
    for warning in &scores.warnings {
        note(common.quiet, warning);
    }
    #[cfg(feature = "gpu")]
    for (name, t) in reranker.gpu().map(crate::backend::Gpu::timings).unwrap_or_default() {
        let seconds = t.time.as_secs_f64();
        let speed = 2e-9 * t.cost as f64 / seconds;
        note(common.quiet, &format!("{name}: {} dispatches, {seconds:.3} s, {speed:.1} GFLOP/s", t.calls));
    }
    if let Some(cut) = cut(common, &scores, reranker.info().context_length) {
        note(common.quiet, &cut);
    }
    let how = RankOptions { top_n: options.top_n, threshold: options.threshold, raw: options.raw_scores };
    let ranked = rank(&scores, &how);
    let name = &reranker.info().name;
    match options.format {
        Format::Table => {
            print_table(options, &documents, &scores, &ranked, out)?;
            out.flush()?;
            note(common.quiet, &summary(&scores, ranked.len()));
        }
        Format::Json => {
            let texts = options.return_documents.then_some(&request.documents[..]);
            let mut reply = reply(identity(name, &request), name, &scores, &ranked, texts);
            for (i, result) in ranked.iter().enumerate() {
                let id = documents[result.index].id.as_ref().map(Id::to_string);
                reply.results[i].id.clone_from(&id);
                reply.data[i].id = id;
            }
            serde_json::to_writer_pretty(&mut *out, &reply)?;
            writeln!(out)?;
        }
        Format::Jsonl => {
            for line in lines(options, &documents, &scores, &ranked) {
                serde_json::to_writer(&mut *out, &line)?;
                writeln!(out)?;
            }
        }
        Format::Csv => print_csv(options, &documents, &scores, &ranked, out)?,
    }
    Ok(())
}

fn gather(common: &Common, options: &Options) -> Result<Vec<Document>> {
    if options.documents.iter().filter(|f| *f == "-").count() > 1 {
        return Err(Error::bad_input("standard input can be read only once").at("--documents"));
    }
    let mut all: Vec<Document> = options.texts.iter().map(|text| Document { text: text.clone(), id: None }).collect();
    for file in &options.documents {
        let (documents, blank) = documents::read(file, options.input_format)?;
        if blank > 0 {
            let lines = if blank == 1 { "1 blank line" } else { &format!("{blank} blank lines") };
            note(
                common.quiet,
                &format!("{}: {lines} skipped and not counted by the documents' indices", documents::place_of(file)),
            );
        }
        if documents.is_empty() {
            return Err(Error::bad_input("no documents").at(documents::place_of(file)));
        }
        all.extend(documents);
    }
    if all.is_empty() {
        return Err(Error::bad_input("no documents to rank").hint("give them as arguments, or a file with --documents"));
    }
    Ok(all)
}

/// The same request has the same id.
fn identity(model: &str, request: &Request) -> String {
    let fields = [model, request.instruction.unwrap_or_default(), &format!("{:?}", request.template), request.query];
    let mut hash = Sha256::new();
    for text in fields.iter().chain(&request.documents) {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    let hex: String = hash.finalize().iter().take(12).map(|b| format!("{b:02x}")).collect();
    format!("rerank-{hex}")
}

/// What to say of documents whose ends were cut.
fn cut(common: &Common, scores: &Scores, context: usize) -> Option<String> {
    let (cut, n) = (scores.scored.iter().filter(|s| s.truncated).count(), scores.scored.len());
    let length = count(common.max_length.unwrap_or(DEFAULT_MAX_LENGTH.min(context)) as u64);
    let (documents, were, ends) = match (n, cut) {
        (_, 0) => return None,
        (1, _) => ("document", "was", "its end was"),
        (_, 1) => ("documents", "was", "its end was"),
        _ => ("documents", "were", "their ends were"),
    };
    Some(format!("{cut} of {n} {documents} {were} cut to {length} tokens; {ends} not read"))
}

/// The speed counts only what was computed.
fn summary(scores: &Scores, shown: usize) -> String {
    let (n, tokens, shared) = (scores.scored.len(), scores.prompt_tokens(), scores.prefix_reused);
    let speed = (tokens - shared) as f64 / (scores.infer_ms / 1e3).max(1e-6);
    let plural = if n == 1 { "" } else { "s" };
    let hidden = if shown < n { format!(", {shown} shown") } else { String::new() };
    let reused = match shared {
        0 => String::new(),
        _ => format!(", {} of them shared and computed once", count(shared as u64)),
    };
    format!("{n} document{plural}{hidden}; {} tokens{reused}, {} tokens/s", count(tokens as u64), count(speed as u64))
}

fn print_table(
    options: &Options,
    documents: &[Document],
    scores: &Scores,
    ranked: &[Ranked],
    out: &mut dyn Write,
) -> Outcome {
    let named = ranked.iter().any(|r| documents[r.index].id.is_some());
    let rows: Vec<table::Row> = ranked
        .iter()
        .map(|r| table::Row {
            score: r.relevance_score,
            probability: scores.scored[r.index].logits.score(),
            name: documents[r.index].id.as_ref().filter(|_| named).map_or_else(|| r.index.to_string(), Id::to_string),
            text: &documents[r.index].text,
            truncated: scores.scored[r.index].truncated,
        })
        .collect();
    let head = if named { "id" } else { "index" };
    Ok(table::write(out, &rows, head, table::columns(), options.return_documents)?)
}

/// One result of `--format jsonl`.
#[derive(Serialize)]
struct Line<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Id>,
    relevance_score: f32,
    logit: f32,
    tokens: usize,
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<ReplyDocument>,
}

fn lines<'a>(options: &Options, documents: &'a [Document], scores: &Scores, ranked: &[Ranked]) -> Vec<Line<'a>> {
    let line = |r: &Ranked| {
        let (document, scored) = (&documents[r.index], scores.scored[r.index]);
        Line {
            index: r.index,
            id: document.id.as_ref(),
            relevance_score: r.relevance_score,
            logit: scored.logits.difference,
            tokens: scored.tokens,
            truncated: scored.truncated,
            document: options.return_documents.then(|| ReplyDocument::Nested { text: document.text.clone() }),
        }
    };
    ranked.iter().map(line).collect()
}

fn print_csv(
    options: &Options,
    documents: &[Document],
    scores: &Scores,
    ranked: &[Ranked],
    out: &mut dyn Write,
) -> Outcome {
    let mut csv = csv::Writer::from_writer(out);
    let mut head = vec!["index", "id", "relevance_score", "logit", "tokens", "truncated"];
    head.extend(options.return_documents.then_some("text"));
    csv.write_record(head)?;
    for line in lines(options, documents, scores, ranked) {
        let mut fields = vec![
            line.index.to_string(),
            line.id.map(Id::to_string).unwrap_or_default(),
            line.relevance_score.to_string(),
            line.logit.to_string(),
            line.tokens.to_string(),
            line.truncated.to_string(),
        ];
        fields.extend(options.return_documents.then(|| documents[line.index].text.clone()));
        csv.write_record(fields)?;
    }
    Ok(csv.flush()?)
}
