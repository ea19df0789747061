//! What is served: path to its methods.

use hyper::Method;

use super::{dialects::is_rerank_path, problem::Problem};

const GET: [&str; 7] = ["/health", "/healthz", "/ping", "/info", "/v1/models", "/metrics", "/openapi.json"];

/// The path below the base path, without a slash at its end; none outside of it.
pub(super) fn below<'a>(base: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    let rest = rest.trim_end_matches('/');
    Some(if rest.is_empty() { "/" } else { rest })
}

/// What there is at a path for a method: the `allow` header of an answer to OPTIONS, and nothing for all else.
pub(super) fn check(method: &Method, path: Option<&str>, whole: &str) -> Result<Option<&'static str>, Problem> {
    let allowed = match path {
        Some(path) if GET.contains(&path) => "GET, HEAD, OPTIONS",
        Some(path) if path == "/tokenize" || is_rerank_path(path) => "POST, OPTIONS",
        _ => {
            let what =
                format!("There is nothing at {whole}: rerank with POST /v1/rerank; /openapi.json lists the rest.");
            return Err(Problem::new(404, "not-found", what));
        }
    };
    if !allowed.split(", ").any(|one| one == method.as_str()) {
        let what = format!("{whole} takes {}, not {method}.", allowed.split(',').next().unwrap_or_default());
        return Err(Problem::new(405, "method", what).header("allow", allowed));
    }
    Ok((method == Method::OPTIONS).then_some(allowed))
}
