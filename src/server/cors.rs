//! Which pages of other origins may ask, and what their browsers must be told.

use hyper::{HeaderMap, Method, Uri, header::HeaderValue};

const METHODS: &str = "GET, HEAD, POST, OPTIONS";
const HEADERS: &str = "authorization, content-type, x-api-key";

/// An origin as browsers send it: `https://Example.org:443/` is `https://example.org`.
///
/// # Errors
/// What is expected.
pub fn origin(text: &str) -> Result<String, String> {
    let text = text.trim();
    if ["*", "null"].contains(&text) {
        return Ok(text.into());
    }
    let parts =
        |uri: &Uri| Some((uri.scheme_str()?.to_ascii_lowercase(), uri.authority()?.as_str().to_ascii_lowercase()));
    let bare = |uri: &Uri| ["", "/"].contains(&uri.path()) && uri.query().is_none();
    let found = text.parse::<Uri>().ok().filter(bare).as_ref().and_then(parts);
    let (scheme, host) = found
        .filter(|(_, host)| !host.contains('@'))
        .ok_or("expected an origin like https://example.org or http://localhost:3000, or *")?;
    let port = match scheme.as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    Ok(format!("{scheme}://{}", host.strip_suffix(port).unwrap_or(&host)))
}

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

#[cfg(test)]
mod tests {
    use super::origin;

    #[test]
    fn origins_as_browsers_send_them() {
        for (given, wanted) in [
            ("https://x/", "https://x"),
            (" HTTPS://X.example:443", "https://x.example"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:80/", "http://[::1]"),
            ("tauri://localhost", "tauri://localhost"),
            ("*", "*"),
            ("null", "null"),
        ] {
            assert_eq!(origin(given).as_deref(), Ok(wanted));
        }
        for wrong in ["", "x.example", "https://x/page", "https://x?a", "https://a@x", "https://", "https://*.x y", "/"]
        {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }
}
