//! `quantize`: any model as one GGUF file with smaller weights.

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    path::{Path, PathBuf},
    process,
};

use clap::Args;
use futures::executor::block_on;

use super::{
    Common,
    exit::Outcome,
    interrupt::{self, Unfinished},
    model,
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
too. The file gets its name only when it is whole; one of that name is replaced, unless it is part of the model to read.

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
    /// The type of the embedding matrix, the largest of a small model [default: what TYPE has for it]
    #[arg(long, value_name = "TYPE", value_parser = str::parse::<QuantType>)]
    embedding_type: Option<QuantType>,
}

/// Runs the verb.
pub(crate) fn run(common: &Common, options: &Options) -> Outcome {
    let to = target(&options.to)?;
    let found = model::find(common, &options.from)?;
    if found.place.paths().any(|from| fs::canonicalize(from).is_ok_and(|from| from == to)) {
        return Err(refuse(&options.to, "is part of the model to read", "write to another file").into());
    }
    let file = block_on(ModelFile::open(found.files)).map_err(|e| found.place.name(e))?;
    for warning in &file.warnings {
        note(common.quiet, warning);
    }
    let (partial, out) = create_beside(&to)?;
    let unfinished = Unfinished::new(partial.clone());
    let bar = Progress::new(!common.quiet, Unit::Tensors, "Quantising", None);
    let kind = options.embedding_type.map_or(options.kind, |embedding| options.kind.with_embedding(embedding));
    let stem = found.name.strip_suffix(".gguf").unwrap_or(&found.name);
    let mut out = BufWriter::new(out);
    let written = interrupt::pausing(|cancel| {
        block_on(quantize(&file, stem, kind, &mut out, |done, total| {
            bar.total(total as u64);
            bar.set(done as u64);
            match cancel.cancelled() {
                true => Err(Error::new(ErrorKind::Aborted, "quantising was interrupted")),
                false => Ok(()),
            }
        }))
    });
    drop(bar);
    written.map_err(|e| match e.kind() {
        ErrorKind::Download => e.at(shown(&to)).hint("check the room on the disk"),
        _ => found.place.name(e),
    })?;
    let written = out.into_inner().map_err(|e| e.into_error()).and_then(|out| out.sync_all());
    written.and_then(|()| fs::rename(&partial, &to)).map_err(|e| cannot_write(&to, &e))?;
    drop(unfinished);
    let bytes = fs::metadata(&to).map_or(0, |m| m.len());
    note(
        common.quiet,
        &format!("wrote {} ({}, from {} of tensors)", to.display(), size(bytes), size(file.index.tensor_bytes())),
    );
    Ok(())
}

/// The file to write: where a link leads, and never a device, a pipe or a folder.
fn target(path: &Path) -> Result<PathBuf> {
    let real = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(cannot_write(path, &e)),
        Err(_) if fs::symlink_metadata(path).is_ok() => {
            return Err(refuse(path, "is a link to a file that is not there", "remove the link, or name another file"));
        }
        Err(_) if path.file_name().is_none() => {
            return Err(refuse(path, "is no name of a file", "name the file to write"));
        }
        Err(_) => return Ok(path.to_owned()),
    };
    let about = fs::metadata(&real).map_err(|e| cannot_write(path, &e))?;
    match about.file_type() {
        kind if kind.is_dir() => Err(refuse(path, "is a folder", "name the file to write")),
        kind if !kind.is_file() => {
            Err(refuse(path, "is a device or a pipe, not a regular file", "name a file that is new or may be replaced"))
        }
        _ => Ok(real),
    }
}

/// A new file in the target's folder, under a name that nothing has.
fn create_beside(to: &Path) -> Result<(PathBuf, File)> {
    for attempt in 0u32.. {
        let mut name = to.as_os_str().to_owned();
        name.push(format!(".{}-{attempt}.partial", process::id()));
        match File::create_new(&name) {
            Ok(file) => return Ok((name.into(), file)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(cannot_write(to, &e)),
        }
    }
    unreachable!("some name is free")
}

fn refuse(path: &Path, what: &str, hint: &str) -> Error {
    Error::bad_input(what).at(shown(path)).hint(hint)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn cannot_write(path: &Path, e: &io::Error) -> Error {
    let (kind, hint) = match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied => {
            (ErrorKind::BadInput, "check the folder and its permissions")
        }
        _ => (ErrorKind::Download, "check the room on the disk"),
    };
    Error::new(kind, format!("cannot be written: {e}")).at(shown(path)).hint(hint)
}
