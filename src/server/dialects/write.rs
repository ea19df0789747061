//! From an [`Answer`] to each dialect's body.

use serde_json::{Value, json};

use super::is_run;
use crate::server::{
    ask::{Answer, Ranked},
    problem::Problem,
};

/// A score in as few digits as tell it from its neighbours.
fn number(x: f32) -> Value {
    x.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

fn usage(answer: &Answer) -> Value {
    json!({ "prompt_tokens": answer.tokens, "completion_tokens": 0, "total_tokens": answer.tokens })
}

fn text<'a>(answer: &'a Answer, one: &Ranked) -> &'a str {
    &answer.ask.documents[one.index].text
}

fn line(answer: &Answer, one: &Ranked) -> Value {
    let mut out = json!({
        "index": one.index,
        "relevance_score": number(one.score),
        "logit": number(one.line.logit),
        "tokens": one.line.tokens,
        "truncated": one.line.truncated,
    });
    if let Some(id) = &answer.ask.documents[one.index].id {
        out["id"] = json!(id);
    }
    out
}

/// The lines, each with what `document` makes of its text where texts are asked for.
fn lines(answer: &Answer, document: fn(&str) -> Value) -> Value {
    let one = |one: &Ranked| {
        let mut out = line(answer, one);
        if answer.ask.return_text {
            out["document"] = document(text(answer, one));
        }
        out
    };
    answer.ranked.iter().map(one).collect()
}

fn nested(text: &str) -> Value {
    json!({ "text": text })
}

fn envelope(answer: &Answer, results: Value, data: Value) -> Value {
    json!({
        "id": answer.id,
        "object": "list",
        "model": answer.model,
        "results": results,
        "data": data,
        "usage": usage(answer),
        "meta": {
            "api_version": { "version": "2" },
            "billed_units": { "search_units": answer.ask.documents.len().div_ceil(100) },
            "tokens": { "input_tokens": answer.tokens, "output_tokens": 0 },
        },
    })
}

pub(super) fn canonical(answer: &Answer, _: &str) -> Value {
    let results = lines(answer, nested);
    envelope(answer, results.clone(), results)
}

pub(super) fn voyage(answer: &Answer, _: &str) -> Value {
    envelope(answer, lines(answer, nested), lines(answer, |text| Value::from(text)))
}

/// A list of `items` as vLLM and its like wrap it.
fn listed(answer: &Answer, name: &str, items: Value) -> Value {
    json!({ "id": answer.id, "object": "list", "model": answer.model, name: items, "usage": usage(answer) })
}

pub(super) fn vllm_score(answer: &Answer, _: &str) -> Value {
    let one = |one: Ranked| json!({ "index": one.index, "object": "score", "score": number(one.score) });
    listed(answer, "data", answer.ordered().into_iter().map(one).collect())
}

pub(super) fn passages(answer: &Answer, _: &str) -> Value {
    let one = |one: Ranked| {
        let score = number(one.score);
        json!({ "index": one.index, "score": score, "relevance_score": score, "text": text(answer, &one) })
    };
    listed(answer, "results", answer.ordered().into_iter().map(one).collect())
}

pub(super) fn tei(answer: &Answer, _: &str) -> Value {
    let one = |one: &Ranked| {
        let mut out = json!({ "index": one.index, "score": number(one.score) });
        if answer.ask.return_text {
            out["text"] = json!(text(answer, one));
        }
        out
    };
    answer.ranked.iter().map(one).collect()
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

pub(super) fn workers_ai(answer: &Answer, path: &str) -> Value {
    let one = |one: &Ranked| json!({ "id": one.index, "score": number(one.score) });
    let reply = json!({ "response": answer.ranked.iter().map(one).collect::<Value>() });
    if is_run(path) { json!({ "result": reply, "success": true, "errors": [], "messages": [] }) } else { reply }
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

pub(super) fn dashscope(answer: &Answer, _: &str) -> Value {
    json!({
        "output": { "results": lines(answer, nested) },
        "usage": { "total_tokens": answer.tokens },
        "request_id": answer.id,
    })
}

pub(super) fn nim(answer: &Answer, _: &str) -> Value {
    let one = |one: &Ranked| json!({ "index": one.index, "logit": number(one.line.logit) });
    json!({ "rankings": answer.ranked.iter().map(one).collect::<Value>() })
}
