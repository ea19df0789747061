//! Requests to the hub, or to a mirror of it.

use std::{io::Read, time::Duration};

use serde_json::Value;
use ureq::{
    Agent, Body,
    config::{AutoHeaderValue, RedirectAuthHeaders},
    http::{HeaderMap, Response, StatusCode, header},
};

use super::id::is_word;
use crate::error::{Error, ErrorKind, Result};

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
/// A server that says nothing for so long has gone.
const PATIENCE: Duration = Duration::from_secs(60);
/// Listings of repositories and indices of checkpoints are far shorter.
const LONGEST_JSON: u64 = 64 << 20;
const MOST_REDIRECTS: usize = 5;

/// A connection to the hub.
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
}

/// What the hub says of a file without sending it.
#[derive(Default)]
pub(super) struct Head {
    /// The blob's name in the cache: the SHA-256 of a large file.
    pub(super) etag: Option<String>,
    pub(super) size: Option<u64>,
    pub(super) commit: Option<String>,
}

/// A variable of the environment that is not empty.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

impl Client {
    /// The hub that `HF_ENDPOINT` names, with the token in `HF_TOKEN` if there is one.
    pub(super) fn from_environment() -> Result<Self> {
        if variable("HF_HUB_OFFLINE").is_some_and(|v| matches!(v.to_lowercase().as_str(), "1" | "true" | "yes" | "on"))
        {
            return Err(Error::new(ErrorKind::Download, "is to be downloaded, and HF_HUB_OFFLINE forbids it")
                .hint("unset it, or give a local model")
                .lasting());
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(AutoHeaderValue::Provided(
                concat!("edge-reranker/", env!("CARGO_PKG_VERSION")).to_owned().into(),
            ))
            // The token goes to the hub only, never to the hosts that it redirects to.
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .timeout_connect(Some(PATIENCE / 2))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .build()
            .new_agent();
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.into());
        Ok(Self { agent, endpoint: endpoint.trim_end_matches('/').to_owned(), token: variable("HF_TOKEN") })
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The address of a file of a repository.
    pub(super) fn file(&self, repo: &str, revision: &str, path: &str) -> String {
        let path: Vec<String> = path.split('/').map(encode).collect();
        format!("{}/{repo}/resolve/{}/{}", self.endpoint, encode(revision), path.join("/"))
    }

    /// The address of a repository's listing.
    pub(super) fn listing(&self, repo: &str, revision: &str) -> String {
        format!("{}/api/models/{repo}/revision/{}", self.endpoint, encode(revision))
    }

    /// Asks about a file. The hub answers for a large file itself and redirects to another host only for its bytes.
    pub(super) fn head(&self, url: &str) -> Result<Head> {
        let mut at = url.to_owned();
        let mut head = Head::default();
        for _ in 0..=MOST_REDIRECTS {
            let mut request = self.agent.head(&at).config().max_redirects(0).max_redirects_will_error(false).build();
            if let Some(token) = self.token.as_ref().filter(|_| self.is_own(&at)) {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            let reply = request.call().map_err(|e| unreachable(&at, &e))?;
            let headers = reply.headers();
            head.commit = head.commit.or_else(|| text(headers, "x-repo-commit").filter(|c| is_word(c)));
            head.etag = head.etag.or_else(|| text(headers, "x-linked-etag").as_deref().and_then(blob_name));
            head.size = head.size.or_else(|| text(headers, "x-linked-size")?.parse().ok());
            if reply.status().is_redirection() && (head.etag.is_none() || head.size.is_none()) {
                let to = text(headers, "location").ok_or_else(|| failed(&at, "redirects to nowhere".into()))?;
                at = self.join(&at, &to);
                continue;
            }
            if !reply.status().is_redirection() {
                check(&at, reply.status())?;
                head.etag = head.etag.or_else(|| text(headers, "etag").as_deref().and_then(blob_name));
                head.size = head.size.or_else(|| text(headers, "content-length")?.parse().ok());
            }
            return Ok(head);
        }
        Err(failed(url, "redirects in a circle".into()))
    }

    /// A JSON document; none where the server has none.
    pub(super) fn json(&self, url: &str) -> Result<Option<Value>> {
        let mut reply = self.get(url, 0)?;
        if reply.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        check(url, reply.status())?;
        let mut body = Vec::new();
        let read = reply.body_mut().as_reader().take(LONGEST_JSON).read_to_end(&mut body);
        read.map_err(|e| failed(url, format!("the reply broke off: {e}")))?;
        serde_json::from_slice(&body).map(Some).map_err(|e| failed(url, format!("the reply is no JSON: {e}")))
    }

    /// A file from byte `start`; the reply's status is the caller's to look at.
    pub(super) fn get(&self, url: &str, start: u64) -> Result<Response<Body>> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if start > 0 {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        request.call().map_err(|e| unreachable(url, &e))
    }

    fn is_own(&self, url: &str) -> bool {
        url.strip_prefix(&self.endpoint).is_some_and(|rest| rest.starts_with('/'))
    }

    fn join(&self, from: &str, to: &str) -> String {
        if to.contains("://") {
            return to.to_owned();
        }
        let root = from.find("://").and_then(|i| from[i + 3..].find('/').map(|j| &from[..i + 3 + j])).unwrap_or(from);
        if to.starts_with('/') { format!("{root}{to}") } else { format!("{root}/{to}") }
    }
}

/// Refuses every status but success.
pub(super) fn check(url: &str, status: StatusCode) -> Result<()> {
    match status.as_u16() {
        200..300 => Ok(()),
        401 | 403 => Err(failed(
            url,
            format!("status {status}: the repository does not exist, is private or wants its terms accepted"),
        )
        .hint("check the name; for a private or gated one set HF_TOKEN")
        .lasting()),
        404 => Err(failed(url, "no such repository, revision or file".into()).hint("check the model's id").lasting()),
        429 => Err(failed(url, "the server wants fewer requests (status 429)".into())
            .hint("wait a few minutes, or set HF_TOKEN")),
        _ => Err(failed(url, format!("status {status}")).hint("try again later, or set HF_ENDPOINT to a mirror")),
    }
}

pub(super) fn failed(url: &str, what: String) -> Error {
    Error::new(ErrorKind::Download, what).at(url)
}

fn unreachable(url: &str, e: &ureq::Error) -> Error {
    failed(url, format!("cannot be reached: {e}"))
        .hint("check the connection and the proxy, set HF_ENDPOINT to a mirror, or give a local model")
}

/// A header's text.
pub(super) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.trim().to_owned())
}

/// An entity tag as the cache names blobs by it. Tags that could not be a file's name are not used.
fn blob_name(etag: &str) -> Option<String> {
    let name = etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"');
    (is_word(name) && name.len() <= 128).then(|| name.to_owned())
}

fn encode(text: &str) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~".contains(b);
    text.as_bytes().iter().map(|b| if plain(b) { char::from(*b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_become_names_of_files_or_nothing() {
        assert_eq!(blob_name("\"abc-1\"").as_deref(), Some("abc-1"));
        assert_eq!(blob_name("W/\"abc\"").as_deref(), Some("abc"));
        for hostile in ["\"../../x\"", "\"..\"", "\"\"", "\"a/b\"", "\"a\\b\""] {
            assert_eq!(blob_name(hostile), None, "{hostile}");
        }
        assert_eq!(encode("refs/pr 1"), "refs%2Fpr%201");
    }
}
