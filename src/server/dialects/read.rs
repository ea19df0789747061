//! From each dialect's body to an [`Ask`].

use crate::server::{
    ask::{Ask, Document, Documents, How, Query},
    fields::{Read, count, documents, finite, flag, need_text, not_empty, single, strings, text, whole, wrong},
    json::{Body, Raw, each, is_list, is_object, is_text, kind},
    problem::bad,
};

/// What every dialect may say besides.
fn common(body: &Body) -> Read<How> {
    let (instruction, name) = body.alias(&["instruction", "instruct", "task"]);
    Ok(How {
        instruction: text(instruction, name)?,
        threshold: finite(body.get("threshold"), "threshold")?,
        raw: set(body, "raw_scores")?,
        max_tokens_per_document: whole(body.get("max_tokens_per_doc"), "max_tokens_per_doc", 1)?,
    })
}

/// A flag that is off unless it is set.
fn set(body: &Body, name: &str) -> Read<bool> {
    Ok(flag(body.get(name), name)?.unwrap_or(false))
}

/// The documents under a name.
fn list(body: &Body, name: &str) -> Read<Documents> {
    documents(body.get(name), name, body.most)
}

pub(super) fn canonical(body: Body) -> Read<Ask> {
    let how = common(&body)?;
    let query = need_text(body.get("query"), "query")?;
    let documents = list(&body, "documents")?;
    let top_n = count(body.get("top_n"), "top_n")?;
    let return_text = set(&body, "return_documents")?;
    Ok(Ask { top_n, return_text, ..Ask::new(query, documents, how) })
}

pub(super) fn vllm_score(body: Body) -> Read<Ask> {
    let (left, left_name) = body.alias(&["text_1", "queries", "query"]);
    let (right, right_name) = body.alias(&["text_2", "items", "documents"]);
    let many = left.is_some_and(is_list);
    let query = |(i, one): (usize, Document)| {
        let param = if many { format!("{left_name}[{i}]") } else { left_name.to_owned() };
        not_empty(one.text, &param)
    };
    let left = one_or_many(left, left_name, body.most)?;
    let queries = left.kept.into_iter().enumerate().map(query).collect::<Read<Vec<_>>>()?;
    let targets = one_or_many(right, right_name, body.most)?;
    let how = common(&body)?;
    if left.count != 1 && left.count != targets.count {
        let what = format!(
            "{left_name} has {} texts and {right_name} has {}: send one {left_name}, or as many of both.",
            left.count, targets.count
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
fn one_or_many(value: Option<Raw<'_>>, name: &str, most: usize) -> Read<Documents> {
    match value.filter(|v| !is_list(v)) {
        Some(one) if is_object(one) || is_text(one) => single(one, name),
        _ => documents(value, name, most),
    }
}

pub(super) fn passages(body: Body) -> Read<Ask> {
    let (mut query, name) = body.alias(&["query", "queries"]);
    let mut param = name.to_owned();
    if let Some(list) = query.filter(|v| is_list(v)) {
        let mut first = None;
        let count = each(list, |_, one| {
            first.get_or_insert(one);
            Ok(())
        })?;
        if count != 1 {
            return Err(bad(name, format!("{name} must hold exactly one query for these passages, got {count}.")));
        }
        (query, param) = (first.filter(|one| one.get() != "null"), format!("{name}[0]"));
    }
    let how = common(&body)?;
    let query = need_text(query, &param)?;
    let documents = strings(body.get("passages"), "passages", body.most)?;
    let top_n = count(body.get("top_n"), "top_n")?;
    Ok(Ask { top_n, ..Ask::new(query, documents, how) })
}

/// `top_n` is of LiteLLM, which sends it here, too.
pub(super) fn tei(body: Body) -> Read<Ask> {
    let how = common(&body)?;
    let query = need_text(body.get("query"), "query")?;
    let documents = strings(body.get("texts"), "texts", body.most)?;
    let top_n = count(body.get("top_n"), "top_n")?;
    let return_text = set(&body, "return_text")?;
    let refuse_cut = flag(body.get("truncate"), "truncate")? == Some(false);
    Ok(Ask { top_n, return_text, refuse_cut, ..Ask::new(query, documents, how) })
}

pub(super) fn workers_ai(body: Body) -> Read<Ask> {
    let how = common(&body)?;
    let query = need_text(body.get("query"), "query")?;
    let documents = list(&body, "contexts")?;
    let top_n = count(body.get("top_k"), "top_k")?;
    Ok(Ask { top_n, ..Ask::new(query, documents, how) })
}

pub(super) fn dashscope(body: Body) -> Read<Ask> {
    let Some(input) = body.object("input") else { unreachable!("the dialect was told by it") };
    let given = body.object("parameters");
    if let (None, Some(other)) = (&given, body.get("parameters")) {
        return Err(wrong("parameters", "an object", other));
    }
    let of_given = |name| given.as_ref().and_then(|given| given.get(name));
    let (top_n, return_documents) = (of_given("top_n"), of_given("return_documents"));
    let body = match &given {
        Some(given) => body.under(given),
        None => body,
    };
    let how = common(&body)?;
    let query = need_text(input.get("query"), "input.query")?;
    let documents = documents(input.get("documents"), "input.documents", input.most)?;
    let top_n = count(top_n, "parameters.top_n")?;
    let return_text = flag(return_documents, "parameters.return_documents")?.unwrap_or(false);
    Ok(Ask { top_n, return_text, ..Ask::new(query, documents, how) })
}

pub(super) fn voyage(body: Body) -> Read<Ask> {
    let how = common(&body)?;
    let query = need_text(body.get("query"), "query")?;
    let documents = list(&body, "documents")?;
    let (top, name) = body.alias(&["top_k", "top_n"]);
    let top_n = count(top, name)?;
    let return_text = set(&body, "return_documents")?;
    let refuse_cut = flag(body.get("truncation"), "truncation")? == Some(false);
    Ok(Ask { top_n, return_text, refuse_cut, ..Ask::new(query, documents, how) })
}

pub(super) fn nim(body: Body) -> Read<Ask> {
    let how = common(&body)?;
    let Some(query) = body.object("query") else { unreachable!("the dialect was told by it") };
    let query = need_text(query.get("text"), "query.text")?;
    let documents = list(&body, "passages")?;
    let top_n = count(body.get("top_n"), "top_n")?;
    let refuse_cut = text(body.get("truncate"), "truncate")?.as_deref() == Some("NONE");
    Ok(Ask { top_n, refuse_cut, ..Ask::new(query, documents, how) })
}

/// `{ query, documents }` or `{ query, document }` of the tokeniser's endpoint. Text Embeddings Inference has no pairs there, so that its `inputs` are
/// refused by name.
pub(in crate::server) fn tokenize(body: Body) -> Read<Ask> {
    if let Some(inputs) = body.get("inputs") {
        let what = format!("inputs is not understood here, {}: send a query and documents.", kind(inputs));
        return Err(bad("inputs", what));
    }
    let query = need_text(body.get("query"), "query")?;
    let documents = match (body.get("documents"), body.get("document")) {
        (None, Some(one)) => single(one, "documents")?,
        (many, _) => documents(many, "documents", body.most)?,
    };
    let instruction = text(body.get("instruction"), "instruction")?;
    Ok(Ask::new(query, documents, How { instruction, ..How::default() }))
}
