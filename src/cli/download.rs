//! `download`: a model into the cache, ahead of its use.

use std::io::Write;

use clap::Args;

use super::{
    Common,
    exit::Outcome,
    hub::{self, Id},
    model,
    progress::note,
};
use crate::error::Error;

/// Downloads a model into the Hugging Face cache and prints its path.
#[derive(Args)]
#[command(after_help = "\
Files that are here already are not downloaded again, and an interrupted download goes on where it stopped. Large files are checked
against their SHA-256; a file that does not match is deleted and never used.

Examples:
  edge-reranker download 0.6b-q8
  edge-reranker download Qwen/Qwen3-Reranker-4B@main
  edge-reranker download Mungert/Qwen3-Reranker-0.6B-GGUF:q4_k_m")]
pub(crate) struct Options {
    /// A short name (0.6b-q8, 0.6b-q4, 0.6b, 4b, 8b) or owner/name[@revision][:QUANT|/file.gguf]
    #[arg(value_name = "ID")]
    id: String,
}

/// Runs the verb.
pub(crate) fn run(common: &Common, options: &Options, out: &mut dyn Write) -> Outcome {
    if options.id == model::BUILTIN {
        note(common.quiet, "mini is built in: nothing to download");
        return Ok(());
    }
    let id = Id::parse(&options.id).ok_or_else(|| {
        Error::bad_input("is not the id of a model")
            .at(format!("{:?}", options.id))
            .hint(format!("use {} or owner/name[@revision][:QUANT|/file.gguf]", hub::aliases().join(", ")))
    })?;
    let path = hub::download(&id, common.quiet)?;
    Ok(writeln!(out, "{}", path.display())?)
}
