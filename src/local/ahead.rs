//! A file that is read in order, mostly, by somebody who has no memory for it.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    path::Path,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;

use crate::{
    error::{Error, ErrorKind, Result},
    weights::{BoxFuture, ByteSource},
};

/// How much the system is asked to fetch behind every read: about a layer of the 0.6B.
#[cfg(unix)]
const AHEAD: usize = 16 << 20;

/// Copies what is asked for, since the pages of a mapping count as the process's own memory; and lets the system fetch what follows
/// while somebody computes.
pub(super) struct ReadAhead {
    file: Mutex<File>,
    length: u64,
    /// Never read: the handle by which the system hears of what comes next.
    #[cfg(unix)]
    map: Option<memmap2::Mmap>,
}

impl ReadAhead {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let (file, length) = super::open_file(path)?;
        Ok(Self {
            #[cfg(unix)]
            map: if length > 0 { Some(super::map_file(&file)?) } else { None },
            file: Mutex::new(file),
            length,
        })
    }

    fn copy(&self, range: Range<u64>) -> io::Result<Bytes> {
        let mut bytes = vec![0; usize::try_from(range.end - range.start).map_err(io::Error::other)?];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(range.start))?;
        file.read_exact(&mut bytes)?;
        drop(file);
        #[cfg(unix)]
        if let (Some(map), Ok(end)) = (&self.map, usize::try_from(range.end)) {
            // Advice that is not taken costs nothing.
            let _ = map.advise_range(memmap2::Advice::WillNeed, end, AHEAD.min(map.len().saturating_sub(end)));
        }
        Ok(bytes.into())
    }
}

impl ByteSource for ReadAhead {
    fn len(&self) -> u64 {
        self.length
    }

    fn read(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        let read = self.copy(range).map_err(|e| {
            Error::new(ErrorKind::Download, format!("cannot be read: {e}"))
                .hint("was it cut or moved while it was in use? load it again")
        });
        Box::pin(std::future::ready(read))
    }
}
