//! A request's JSON object, read no further than the limits allow.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use axum::body::Body;
use futures::StreamExt;
use hyper::HeaderMap;
use serde_json::Value;
use tokio::time::timeout;

use super::{
    fields,
    problem::{Problem, too_large},
};

/// Without a byte: a client that hangs.
const STALLED: Duration = Duration::from_secs(30);
/// From here on reading JSON takes long enough to be in the way of other requests.
const LARGE: usize = 256 << 10;

/// The memory of bodies that are still arriving, which all requests together may take.
pub(super) struct Uploads {
    limit: usize,
    held: AtomicUsize,
}

/// What one body holds of it.
struct Upload<'a> {
    uploads: &'a Uploads,
    bytes: usize,
}

impl Uploads {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, held: AtomicUsize::new(0) }
    }
}

impl Upload<'_> {
    fn take(&mut self, bytes: usize) -> bool {
        let held = self.uploads.held.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        held + bytes <= self.uploads.limit
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        self.uploads.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads the object. `foreign`: a page sends it that may not ask here.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    foreign: bool,
    uploads: &Uploads,
    retry_after: u64,
) -> Result<fields::Body, Problem> {
    check_type(headers, foreign)?;
    let bytes = read_bytes(headers, body, limit, uploads, retry_after).await?;
    if bytes.is_empty() {
        return Err(Problem::new(400, "bad-input", "The body is empty: send a JSON object."));
    }
    let several = tokio::runtime::Handle::current().runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread;
    if bytes.len() > LARGE && several { tokio::task::block_in_place(|| parse(&bytes)) } else { parse(&bytes) }
}

fn parse(bytes: &[u8]) -> Result<fields::Body, Problem> {
    let wrong = |what: String| Problem::new(400, "bad-input", what);
    if std::str::from_utf8(bytes).is_err() {
        return Err(wrong("The body is not UTF-8 text.".into()));
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(body)) => Ok(body),
        Ok(other) => Err(wrong(format!("The body must be a JSON object, got {}.", fields::kind(&other)))),
        Err(e) => Err(wrong(format!("The body is not JSON: {e}."))),
    }
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
    uploads: &Uploads,
    retry_after: u64,
) -> Result<Vec<u8>, Problem> {
    let over = || too_large(format!("The body is larger than {limit} bytes: send fewer or shorter documents."));
    let told = headers.get("content-length").and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|n| n > limit as u64) {
        return Err(over());
    }
    let mut upload = Upload { uploads, bytes: 0 };
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    let stalled = || Problem::new(408, "timeout", "The body did not arrive: nothing came for a while.");
    while let Some(chunk) = timeout(STALLED, stream.next()).await.map_err(|_| stalled())? {
        let chunk = chunk.map_err(|e| Problem::new(400, "bad-input", "The body broke off.").cause(e))?;
        if bytes.len() + chunk.len() > limit {
            return Err(over());
        }
        if !upload.take(chunk.len()) {
            let what = "Too many requests arrive at once: ask again soon.";
            return Err(Problem::busy(429, "busy", what, retry_after));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
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
        let uploads = Uploads::new(10);
        let mut one = Upload { uploads: &uploads, bytes: 0 };
        assert!(one.take(8));
        let mut other = Upload { uploads: &uploads, bytes: 0 };
        assert!(!other.take(3));
        drop((one, other));
        assert_eq!(uploads.held.load(Ordering::Relaxed), 0);
    }
}
