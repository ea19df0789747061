//! Which pages of other origins may ask, and what their browsers must be told.

use hyper::{HeaderMap, Method, header::HeaderValue};

const METHODS: &str = "GET, HEAD, POST, OPTIONS";
const HEADERS: &str = "authorization, content-type, x-api-key";

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|v| v.to_str().ok())
}

/// Whether a page sends the request that is neither of this origin nor of one of `origins`. Browsers tell; other clients send neither header.
pub(super) fn is_foreign(headers: &HeaderMap, origins: &[String]) -> bool {
    let (origin, site) = (text(headers, "origin"), text(headers, "sec-fetch-site"));
    let allowed = |origin: &str| origins.iter().any(|one| one == "*" || one == origin);
    if site == Some("same-origin") || allowed(origin.unwrap_or_default()) {
        return false;
    }
    let Some(origin) = origin else { return site == Some("cross-site") };
    // A server that ends TLS for this one changes the scheme.
    let host = |address: &str| {
        let name = address.to_ascii_lowercase();
        name.strip_suffix(":80").or_else(|| name.strip_suffix(":443")).map(str::to_owned).unwrap_or(name)
    };
    let of_origin = origin.split_once("://").map(|(_, rest)| host(rest));
    of_origin.is_none() || of_origin != text(headers, "host").map(host)
}

/// Headers of every answer. `origins`: those allowed, `*` for all.
pub(super) fn headers_for(
    method: &Method,
    request: &HeaderMap,
    origins: &[String],
) -> Vec<(&'static str, HeaderValue)> {
    let any = origins.iter().any(|one| one == "*");
    let mut headers = Vec::new();
    if !any && !origins.is_empty() {
        headers.push(("vary", HeaderValue::from_static("Origin")));
    }
    let Some(origin) = request.get("origin").filter(|o| any || origins.iter().any(|one| *o == one.as_str())) else {
        return headers;
    };
    let allowed = if any { HeaderValue::from_static("*") } else { origin.clone() };
    headers.push(("access-control-allow-origin", allowed));
    headers.push(("access-control-expose-headers", HeaderValue::from_static("retry-after, x-cache, x-request-id")));
    if method == Method::OPTIONS {
        let asked = request.get("access-control-request-headers").cloned();
        headers.push(("access-control-allow-methods", HeaderValue::from_static(METHODS)));
        headers.push(("access-control-allow-headers", asked.unwrap_or(HeaderValue::from_static(HEADERS))));
        headers.push(("access-control-max-age", HeaderValue::from_static("86400")));
    }
    headers
}
