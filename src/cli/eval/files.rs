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
    if data.iter().filter(|given| *given == "-").count() > 1 {
        return Err(Error::bad_input("standard input can be read once only").at("--data"));
    }
    for given in data {
        if given.is_empty() {
            return Err(Error::bad_input("an empty name").at("--data").hint("name a file or a folder"));
        }
        if Path::new(given).is_dir() {
            let mut inside =
                in_folder(given).map_err(|e| Error::bad_input(format!("cannot be read: {e}")).at(given))?;
            if inside.is_empty() {
                return Err(
                    Error::bad_input("no .jsonl or .ndjson file in this folder, plain or with .gz or .zst").at(given)
                );
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
    let plain = without(without(&name, &COMPRESSIONS), &FORMATS);
    if plain.is_empty() { name } else { plain.into() }
}

/// A name without its ending, if that is one of these, in small letters or capitals.
fn without<'a>(name: &'a str, endings: &[&str]) -> &'a str {
    let split = |ending: &&str| name.split_at_checked(name.len().checked_sub(ending.len())?);
    let of = |ending: &&str| split(ending).filter(|(_, end)| end.eq_ignore_ascii_case(ending));
    endings.iter().find_map(of).map_or(name, |(start, _)| start)
}

fn with_folder(path: &str, stem: &str) -> String {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let folder = full.parent().and_then(Path::file_name).unwrap_or_default();
    format!("{}/{stem}", folder.to_string_lossy())
}

/// Files that no further file may be: what is read, and what is to be written already.
#[derive(Default)]
pub(super) struct Taken {
    read: Vec<PathBuf>,
    written: Vec<PathBuf>,
}

impl Taken {
    pub(super) fn read(&mut self, path: &Path) {
        self.read.push(real(path));
    }

    /// Takes a file to write.
    fn write(&mut self, path: &Path) -> Result<()> {
        let here = real(path);
        let refuse = |what: &str| Err(Error::bad_input(what).at(shown(path)).hint("write to another file"));
        if self.read.contains(&here) {
            return refuse("is a file to read");
        }
        if self.written.contains(&here) {
            return refuse("is to be written twice");
        }
        self.written.push(here);
        Ok(())
    }
}

/// The path without links, of a file that need not be there.
fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| {
        let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let folder = full.parent().and_then(|folder| fs::canonicalize(folder).ok());
        match (folder, full.file_name()) {
            (Some(folder), Some(name)) => folder.join(name),
            _ => full,
        }
    })
}

/// A file to write. It is opened before anything is computed, so that hours of work do not end at a folder that is not there; what it held
/// stays until it is written, and a new file that was never written to is removed.
pub(super) struct Target {
    path: PathBuf,
    file: Option<File>,
    new: bool,
}

impl Target {
    pub(super) fn open(path: &Path, taken: &mut Taken) -> Result<Self> {
        if path.is_dir() {
            return Err(Error::bad_input("is a folder").at(shown(path)).hint("name the file to write"));
        }
        taken.write(path)?;
        Self::reopen(path)
    }

    /// Opens a file that was taken before.
    pub(super) fn reopen(path: &Path) -> Result<Self> {
        let new = !path.exists();
        let file = OpenOptions::new().create(true).write(true).truncate(false).open(path);
        let file = file.map_err(|e| cannot_write(path, &e))?;
        Ok(Self { path: path.to_owned(), file: Some(file), new })
    }

    /// Empties the file and returns what writes to it.
    pub(super) fn start(mut self) -> Result<Lines> {
        let file = self.file.take().expect("only this takes it, once");
        // Pipes and devices have no length.
        if file.metadata().is_ok_and(|m| m.is_file()) {
            file.set_len(0).map_err(|e| cannot_write(&self.path, &e))?;
        }
        Ok(Lines { out: BufWriter::new(file), path: self.path.clone() })
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.new && self.file.take().is_some() {
            let _ = fs::remove_file(&self.path); // it is empty
        }
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
    if path.exists() && !path.is_dir() {
        return Err(Error::bad_input("is a file, expected a folder").at(shown(path)));
    }
    fs::create_dir_all(path).map_err(|e| cannot_write(path, &e))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn cannot_write(path: &Path, e: &io::Error) -> Error {
    let (kind, hint) = match e.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::InvalidFilename => (ErrorKind::BadInput, "check the folder, the name and the permissions"),
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
            ("X.JSONL.GZ", "X"),
            ("é.l", "é.l"),
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
