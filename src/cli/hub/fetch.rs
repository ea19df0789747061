//! One file from the hub into the cache: what is already here is not asked for again, and nothing gets its name before it is whole.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use sha2::{Digest, Sha256};
use ureq::http::StatusCode;

use super::{
    cache::{Repo, cannot_write},
    http::{Client, check, failed, text},
};
use crate::error::{Error, ErrorKind, Result};

const PIECE: usize = 256 << 10;
/// Before a broken connection is tried again.
const BREATH: Duration = Duration::from_millis(200);

/// A file to download.
pub(super) struct Wanted {
    /// Its path in the repository.
    pub(super) path: String,
    pub(super) url: String,
    /// Its blob's name in the cache.
    pub(super) etag: String,
    pub(super) size: Option<u64>,
}

/// A blob under way.
struct Partial {
    path: PathBuf,
    file: File,
    have: u64,
    hash: Sha256,
}

/// Downloads `wanted` unless it is here; `progress` hears how many of its bytes are.
pub(super) fn fetch(
    client: &Client,
    repo: &Repo,
    wanted: &Wanted,
    waiting: impl FnOnce(),
    progress: &dyn Fn(u64),
) -> Result<()> {
    let blob = repo.blob(&wanted.etag);
    let _lock = repo.lock(&wanted.etag, waiting)?;
    if blob.is_file() {
        progress(wanted.size.unwrap_or_default());
        return Ok(());
    }
    let mut partial = Partial::open(repo.blob(&format!("{}.incomplete", wanted.etag)), wanted.size)?;
    progress(partial.have);
    // A connection that broke is tried again at once as long as each attempt brings more.
    loop {
        let before = partial.have;
        match partial.more(client, wanted, progress) {
            Ok(()) => break,
            Err(e) if e.kind() == ErrorKind::Download && partial.have > before => thread::sleep(BREATH),
            Err(e) => return Err(e),
        }
    }
    partial.finish(wanted, &blob)
}

impl Partial {
    /// Opens what an earlier attempt left.
    fn open(path: PathBuf, size: Option<u64>) -> Result<Self> {
        let open = || {
            fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
            let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
            let length = file.metadata()?.len();
            if size.is_none_or(|size| length > size) {
                file.set_len(0)?;
            }
            let (mut hash, mut have, mut piece) = (Sha256::new(), 0, vec![0; PIECE]);
            loop {
                match file.read(&mut piece)? {
                    0 => return Ok((file, have, hash)),
                    n => {
                        hash.update(&piece[..n]);
                        have += n as u64;
                    }
                }
            }
        };
        let (file, have, hash) = open().map_err(|e: std::io::Error| cannot_write(&path, &e))?;
        Ok(Self { path, file, have, hash })
    }

    fn start_again(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.have = 0;
        self.hash = Sha256::new();
        Ok(())
    }

    /// Asks for the rest.
    fn more(&mut self, client: &Client, wanted: &Wanted, progress: &dyn Fn(u64)) -> Result<()> {
        if wanted.size == Some(self.have) {
            return Ok(());
        }
        let resume = "run this again: it goes on where it stopped";
        let mut reply =
            client.get(&wanted.url, self.have).map_err(|e| if self.have > 0 { e.hint(resume) } else { e })?;
        check(&wanted.url, reply.status())?;
        let goes_on = reply.status() == StatusCode::PARTIAL_CONTENT
            && text(reply.headers(), "content-range").is_some_and(|r| r.starts_with(&format!("bytes {}-", self.have)));
        if self.have > 0 && !goes_on {
            // A server without ranges sends the whole file.
            check_whole(&wanted.url, reply.status())?;
            self.start_again().map_err(|e| cannot_write(&self.path, &e))?;
        }
        let mut body = reply.body_mut().as_reader();
        let mut piece = vec![0; PIECE];
        loop {
            let n = body
                .read(&mut piece)
                .map_err(|e| failed(&wanted.url, format!("broke off after {} bytes: {e}", self.have)).hint(resume))?;
            if n == 0 {
                break;
            }
            self.file.write_all(&piece[..n]).map_err(|e| cannot_write(&self.path, &e))?;
            self.hash.update(&piece[..n]);
            self.have += n as u64;
            progress(self.have);
            if wanted.size.is_some_and(|size| self.have > size) {
                break;
            }
        }
        match wanted.size {
            Some(size) if self.have < size => {
                Err(failed(&wanted.url, format!("broke off after {} of {size} bytes", self.have)).hint(resume))
            }
            _ => Ok(()),
        }
    }

    /// Checks the content and gives the blob its name. Content that is wrong is thrown away, and nothing else.
    fn finish(self, wanted: &Wanted, blob: &Path) -> Result<()> {
        let is_sha256 = wanted.etag.len() == 64 && wanted.etag.bytes().all(|b| b.is_ascii_hexdigit());
        let found: String = self.hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        let wrong = match wanted.size {
            Some(size) if size != self.have => Some(format!("{} bytes came, the server announced {size}", self.have)),
            _ if is_sha256 && !found.eq_ignore_ascii_case(&wanted.etag) => {
                Some(format!("the content's SHA-256 is {found}, expected {}", wanted.etag))
            }
            _ => None,
        };
        if let Some(what) = wrong {
            drop(self.file);
            let _ = fs::remove_file(&self.path);
            return Err(Error::new(ErrorKind::Integrity, format!("{what}; the partial file was deleted"))
                .at(&wanted.url)
                .hint("run this again; if it stays so, the server or something on the way to it changes the file"));
        }
        self.file.sync_all().map_err(|e| cannot_write(&self.path, &e))?;
        drop(self.file);
        fs::rename(&self.path, blob).map_err(|e| cannot_write(blob, &e))
    }
}

/// A range that was asked for and is not what came.
fn check_whole(url: &str, status: StatusCode) -> Result<()> {
    match status {
        StatusCode::OK => Ok(()),
        _ => {
            Err(Error::new(ErrorKind::Integrity, format!("status {status} with another range than asked for")).at(url))
        }
    }
}
