//! Where bytes come from. Asynchronous, because a browser's files and addresses are; offsets are u64, because files are large
//! and `usize` has 32 bits there.

use std::{future::Future, ops::Range, pin::Pin, sync::Arc};

use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};

/// A boxed future; `Send` wherever there are threads.
#[cfg(not(target_arch = "wasm32"))]
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// A boxed future; `Send` wherever there are threads.
#[cfg(target_arch = "wasm32")]
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// `Send + Sync` wherever there are threads.
#[cfg(not(target_arch = "wasm32"))]
pub trait MaybeSend: Send + Sync {}
#[cfg(not(target_arch = "wasm32"))]
impl<T: Send + Sync + ?Sized> MaybeSend for T {}
/// `Send + Sync` wherever there are threads.
#[cfg(target_arch = "wasm32")]
pub trait MaybeSend {}
#[cfg(target_arch = "wasm32")]
impl<T: ?Sized> MaybeSend for T {}

/// A file that can be read in ranges.
pub trait ByteSource: MaybeSend {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// True for a file of no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Exactly the bytes of `range`, which the caller keeps within `len`.
    fn read(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>>;
}

/// A named file of a model.
#[derive(Clone)]
pub struct SourceFile {
    /// The file's name without folders.
    pub name: String,
    /// Its bytes.
    pub source: Arc<dyn ByteSource>,
}

impl SourceFile {
    /// A file by name.
    pub fn new(name: impl Into<String>, source: impl ByteSource + 'static) -> Self {
        Self { name: name.into(), source: Arc::new(source) }
    }

    /// Reads a range after checking it against the file's length, and checks what came back.
    pub(crate) async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let length = self.source.len();
        let wanted = range.end.checked_sub(range.start).filter(|_| range.end <= length).ok_or_else(|| {
            Error::bad_model(format!("bytes {}..{} lie outside the file of {length} bytes", range.start, range.end))
                .at(&self.name)
                .hint("the file is truncated or damaged; download it again")
        })?;
        let bytes = self.source.read(range.clone()).await.map_err(|e| e.at(&self.name))?;
        if bytes.len() as u64 != wanted {
            return Err(Error::new(
                ErrorKind::Download,
                format!("{} bytes came for {}..{}", bytes.len(), range.start, range.end),
            )
            .at(&self.name)
            .hint("the source returned a short or long read; try again"));
        }
        Ok(bytes)
    }

    /// Reads the whole file if it is at most `limit` bytes long.
    pub(crate) async fn read_all(&self, limit: u64) -> Result<Bytes> {
        let length = self.source.len();
        if length > limit {
            return Err(Error::bad_model(format!("is {length} bytes long, expected at most {limit}")).at(&self.name));
        }
        self.read(0..length).await
    }
}

/// Bytes that are in memory already, owned or mapped; a read shares them.
pub struct MemorySource(pub Bytes);

impl ByteSource for MemorySource {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        let slice = usize::try_from(range.start)
            .ok()
            .zip(usize::try_from(range.end).ok())
            .filter(|&(start, end)| start <= end && end <= self.0.len())
            .map(|(start, end)| self.0.slice(start..end))
            .ok_or_else(|| Error::new(ErrorKind::Download, "a read outside the bytes in memory"));
        Box::pin(std::future::ready(slice))
    }
}
