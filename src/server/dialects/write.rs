//! From an [`Answer`] to each dialect's body.

use serde_json::{Value, json};

use super::is_run;
use crate::{
    rerank::{Reply, ReplyDocument, ReplyResult, Usage},
    server::{
        ask::{Answer, Ranked},
        problem::Problem,
    },
};

/// A score in as few digits as tell it from its neighbours.
fn number(x: f32) -> Value {
    x.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

fn text<'a>(answer: &'a Answer, one: &Ranked) -> &'a str {
    &answer.ask.documents[one.index].text
}

/// The lines, each with what `document` makes of its text where texts are asked for.
fn lines(answer: &Answer, document: fn(String) -> ReplyDocument) -> Vec<ReplyResult> {
    let one = |one: &Ranked| ReplyResult {
        index: one.index,
        relevance_score: one.score,
        logit: one.line.logit,
        tokens: one.line.tokens,
        truncated: one.line.truncated,
        id: answer.ask.documents[one.index].id.clone(),
        document: answer.ask.return_text.then(|| document(text(answer, one).to_owned())),
    };
    answer.ranked.iter().map(one).collect()
}

fn nested(text: String) -> ReplyDocument {
    ReplyDocument::Nested { text }
}

fn reply(answer: &Answer) -> Reply {
    Reply::new(answer.id.clone(), answer.model, lines(answer, nested), answer.ask.documents.len(), answer.tokens)
}

fn json(reply: &impl serde::Serialize) -> String {
    serde_json::to_string(reply).expect("names are strings")
}

pub(super) fn canonical(answer: &Answer, _: &str) -> String {
    json(&reply(answer))
}

pub(super) fn voyage(answer: &Answer, _: &str) -> String {
    json(&Reply { data: lines(answer, ReplyDocument::Plain), ..reply(answer) })
}

/// A list of `items` as vLLM and its like wrap it.
fn listed(answer: &Answer, name: &str, items: Value) -> String {
    let usage = Usage::of(answer.tokens);
    json(&json!({ "id": answer.id, "object": "list", "model": answer.model, name: items, "usage": usage }))
}

pub(super) fn vllm_score(answer: &Answer, _: &str) -> String {
    let one = |one: Ranked| json!({ "index": one.index, "object": "score", "score": number(one.score) });
    listed(answer, "data", answer.ordered().into_iter().map(one).collect())
}

pub(super) fn passages(answer: &Answer, _: &str) -> String {
    let one = |one: Ranked| {
        let score = number(one.score);
        json!({ "index": one.index, "score": score, "relevance_score": score, "text": text(answer, &one) })
    };
    listed(answer, "results", answer.ordered().into_iter().map(one).collect())
}

pub(super) fn tei(answer: &Answer, _: &str) -> String {
    let one = |one: &Ranked| {
        let mut out = json!({ "index": one.index, "score": number(one.score) });
        if answer.ask.return_text {
            out["text"] = json!(text(answer, one));
        }
        out
    };
    json(&answer.ranked.iter().map(one).collect::<Value>())
}

pub(super) fn tei_status(status: u16) -> u16 {
    match status {
        400 => 422,
        500 => 424,
        other => other,
    }
}

pub(super) fn tei_error(problem: &Problem) -> Value {
    let kind = match tei_status(problem.status) {
        424 => "Backend",
        429 | 504 => "Overloaded",
        503 => "Unhealthy",
        _ => "Validation",
    };
    json!({ "error": problem.message, "error_type": kind })
}

pub(super) fn workers_ai(answer: &Answer, path: &str) -> String {
    let one = |one: &Ranked| json!({ "id": one.index, "score": number(one.score) });
    let reply = json!({ "response": answer.ranked.iter().map(one).collect::<Value>() });
    json(&if is_run(path) { json!({ "result": reply, "success": true, "errors": [], "messages": [] }) } else { reply })
}

pub(super) fn workers_ai_error(problem: &Problem, path: &str) -> Value {
    let mut body = problem.body();
    if is_run(path) {
        body["result"] = Value::Null;
        body["success"] = json!(false);
        body["errors"] = json!([{ "code": problem.status, "message": problem.message }]);
        body["messages"] = json!([]);
    }
    body
}

pub(super) fn dashscope(answer: &Answer, _: &str) -> String {
    #[derive(serde::Serialize)]
    struct Output {
        results: Vec<ReplyResult>,
    }
    #[derive(serde::Serialize)]
    struct Reply<'a> {
        output: Output,
        usage: Value,
        request_id: &'a str,
    }
    json(&Reply {
        output: Output { results: lines(answer, nested) },
        usage: json!({ "total_tokens": answer.tokens }),
        request_id: &answer.id,
    })
}

pub(super) fn nim(answer: &Answer, _: &str) -> String {
    let one = |one: &Ranked| json!({ "index": one.index, "logit": number(one.line.logit) });
    json(&json!({ "rankings": answer.ranked.iter().map(one).collect::<Value>() }))
}
