//! `tokenize`: the token ids of prompts, without scoring them.

use std::io::Write;

use clap::Args;
use futures::executor::block_on;
use serde::Serialize;

use super::{Common, exit::Outcome, model};
use crate::{
    rerank::{Request, tokenize},
    weights::ModelFile,
};

/// Prints the token ids of the prompts of a query and its documents, as JSON.
#[derive(Args)]
#[command(after_help = "\
Out: {\"ids\": [[...], ...], \"shared_prefix\", \"prefix\", \"suffix\", \"truncated\": [...]}
ids holds the whole prompt of every document, cut to the maximum length; shared_prefix counts the leading ids that are equal for
every possible document of this query; prefix and suffix count the ids of the prompt's fixed first and last part.
The model's weights are not read.

Example:
  edge-reranker tokenize --query 'capital of China' 'Beijing is the capital.'")]
pub(crate) struct Options {
    /// The query (write --query=TEXT for a text that starts with -)
    #[arg(long, value_name = "TEXT")]
    query: String,
    /// The documents
    #[arg(value_name = "DOC", required = true)]
    documents: Vec<String>,
}

#[derive(Serialize)]
struct Reply {
    ids: Vec<Vec<u32>>,
    shared_prefix: usize,
    prefix: usize,
    suffix: usize,
    truncated: Vec<bool>,
}

/// Runs the verb.
pub(crate) fn run(common: &Common, options: &Options, out: &mut dyn Write) -> Outcome {
    let found = model::find(common, &common.model)?;
    let file = block_on(ModelFile::open(found.files)).map_err(|e| found.place.name(e))?;
    let tokenizer = file.tokenizer().map_err(|e| found.place.name(e))?;
    let request = Request {
        query: &options.query,
        documents: options.documents.iter().map(String::as_str).collect(),
        ..common.request()
    };
    let t = tokenize(&tokenizer, file.config.context, &request)?;
    let reply = Reply {
        ids: t.ids,
        shared_prefix: t.shared_prefix,
        prefix: t.prefix,
        suffix: t.suffix,
        truncated: t.truncated,
    };
    serde_json::to_writer(&mut *out, &reply)?;
    Ok(writeln!(out)?)
}
