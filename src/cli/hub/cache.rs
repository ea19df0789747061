//! The Hugging Face cache on this machine, in the layout that Python's `huggingface_hub` uses, so that both share their files:
//! `models--owner--name/{refs/<revision>, snapshots/<commit>/<file> -> blobs/<etag>, blobs/}`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    http::variable,
    id::{Id, Part, is_gguf, is_word, pick_quant},
};
use crate::error::{Error, ErrorKind, Result};

/// Folders below a snapshot that are searched for GGUF files.
const DEPTH: usize = 3;

/// The folder of all repositories.
fn root() -> Result<PathBuf> {
    if let Some(folder) = variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE")) {
        return Ok(folder.into());
    }
    let home = || std::env::home_dir().map(|home| home.join(".cache"));
    let base = match variable("HF_HOME") {
        Some(folder) => Some(PathBuf::from(folder)),
        None => variable("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).map(|cache| cache.join("huggingface")),
    };
    base.map(|b| b.join("hub"))
        .ok_or_else(|| Error::new(ErrorKind::Download, "no home folder to keep models in").hint("set HF_HOME"))
}

/// One repository in the cache.
pub(super) struct Repo {
    pub(super) folder: PathBuf,
    locks: PathBuf,
}

impl Repo {
    pub(super) fn new(id: &Id) -> Result<Self> {
        let (root, name) = (root()?, format!("models--{}", id.repo.replace('/', "--")));
        Ok(Self { folder: root.join(&name), locks: root.join(".locks").join(name) })
    }

    /// The commit that a revision meant when it was last downloaded.
    fn commit(&self, revision: &str) -> Option<String> {
        if is_word(revision) && self.snapshot(revision).is_dir() {
            return Some(revision.to_owned());
        }
        let commit = fs::read_to_string(self.folder.join("refs").join(revision)).ok()?;
        Some(commit.trim().to_owned()).filter(|c| is_word(c))
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// The model's path, if all of it is here.
    pub(super) fn find(&self, id: &Id) -> Option<PathBuf> {
        let snapshot = self.snapshot(&self.commit(&id.revision)?);
        match &id.part {
            Part::File(file) => Some(snapshot.join(file)).filter(|p| p.is_file()),
            Part::Quant(quant) => {
                let names = ggufs(&snapshot);
                pick_quant(names.iter().map(String::as_str), quant).map(|name| snapshot.join(name))
            }
            Part::Whole if is_checkpoint(&snapshot) => Some(snapshot),
            Part::Whole => match &ggufs(&snapshot)[..] {
                [only] => Some(snapshot.join(only)),
                _ => None,
            },
        }
    }

    /// Waits until no other process downloads this blob; the lock ends with the file.
    pub(super) fn lock(&self, etag: &str, waiting: impl FnOnce()) -> Result<fs::File> {
        let path = self.locks.join(format!("{etag}.lock"));
        let lock = || {
            fs::create_dir_all(&self.locks)?;
            let file = fs::File::create(&path)?;
            if file.try_lock().is_err() {
                waiting();
                file.lock()?;
            }
            Ok(file)
        };
        lock().map_err(|e| cannot_write(&path, &e))
    }

    /// Puts a blob into a snapshot under its name.
    pub(super) fn link(&self, commit: &str, name: &str, etag: &str) -> Result<()> {
        let path = self.snapshot(commit).join(name);
        let up = "../".repeat(2 + name.matches('/').count());
        let link = || {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            if path.exists() {
                return Ok(());
            }
            // A link to a blob that has gone.
            let _ = fs::remove_file(&path);
            symlink(&format!("{up}blobs/{etag}"), &self.blob(etag), &path)
        };
        link().map_err(|e| cannot_write(&path, &e))
    }

    /// Remembers which commit a revision means.
    pub(super) fn remember(&self, revision: &str, commit: &str) -> Result<()> {
        if revision == commit {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
            fs::write(&path, commit)
        };
        write().map_err(|e| cannot_write(&path, &e))
    }
}

#[cfg(unix)]
fn symlink(relative: &str, _blob: &Path, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(relative, path)
}

/// Where links need rights that users do not have: a second name for the file, or at worst a copy.
#[cfg(not(unix))]
fn symlink(_relative: &str, blob: &Path, path: &Path) -> io::Result<()> {
    fs::hard_link(blob, path).or_else(|_| fs::copy(blob, path).map(|_| ()))
}

/// True if config, tokeniser and every file of weights are there.
fn is_checkpoint(snapshot: &Path) -> bool {
    let has = |name: &str| snapshot.join(name).is_file();
    let weights = match fs::read(snapshot.join("model.safetensors.index.json")) {
        Ok(index) => {
            let index: serde_json::Value = serde_json::from_slice(&index).unwrap_or_default();
            index["weight_map"].as_object().is_some_and(|map| map.values().all(|f| f.as_str().is_some_and(has)))
        }
        Err(_) => has("model.safetensors"),
    };
    weights && has("config.json") && has("tokenizer.json")
}

/// The GGUF files of a snapshot, by their paths in it.
fn ggufs(snapshot: &Path) -> Vec<String> {
    fn walk(folder: &Path, under: &str, depth: usize, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = entry.path();
            if path.is_dir() && depth > 0 {
                walk(&path, &format!("{under}{name}/"), depth - 1, found);
            } else if path.is_file() && is_gguf(&name) {
                found.push(format!("{under}{name}"));
            }
        }
    }
    let mut found = Vec::new();
    walk(snapshot, "", DEPTH, &mut found);
    found.sort();
    found
}

/// An error of the cache's disk.
pub(super) fn cannot_write(path: &Path, e: &io::Error) -> Error {
    let hint = match e.kind() {
        io::ErrorKind::StorageFull => "make room on the disk and run this again: it goes on where it stopped",
        _ => "check the folder's permissions, or set HF_HOME to another one",
    };
    Error::new(ErrorKind::Download, format!("cannot be written: {e}")).at(path.display().to_string()).hint(hint)
}
