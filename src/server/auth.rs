//! Who may ask. Keys are compared by their hashes, so that time tells neither how many letters were right nor how many there are.

use hyper::HeaderMap;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::problem::Problem;

/// Whoever looks after the server may always ask whether it is well.
pub(super) const OPEN: [&str; 3] = ["/health", "/healthz", "/ping"];

/// The keys that let in; none lets everybody in.
pub(super) struct Keys(Vec<[u8; 32]>);

impl Keys {
    pub(super) fn new(keys: &[String]) -> Self {
        Self(keys.iter().map(|key| digest(key)).collect())
    }

    /// Lets a request in, or refuses it. Tells which key it has where there are several.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<Option<usize>, Problem> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let given = given(headers);
        let key = digest(given.unwrap_or_default());
        let fits: Vec<Choice> = self.0.iter().map(|one| one.ct_eq(&key)).collect(); // all are looked at
        if let Some(i) = fits.iter().position(|fits| (*fits).into()) {
            return Ok(Some(i).filter(|_| self.0.len() > 1));
        }
        let message = match given {
            Some(_) => "The API key is not right.",
            None => "An API key is needed: send it as Authorization: Bearer KEY, or as x-api-key.",
        };
        Err(Problem::new(401, "unauthorized", message).header("www-authenticate", "Bearer"))
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn given(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
    let in_authorization = text("authorization").and_then(|value| {
        let (scheme, key) = value.split_once(char::is_whitespace)?;
        let known = ["bearer", "api-key"].iter().any(|one| scheme.eq_ignore_ascii_case(one));
        known.then(|| key.trim())
    });
    in_authorization.or_else(|| text("x-api-key"))
}
