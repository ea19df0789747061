//! Who speaks how. The first row of the table that matches a request is its dialect: it reads the body, and writes the reply and the errors.

mod read;
mod write;

use serde_json::Value;

use super::{
    ask::{Answer, Ask},
    fields::Read,
    json::{Body, each, is_list, is_object, is_text},
    problem::{Problem, bad},
};

/// A row of the table.
pub(super) struct Dialect {
    /// For metrics and the log.
    pub(super) name: &'static str,
    matches: fn(path: &str, body: &Body<'_>) -> bool,
    pub(super) read: fn(Body<'_>) -> Read<Ask>,
    /// The reply's body, as JSON.
    pub(super) write: fn(&Answer, path: &str) -> String,
    /// The status that an error has in this dialect.
    pub(super) status: fn(u16) -> u16,
    /// An error's body.
    pub(super) error: fn(&Problem, path: &str) -> Value,
}

/// What most rows have in common.
const PLAIN: Dialect = Dialect {
    name: "canonical",
    matches: |_, _| true,
    read: read::canonical,
    write: write::canonical,
    status: |status| status,
    error: |problem, _| problem.body(),
};

static DIALECTS: [Dialect; 8] = [
    // vLLM's score: one text against one or many, or as many pairs.
    Dialect {
        name: "vllm-score",
        matches: |path, body| {
            SCORE_PATHS.contains(&path)
                || body.has(&["text_1", "text_2"])
                || (body.has(&["queries"]) && body.has(&["items"]))
        },
        read: read::vllm_score,
        write: write::vllm_score,
        ..PLAIN
    },
    // The wire format of simple clients of these models: results in input order.
    Dialect {
        name: "passages",
        matches: |_, body| {
            let texts_alone =
                |list| each(list, |_, one| if is_text(one) { Ok(()) } else { Err(bad("passages", "")) }).is_ok();
            body.get("passages").filter(|list| is_list(list)).is_some_and(|list| {
                !body.get("query").is_some_and(is_object) && (!body.has(&["documents"]) || texts_alone(list))
            })
        },
        read: read::passages,
        write: write::passages,
        ..PLAIN
    },
    // Hugging Face's Text Embeddings Inference.
    Dialect {
        name: "tei",
        matches: |_, body| body.has(&["texts"]),
        read: read::tei,
        write: write::tei,
        status: write::tei_status,
        error: |problem, _| write::tei_error(problem),
    },
    // Cloudflare's Workers AI, as its binding answers, or wrapped as its REST API does.
    Dialect {
        name: "workers-ai",
        matches: |_, body| body.has(&["contexts"]),
        read: read::workers_ai,
        write: write::workers_ai,
        error: write::workers_ai_error,
        ..PLAIN
    },
    // Alibaba's DashScope.
    Dialect {
        name: "dashscope",
        matches: |_, body| body.object("input").is_some_and(|input| input.has(&["query"])),
        read: read::dashscope,
        write: write::dashscope,
        ..PLAIN
    },
    // Voyage AI.
    Dialect {
        name: "voyage",
        matches: |path, body| body.has(&["top_k", "truncation"]) || path == "/voyage" || path.starts_with("/voyage/"),
        read: read::voyage,
        write: write::voyage,
        ..PLAIN
    },
    // NVIDIA's NIM: logits.
    Dialect {
        name: "nim",
        matches: |_, body| body.get("query").is_some_and(is_object) && body.get("passages").is_some_and(is_list),
        read: read::nim,
        write: write::nim,
        ..PLAIN
    },
    // Cohere, Jina, Together, LiteLLM, and ourselves.
    PLAIN,
];

pub(super) use read::tokenize;

pub(super) fn dialect_of(path: &str, body: &Body<'_>) -> &'static Dialect {
    DIALECTS.iter().find(|row| (row.matches)(path, body)).expect("the last row matches everything")
}

/// Before the body is known, its path may tell.
pub(super) fn dialect_of_path(path: &str) -> &'static Dialect {
    let body = if is_run(path) { r#"{"contexts":[]}"# } else { "{}" };
    dialect_of(path, &Body::read(body, 0).expect("an object of ours"))
}

const SCORE_PATHS: [&str; 2] = ["/score", "/v1/score"];

const RERANK_PATHS: [&str; 12] = [
    "/v1/rerank",
    "/rerank",
    "/v2/rerank",
    "/v3/rerank",
    "/reranking",
    "/v1/reranking",
    "/v1/reranks",
    "/compatible-api/v1/reranks",
    "/v1/ranking",
    "/api/v1/services/rerank/text-rerank/text-rerank",
    SCORE_PATHS[0],
    SCORE_PATHS[1],
];

/// Workers AI's paths end as one likes.
fn is_run(path: &str) -> bool {
    let names: Vec<&str> = path.split('/').collect();
    names.windows(2).any(|pair| pair == ["ai", "run"])
}

/// Paths on which documents are scored; /voyage stands before any of them.
pub(super) fn is_rerank_path(path: &str) -> bool {
    let bare = path.strip_prefix("/voyage").filter(|rest| rest.starts_with('/')).unwrap_or(path);
    RERANK_PATHS.contains(&bare) || is_run(path)
}
