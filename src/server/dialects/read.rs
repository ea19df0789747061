//! From each dialect's body to an [`Ask`].

use serde_json::Value;

use crate::server::{
    ask::{Ask, Document, How, Query},
    fields::{Body, Read, alias, count, documents, finite, flag, kind, need_text, strings, take, text, whole, wrong},
    problem::bad,
};

/// What every dialect may say besides.
fn common(body: &mut Body) -> Read<How> {
    let (instruction, name) = alias(body, &["instruction", "instruct", "task"]);
    Ok(How {
        instruction: text(instruction, name)?,
        threshold: finite(take(body, "threshold"), "threshold")?,
        raw: flag(take(body, "raw_scores"), "raw_scores")?.unwrap_or(false),
        max_tokens_per_document: whole(take(body, "max_tokens_per_doc"), "max_tokens_per_doc", 1)?,
    })
}

/// A flag that is off unless it is set.
fn set(body: &mut Body, name: &str) -> Read<bool> {
    Ok(flag(take(body, name), name)?.unwrap_or(false))
}

pub(super) fn canonical(mut body: Body) -> Read<Ask> {
    let how = common(&mut body)?;
    let query = need_text(take(&mut body, "query"), "query")?;
    let documents = documents(take(&mut body, "documents"), "documents")?;
    let top_n = count(take(&mut body, "top_n"), "top_n")?;
    let return_text = set(&mut body, "return_documents")?;
    Ok(Ask { top_n, return_text, ..Ask::new(query, documents, how) })
}

pub(super) fn vllm_score(mut body: Body) -> Read<Ask> {
    let (left, left_name) = alias(&mut body, &["text_1", "queries", "query"]);
    let (right, right_name) = alias(&mut body, &["text_2", "items", "documents"]);
    let many = matches!(left, Some(Value::Array(_)));
    let query = |(i, one): (usize, Document)| {
        let param = if many { format!("{left_name}[{i}]") } else { left_name.to_owned() };
        need_text(Some(Value::String(one.text)), &param)
    };
    let queries = list(left, left_name)?.into_iter().enumerate().map(query).collect::<Read<Vec<_>>>()?;
    let targets = list(right, right_name)?;
    let how = common(&mut body)?;
    if queries.len() != 1 && queries.len() != targets.len() {
        let what = format!(
            "{left_name} has {} texts and {right_name} has {}: send one {left_name}, or as many of both.",
            queries.len(),
            targets.len()
        );
        return Err(bad(right_name, what));
    }
    let mut ask = Ask::new(String::new(), targets, how);
    ask.query = match <[String; 1]>::try_from(queries) {
        Ok([query]) => Query::One(query),
        Err(queries) => Query::Each(queries),
    };
    Ok(ask)
}

/// One text is a list of one.
fn list(value: Option<Value>, name: &str) -> Read<Vec<Document>> {
    let one = matches!(value, Some(Value::String(_) | Value::Object(_)));
    documents(if one { value.map(|v| Value::Array(vec![v])) } else { value }, name)
}

pub(super) fn passages(mut body: Body) -> Read<Ask> {
    let (value, name) = alias(&mut body, &["query", "queries"]);
    let (query, param) = match value {
        Some(Value::Array(list)) => match <[Value; 1]>::try_from(list) {
            Ok([one]) => (Some(one).filter(|v| !v.is_null()), format!("{name}[0]")),
            Err(list) => {
                let what = format!("{name} must hold exactly one query for these passages, got {}.", list.len());
                return Err(bad(name, what));
            }
        },
        other => (other, name.to_owned()),
    };
    let how = common(&mut body)?;
    let query = need_text(query, &param)?;
    let documents = strings(take(&mut body, "passages"), "passages")?;
    let top_n = count(take(&mut body, "top_n"), "top_n")?;
    Ok(Ask { top_n, ..Ask::new(query, documents, how) })
}

pub(super) fn tei(mut body: Body) -> Read<Ask> {
    let how = common(&mut body)?;
    let query = need_text(take(&mut body, "query"), "query")?;
    let documents = strings(take(&mut body, "texts"), "texts")?;
    let return_text = set(&mut body, "return_text")?;
    let refuse_cut = flag(take(&mut body, "truncate"), "truncate")? == Some(false);
    Ok(Ask { return_text, refuse_cut, ..Ask::new(query, documents, how) })
}

pub(super) fn workers_ai(mut body: Body) -> Read<Ask> {
    let how = common(&mut body)?;
    let query = need_text(take(&mut body, "query"), "query")?;
    let documents = documents(take(&mut body, "contexts"), "contexts")?;
    let top_n = count(take(&mut body, "top_k"), "top_k")?;
    Ok(Ask { top_n, ..Ask::new(query, documents, how) })
}

pub(super) fn dashscope(mut body: Body) -> Read<Ask> {
    let Some(Value::Object(mut input)) = take(&mut body, "input") else { unreachable!("the dialect was told by it") };
    let mut given = match take(&mut body, "parameters") {
        None => Body::new(),
        Some(Value::Object(given)) => given,
        Some(other) => return Err(wrong("parameters", "an object", &other)),
    };
    let top_n = take(&mut given, "top_n");
    let return_documents = take(&mut given, "return_documents");
    body.extend(given);
    let how = common(&mut body)?;
    let query = need_text(take(&mut input, "query"), "input.query")?;
    let documents = documents(take(&mut input, "documents"), "input.documents")?;
    let top_n = count(top_n, "parameters.top_n")?;
    let return_text = flag(return_documents, "parameters.return_documents")?.unwrap_or(false);
    Ok(Ask { top_n, return_text, ..Ask::new(query, documents, how) })
}

pub(super) fn voyage(mut body: Body) -> Read<Ask> {
    let how = common(&mut body)?;
    let query = need_text(take(&mut body, "query"), "query")?;
    let documents = documents(take(&mut body, "documents"), "documents")?;
    let (top, name) = alias(&mut body, &["top_k", "top_n"]);
    let top_n = count(top, name)?;
    let return_text = set(&mut body, "return_documents")?;
    let refuse_cut = flag(take(&mut body, "truncation"), "truncation")? == Some(false);
    Ok(Ask { top_n, return_text, refuse_cut, ..Ask::new(query, documents, how) })
}

pub(super) fn nim(mut body: Body) -> Read<Ask> {
    let how = common(&mut body)?;
    let Some(Value::Object(mut query)) = take(&mut body, "query") else { unreachable!("the dialect was told by it") };
    let query = need_text(take(&mut query, "text"), "query.text")?;
    let documents = documents(take(&mut body, "passages"), "passages")?;
    let top_n = count(take(&mut body, "top_n"), "top_n")?;
    let refuse_cut = text(take(&mut body, "truncate"), "truncate")?.as_deref() == Some("NONE");
    Ok(Ask { top_n, refuse_cut, ..Ask::new(query, documents, how) })
}

/// `{ query, documents }` or `{ query, document }` of the tokeniser's endpoint. Text Embeddings Inference has no pairs there, so that its `inputs` are
/// refused by name.
pub(in crate::server) fn tokenize(mut body: Body) -> Read<Ask> {
    if let Some(inputs) = take(&mut body, "inputs") {
        let what = format!("inputs is not understood here, {}: send a query and documents.", kind(&inputs));
        return Err(bad("inputs", what));
    }
    let list = take(&mut body, "documents").or_else(|| Some(Value::Array(vec![take(&mut body, "document")?])));
    let query = need_text(take(&mut body, "query"), "query")?;
    let documents = documents(list, "documents")?;
    let instruction = text(take(&mut body, "instruction"), "instruction")?;
    Ok(Ask::new(query, documents, How { instruction, ..How::default() }))
}
