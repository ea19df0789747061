//! Model files of this machine: memory-mapped, so that opening one costs nothing and its weights share the system's page cache.
//!
//! A mapped file must not change while it is used. Whoever overwrites it in place gets scores of a mixed model; whoever truncates it
//! takes pages away that are still mapped, and the system ends the process with a bus error (`SIGBUS`) when one of them is
//! touched. Replacing a file by renaming another over it, as downloads and `quantize` do, is safe: the old pages live on.

mod ahead;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::{
    error::{Error, ErrorKind, Result},
    weights::{MemorySource, SourceFile},
};

/// The files of the model at `path`: a `.gguf` file, or a folder as Hugging Face lays them out.
///
/// Of a folder its `config.json`, `tokenizer.json`, `*.safetensors` and their index are taken; a folder without safetensors may
/// hold a single `.gguf` instead.
///
/// # Errors
/// `bad-input` if there is no such path, if it cannot be read or if nothing there is a model.
pub fn open(path: &Path) -> Result<Vec<SourceFile>> {
    open_as(path, map)
}

/// As [`open`], for weights that are streamed: what is read is copied, so that no page of the file counts as this process's memory, and the system is told to
/// read ahead.
///
/// # Errors
/// As [`open`].
pub fn open_streamed(path: &Path) -> Result<Vec<SourceFile>> {
    open_as(path, |path| {
        let source = ahead::ReadAhead::open(path).map_err(|e| cannot_read(path, &e))?;
        Ok(SourceFile::new(file_name(path), source))
    })
}

fn open_as(path: &Path, file: impl Fn(&Path) -> Result<SourceFile>) -> Result<Vec<SourceFile>> {
    let about = std::fs::metadata(path).map_err(|e| cannot_read(path, &e))?;
    if about.is_dir() {
        return folder(path)?.iter().map(|p| file(p)).collect();
    }
    if extension(path).is_some_and(|e| e == "safetensors" || e == "json") {
        return Err(Error::bad_input("is one file of a checkpoint")
            .at(shown(path))
            .hint("give the folder that holds it"));
    }
    Ok(vec![file(path)?])
}

/// The model that this library carries.
pub fn builtin() -> Vec<SourceFile> {
    static MINI: &[u8] = include_bytes!("../../models/mini.gguf");
    vec![SourceFile::new("mini.gguf", MemorySource(Bytes::from_static(MINI)))]
}

/// The tokeniser at `path`, a `tokenizer.json` or a folder with one, as the file that models look for.
///
/// # Errors
/// `bad-input` if there is no such file or if it cannot be read.
pub fn open_tokenizer(path: &Path) -> Result<SourceFile> {
    let file = if path.is_dir() { path.join("tokenizer.json") } else { path.to_owned() };
    Ok(SourceFile { name: "tokenizer.json".into(), ..map(&file)? })
}

fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn cannot_read(path: &Path, e: &io::Error) -> Error {
    let (what, hint) = match e.kind() {
        io::ErrorKind::NotFound => ("no such file or folder".to_owned(), "check the path"),
        io::ErrorKind::PermissionDenied => ("may not be read".to_owned(), "check its permissions"),
        _ => (format!("cannot be read: {e}"), "check the path and the disk"),
    };
    Error::new(ErrorKind::BadInput, what).at(shown(path)).hint(hint)
}

/// The paths of a folder's model, in the order of their names.
fn folder(path: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(path).and_then(|entries| entries.map(|e| Ok(e?.path())).collect::<io::Result<Vec<_>>>());
    let mut files: Vec<PathBuf> = entries.map_err(|e| cannot_read(path, &e))?;
    files.sort();
    let of_kind =
        |kind: &str| files.iter().filter(move |p| extension(p).as_deref() == Some(kind)).cloned().collect::<Vec<_>>();
    let has_config = files.iter().any(|p| p.ends_with("config.json"));
    let (mut weights, ggufs) = (of_kind("safetensors"), of_kind("gguf"));
    if !weights.is_empty() || (has_config && ggufs.is_empty()) {
        let settings = ["config.json", "tokenizer.json", "model.safetensors.index.json"];
        weights.extend(files.iter().filter(|p| settings.iter().any(|s| p.ends_with(s))).cloned());
        return Ok(weights);
    }
    match &ggufs[..] {
        [_] => Ok(ggufs),
        [] => Err(Error::bad_input("no model in this folder")
            .at(shown(path))
            .hint("give a .gguf file, or a folder with config.json, tokenizer.json and *.safetensors")),
        several => {
            let names: Vec<String> = several.iter().map(|p| file_name(p)).collect();
            Err(Error::bad_input(format!("several models in this folder ({})", names.join(", ")))
                .at(shown(path))
                .hint("give the path of one of them"))
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn map(path: &Path) -> Result<SourceFile> {
    let bytes = map_bytes(path).map_err(|e| cannot_read(path, &e))?;
    Ok(SourceFile::new(file_name(path), MemorySource(bytes)))
}

/// A regular file and its length.
fn open_file(path: &Path) -> io::Result<(File, u64)> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    if about.is_file() { Ok((file, about.len())) } else { Err(io::Error::other("it is no regular file")) }
}

fn map_bytes(path: &Path) -> io::Result<Bytes> {
    let (file, length) = open_file(path)?;
    if length == 0 { Ok(Bytes::new()) } else { Ok(Bytes::from_owner(map_file(&file)?)) }
}

fn map_file(file: &File) -> io::Result<memmap2::Mmap> {
    // SAFETY: the mapping is read-only and unmapped by its owner alone. What no process can promise is that nobody else changes the
    // file; the module's documentation says what happens then, and that the bytes are checked as a stranger's.
    #[allow(unsafe_code)]
    unsafe {
        memmap2::Mmap::map(file)
    }
}
