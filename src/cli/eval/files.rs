//! Which files are the sets, and what they are called; and the files that are written.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use crate::error::{Error, ErrorKind, Result};

const COMPRESSIONS: [&str; 2] = [".gz", ".zst"];
const FORMATS: [&str; 3] = [".jsonl", ".ndjson", ".json"];

/// A file of queries.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SetFile {
    pub(super) name: String,
    pub(super) path: String,
}

/// The sets of `--data`: files as they are, of folders what looks like a set, sorted by name.
pub(super) fn find(data: &[String]) -> Result<Vec<SetFile>> {
    let mut paths = Vec::new();
    for given in data {
        if Path::new(given).is_dir() {
            let mut inside =
                in_folder(given).map_err(|e| Error::bad_input(format!("cannot be read: {e}")).at(given))?;
            if inside.is_empty() {
                return Err(Error::bad_input("no .jsonl, .jsonl.gz or .jsonl.zst file in this folder").at(given));
            }
            inside.sort();
            paths.append(&mut inside);
        } else {
            paths.push(given.clone());
        }
    }
    let names: Vec<String> = paths.iter().map(|path| stem(path)).collect();
    let alike = |name: &String| names.iter().filter(|n| *n == name).count() > 1;
    let name = |(path, stem): (&String, &String)| if alike(stem) { with_folder(path, stem) } else { stem.clone() };
    let named: Vec<String> = paths.iter().zip(&names).map(name).collect();
    for (i, name) in named.iter().enumerate() {
        if named[..i].contains(name) {
            return Err(Error::bad_input(format!("a second set called {name:?}"))
                .at(&paths[i])
                .hint("give each file once, and files of one name from folders of different names"));
        }
    }
    Ok(named.into_iter().zip(paths).map(|(name, path)| SetFile { name, path }).collect())
}

fn in_folder(folder: &str) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let plain = COMPRESSIONS.iter().find_map(|c| name.strip_suffix(c)).unwrap_or(&name);
        let is_set = plain.ends_with(".jsonl") || plain.ends_with(".ndjson");
        if is_set && !name.starts_with('.') && path.is_file() {
            found.push(path.to_string_lossy().into_owned());
        }
    }
    Ok(found)
}

/// The file's name without what says how it is written.
fn stem(path: &str) -> String {
    if path == "-" {
        return "stdin".into();
    }
    let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let plain = COMPRESSIONS.iter().find_map(|c| name.strip_suffix(c)).unwrap_or(&name);
    let plain = FORMATS.iter().find_map(|f| plain.strip_suffix(f)).unwrap_or(plain);
    if plain.is_empty() { name } else { plain.into() }
}

fn with_folder(path: &str, stem: &str) -> String {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let folder = full.parent().and_then(Path::file_name).unwrap_or_default();
    format!("{}/{stem}", folder.to_string_lossy())
}

/// A file to write. It is opened before anything is computed, so that hours of work do not end at a folder that is not there; what it held
/// stays until it is written.
pub(super) struct Target {
    path: PathBuf,
    file: File,
}

impl Target {
    /// Opens it; none of the files that are `read` is taken.
    pub(super) fn open(path: &Path, read: &[&str]) -> Result<Self> {
        let same = |other: &&str| fs::canonicalize(path).is_ok_and(|p| fs::canonicalize(other).is_ok_and(|o| o == p));
        if read.iter().any(same) {
            return Err(Error::bad_input("is a file to read").at(shown(path)).hint("write to another file"));
        }
        if path.is_dir() {
            return Err(Error::bad_input("is a folder").at(shown(path)).hint("name the file to write"));
        }
        let file = OpenOptions::new().create(true).write(true).truncate(false).open(path);
        file.map(|file| Self { path: path.to_owned(), file }).map_err(|e| cannot_write(path, &e))
    }

    /// Empties the file and returns what writes to it.
    pub(super) fn start(self) -> Result<Lines> {
        // Pipes and devices have no length.
        if self.file.metadata().is_ok_and(|m| m.is_file()) {
            self.file.set_len(0).map_err(|e| cannot_write(&self.path, &e))?;
        }
        Ok(Lines { out: BufWriter::new(self.file), path: self.path })
    }
}

/// Text on its way to a file.
pub(super) struct Lines {
    path: PathBuf,
    out: BufWriter<File>,
}

impl Lines {
    pub(super) fn write(&mut self, text: &str) -> Result<()> {
        self.out.write_all(text.as_bytes()).map_err(|e| cannot_write(&self.path, &e))
    }

    /// What was written so far is in the file.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(|e| cannot_write(&self.path, &e))
    }
}

/// Makes a folder, and those it lies in.
pub(super) fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|e| cannot_write(path, &e))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_called_as_their_files() {
        for (path, name) in [
            ("a/en.jsonl.gz", "en"),
            ("en.v2.jsonl.zst", "en.v2"),
            ("x.ndjson", "x"),
            ("plain", "plain"),
            (".jsonl", ".jsonl"),
            ("-", "stdin"),
        ] {
            assert_eq!(stem(path), name, "{path}");
        }
        let names = |paths: &[&str]| {
            let paths: Vec<String> = paths.iter().map(|p| (*p).to_owned()).collect();
            find(&paths).map(|found| found.into_iter().map(|f| f.name).collect::<Vec<_>>()).map_err(|e| e.to_string())
        };
        assert_eq!(names(&["x/a.jsonl", "y/a.jsonl.gz", "b"]).unwrap(), ["x/a", "y/a", "b"]);
        assert!(names(&["x/a.jsonl", "x/a.jsonl.gz"]).unwrap_err().contains("a second set called \"x/a\""));
    }
}
