//! Answers as JSON: what is said of the server and the model, and refusals.

use axum::body::{Body, Bytes};
use hyper::{Response, StatusCode, header::HeaderValue};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::{Options, bounds::longest, dialects::Dialect, engine::EngineInfo, problem::Problem};
use crate::rerank::Prompts;

pub(super) fn ok(body: &Value) -> Response<Body> {
    of(body.to_string().into())
}

/// Of JSON that is written already.
pub(super) fn of(json: Bytes) -> Response<Body> {
    let response = Response::builder().header("content-type", "application/json");
    response.body(json.into()).expect("a header of ours")
}

/// In the words of a dialect, where the request has one.
pub(super) fn refusal(problem: &Problem, dialect: Option<&Dialect>, path: Option<&str>) -> Response<Body> {
    let (status, body) = match dialect {
        Some(dialect) => ((dialect.status)(problem.status), (dialect.error)(problem, path.unwrap_or_default())),
        None => (problem.status, problem.body()),
    };
    let mut response = ok(&body);
    *response.status_mut() = StatusCode::from_u16(status).expect("a status of ours");
    for (name, value) in &problem.headers {
        let value = HeaderValue::from_str(value).expect("a header of ours");
        response.headers_mut().insert(*name, value);
    }
    response
}

pub(super) fn info(info: &EngineInfo, options: &Options) -> Value {
    json!({
        "model_id": info.name,
        "model_type": { "reranker": { "id2label": { "0": "relevant" }, "label2id": { "relevant": 0 } } },
        "model_dtype": info.quantization,
        "parameters": info.parameters,
        "device": info.device,
        "max_input_length": longest(info.context_length, options.max_length),
        "max_client_batch_size": options.max_documents,
        "max_documents": options.max_documents,
        "max_body_bytes": options.max_body,
        "max_tokens": options.max_tokens,
        "max_queue": options.max_queue,
    })
}

/// The ids of all prompts, each with those that all begin with.
pub(super) fn tokenized(prompts: &Prompts) -> String {
    struct Whole<'a>(&'a [u32], &'a [u32]);

    impl Serialize for Whole<'_> {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            to.collect_seq(self.0.iter().chain(self.1))
        }
    }

    #[derive(Serialize)]
    struct Tokenized<'a> {
        ids: Vec<Whole<'a>>,
        shared_prefix: usize,
    }

    let Prompts { shared, own, .. } = prompts;
    let ids = own.iter().map(|own| Whole(shared, own)).collect();
    serde_json::to_string(&Tokenized { ids, shared_prefix: shared.len() }).expect("names are strings")
}

pub(super) fn models(info: &EngineInfo) -> Value {
    let model = json!({ "id": info.name, "object": "model", "created": 0, "owned_by": "edge-reranker" });
    json!({ "object": "list", "data": [model] })
}
