//! `quantize`: any model as one GGUF file with smaller weights.

use std::{
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
};

use clap::Args;
use futures::executor::block_on;

use super::{
    Common,
    exit::Outcome,
    interrupt, model,
    progress::{Progress, Unit, note, size},
};
use crate::{
    backend::Pace,
    error::{Error, ErrorKind, Result},
    weights::{ModelFile, QuantType, quantize},
};

/// Writes a model as one GGUF file with quantised weights, its tokeniser and its classifier inside.
#[derive(Args)]
#[command(after_help = "\
Types: q8_0 is nearly exact, q4_k a little less so at half the size; q4_0, q4_1, q5_0, q5_1, q2_k, q3_k, q5_k, q6_k, f16, bf16 and f32 are there
too. The file gets its name only when it is whole; one of that name is replaced.

Examples:
  edge-reranker quantize ./Qwen3-Reranker-0.6B reranker-q8_0.gguf
  edge-reranker quantize 0.6b reranker-q4_k.gguf --type q4_k")]
pub(crate) struct Options {
    /// A checkpoint's folder, a GGUF file or a model's id
    #[arg(value_name = "IN")]
    from: String,
    /// The file to write
    #[arg(value_name = "OUT.gguf")]
    to: PathBuf,
    /// The type of most weights
    #[arg(long = "type", value_name = "TYPE", default_value = "q8_0", value_parser = str::parse::<QuantType>)]
    kind: QuantType,
}

/// Runs the verb.
pub(crate) fn run(common: &Common, options: &Options) -> Outcome {
    let to = &options.to;
    if to.is_dir() {
        return Err(Error::new(ErrorKind::BadInput, "is a folder").at(shown(to)).hint("name the file to write").into());
    }
    let found = model::find(common, &options.from)?;
    let file = block_on(ModelFile::open(found.files)).map_err(|e| found.place.name(e))?;
    for warning in &file.warnings {
        note(common.quiet, warning);
    }
    let mut partial = to.clone().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let written = write(common, options, &found.name, &file, &partial)
        .and_then(|()| fs::rename(&partial, to).map_err(|e| cannot_write(to, &e)));
    if let Err(e) = written {
        let _ = fs::remove_file(&partial);
        return Err(e.into());
    }
    let bytes = fs::metadata(to).map_or(0, |m| m.len());
    note(
        common.quiet,
        &format!("wrote {} ({}, from {} of tensors)", to.display(), size(bytes), size(file.index.tensor_bytes())),
    );
    Ok(())
}

fn write(common: &Common, options: &Options, name: &str, file: &ModelFile, partial: &Path) -> Result<()> {
    let mut out = BufWriter::new(File::create(partial).map_err(|e| cannot_write(partial, &e))?);
    let bar = Progress::new(!common.quiet, Unit::Tensors, "Quantising", None);
    let stem = name.strip_suffix(".gguf").unwrap_or(name);
    interrupt::pausing(|cancel| {
        block_on(quantize(file, stem, options.kind, &mut out, |done, total| {
            bar.total(total as u64);
            bar.set(done as u64);
            match cancel.cancelled() {
                true => Err(Error::new(ErrorKind::Aborted, "quantising was interrupted")),
                false => Ok(()),
            }
        }))
    })?;
    let file = out.into_inner().map_err(|e| cannot_write(partial, e.error()))?;
    file.sync_all().map_err(|e| cannot_write(partial, &e))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn cannot_write(path: &Path, e: &std::io::Error) -> Error {
    let (kind, hint) = match e.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => {
            (ErrorKind::BadInput, "check the folder and its permissions")
        }
        _ => (ErrorKind::Download, "check the room on the disk"),
    };
    Error::new(kind, format!("cannot be written: {e}")).at(shown(path)).hint(hint)
}
