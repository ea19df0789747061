//! A request's body, read no further than the limits allow.

use std::{
    error::Error,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::{Body, Bytes};
use futures::StreamExt;
use hyper::HeaderMap;
use tokio::time::timeout;

use super::problem::{Problem, too_large};

/// Without a byte: a client that hangs.
const STALLED: Duration = Duration::from_secs(30);
/// From here on reading JSON, and whatever else goes over all texts, takes long enough to be in the way of other requests.
const LARGE: usize = 256 << 10;

/// The texts of all requests under way: their bodies, from the first byte on, and their answers, to the last one.
pub(super) struct Uploads {
    limit: usize,
    held: AtomicUsize,
    retry_after: u64,
}

/// What one request holds of it.
pub(super) struct Upload {
    uploads: Arc<Uploads>,
    bytes: usize,
}

impl Uploads {
    pub(super) fn new(limit: usize, retry_after: u64) -> Arc<Self> {
        Arc::new(Self { limit, held: AtomicUsize::new(0), retry_after })
    }
}

impl Upload {
    /// Bytes of the request.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes so many bytes more, if there is room.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Problem> {
        let held = self.uploads.held.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if held + bytes <= self.uploads.limit {
            return Ok(());
        }
        let what = "The requests under way hold too much text already: ask again soon.";
        Err(Problem::busy(429, "busy", what, self.uploads.retry_after))
    }

    /// An answer's bytes in place of the request's, until the last of them is sent. There is no refusing any more: it makes others wait.
    pub(super) fn until_sent(mut self, answer: String) -> Bytes {
        struct Held(String, #[allow(dead_code, reason = "it ends with the text")] Upload);

        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }

        self.uploads.held.fetch_add(answer.len(), Ordering::Relaxed);
        self.uploads.held.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = answer.len();
        Bytes::from_owner(Held(answer, self))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.uploads.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads the text. `foreign`: a page sends it that may not ask here.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    foreign: bool,
    uploads: &Arc<Uploads>,
) -> Result<(String, Upload), Problem> {
    check_type(headers, foreign)?;
    let (bytes, upload) = read_bytes(headers, body, limit, uploads).await?;
    let wrong = |what: &str| Problem::new(400, "bad-input", what);
    let text = String::from_utf8(bytes).map_err(|_| wrong("The body is not UTF-8 text."))?;
    if text.is_empty() { Err(wrong("The body is empty: send a JSON object.")) } else { Ok((text, upload)) }
}

/// Does something with texts of so many bytes, without being in the way of other requests while that takes long.
pub(super) fn work<T>(bytes: usize, what: impl FnOnce() -> T) -> T {
    let several = tokio::runtime::Handle::current().runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread;
    if bytes > LARGE && several { tokio::task::block_in_place(what) } else { what() }
}

/// A form could be sent by any page without asking, and so could bytes without a type; JSON cannot.
fn check_type(headers: &HeaderMap, foreign: bool) -> Result<(), Problem> {
    let refuse = |what: String| Err(Problem::new(415, "bad-input", what));
    let wanted = "The body must be JSON: send it with Content-Type: application/json";
    let text = |name: &str| headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).to_ascii_lowercase());
    match text("content-type").filter(|t| !t.is_empty()) {
        None if foreign => return refuse(format!("{wanted}.")),
        Some(given) if !is_json(&given) => {
            return refuse(format!("{wanted}, not {}.", given.chars().take(120).collect::<String>()));
        }
        _ => {}
    }
    match text("content-encoding") {
        Some(coding) if coding != "identity" => {
            refuse("The body must not be compressed: leave Content-Encoding out.".into())
        }
        _ => Ok(()),
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim_end();
    let Some(subtype) = essence.strip_prefix("application/") else { return false };
    let word = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    subtype == "json" || subtype.strip_suffix("+json").is_some_and(|name| !name.is_empty() && name.chars().all(word))
}

/// What the client says of the length is believed only if it is too much already.
async fn read_bytes(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    uploads: &Arc<Uploads>,
) -> Result<(Vec<u8>, Upload), Problem> {
    let over = || too_large(format!("The body is larger than {limit} bytes: send fewer or shorter documents."));
    let told = headers.get("content-length").and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|n| n > limit as u64) {
        return Err(over());
    }
    let mut upload = Upload { uploads: uploads.clone(), bytes: 0 };
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    let stalled = || Problem::new(408, "timeout", "The body did not arrive: nothing came for a while.");
    while let Some(chunk) = timeout(STALLED, stream.next()).await.map_err(|_| stalled())? {
        let chunk = chunk.map_err(|e| broken(&e))?;
        if bytes.len() + chunk.len() > limit {
            return Err(over());
        }
        upload.take(chunk.len())?;
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes, upload))
}

/// A body that has no end is most likely one whose client is gone; the other way is that its chunks are not what they should be.
fn broken(e: &axum::Error) -> Problem {
    let mut cause: Option<&dyn Error> = e.source();
    while let Some(deeper) = cause.filter(|e| !e.is::<io::Error>()) {
        cause = deeper.source();
    }
    match cause.and_then(|e| e.downcast_ref()).map(io::Error::kind) {
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => {
            Problem::new(400, "bad-input", "The body's chunks are not as HTTP has them.")
        }
        _ => Problem::new(499, "aborted", "The body broke off."),
    }
    .cause(e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_by_its_types() {
        for yes in
            ["application/json", "application/json; charset=utf-8", "application/vnd.api+json", "application/json ;x"]
        {
            assert!(is_json(yes), "{yes}");
        }
        for no in ["text/plain", "application/jsonx", "application/+json", "multipart/form-data", "application/x;json"]
        {
            assert!(!is_json(no), "{no}");
        }
    }

    #[test]
    fn what_one_body_held_is_free_again() {
        let uploads = Uploads::new(10, 7);
        let empty = || Upload { uploads: uploads.clone(), bytes: 0 };
        let (mut one, mut other) = (empty(), empty());
        assert!(one.take(8).is_ok());
        assert_eq!(other.take(3).unwrap_err().status, 429);
        drop((one, other));
        assert_eq!(uploads.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_answer_counts_until_the_last_of_it_is_gone() {
        let uploads = Uploads::new(10, 7);
        let held = || uploads.held.load(Ordering::Relaxed);
        let mut upload = Upload { uploads: uploads.clone(), bytes: 0 };
        assert!(upload.take(8).is_ok());
        let mut answer = upload.until_sent("twelve bytes".into());
        assert_eq!(held(), 12);
        let rest = answer.split_off(11);
        drop(answer);
        assert_eq!((held(), &rest[..]), (12, &b"s"[..]));
        drop(rest);
        assert_eq!(held(), 0);
    }
}
