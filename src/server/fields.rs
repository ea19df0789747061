//! Readers of one field each. `null` means absent everywhere; a wrong type is the client's mistake, by name.

use serde_json::{Map, Value};

use super::{
    ask::Document,
    problem::{Problem, bad},
};

pub(super) type Body = Map<String, Value>;
pub(super) type Read<T> = Result<T, Problem>;

/// Whether one of these fields is there.
pub(super) fn has(body: &Body, names: &[&str]) -> bool {
    names.iter().any(|name| body.get(*name).is_some_and(|v| !v.is_null()))
}

/// A field's value, out of the body.
pub(super) fn take(body: &mut Body, name: &str) -> Option<Value> {
    body.remove(name).filter(|v| !v.is_null())
}

/// One of several names of a field: the first that is there.
pub(super) fn alias<'a>(body: &mut Body, names: &[&'a str]) -> (Option<Value>, &'a str) {
    let name = names.iter().find(|name| has(body, &[name])).unwrap_or(&names[0]);
    (take(body, name), name)
}

/// What a value is, in words.
pub(super) fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "a boolean".into(),
        Value::Number(n) => n.to_string(),
        Value::String(_) => "a string".into(),
        Value::Array(_) => "an array".into(),
        Value::Object(_) => "an object".into(),
    }
}

pub(super) fn wrong(param: &str, wanted: &str, value: &Value) -> Problem {
    bad(param, format!("{param} must be {wanted}, got {}.", kind(value)))
}

pub(super) fn text(value: Option<Value>, param: &str) -> Read<Option<String>> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(wrong(param, "a string", &other)),
    }
}

/// Must be there and not empty.
pub(super) fn need_text(value: Option<Value>, param: &str) -> Read<String> {
    match text(value, param)? {
        None => Err(bad(param, format!("{param} is missing: it must be a string."))),
        Some(text) if text.is_empty() => Err(bad(param, format!("{param} is empty: say what is looked for."))),
        Some(text) => Ok(text),
    }
}

pub(super) fn flag(value: Option<Value>, param: &str) -> Read<Option<bool>> {
    match value {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(flag)),
        Some(other) => Err(wrong(param, "true or false", &other)),
    }
}

pub(super) fn finite(value: Option<Value>, param: &str) -> Read<Option<f64>> {
    let Some(value) = value else { return Ok(None) };
    match value.as_f64().filter(|x| x.is_finite()) {
        Some(x) => Ok(Some(x)),
        None => Err(wrong(param, "a finite number", &value)),
    }
}

/// 2.0 is whole; what is too large for a count is the largest one.
pub(super) fn whole(value: Option<Value>, param: &str, least: usize) -> Read<Option<usize>> {
    let Some(value) = value else { return Ok(None) };
    match value.as_f64().filter(|x| x.fract() == 0.0 && *x >= least as f64) {
        Some(x) => Ok(Some(x as usize)),
        None => Err(wrong(param, &format!("a whole number from {least}"), &value)),
    }
}

/// How many results: absent and 0 mean all.
pub(super) fn count(value: Option<Value>, param: &str) -> Read<Option<usize>> {
    Ok(whole(value, param, 0)?.filter(|n| *n > 0))
}

/// Strings, and objects with a `text` or a `content`.
pub(super) fn documents(value: Option<Value>, param: &str) -> Read<Vec<Document>> {
    let wanted = "an array of strings or of { text } objects";
    match value {
        None => Err(bad(param, format!("{param} is missing: it must be {wanted}."))),
        Some(Value::Array(list)) if list.is_empty() => {
            Err(bad(param, format!("{param} is empty: send at least one document.")))
        }
        Some(Value::Array(list)) => {
            list.into_iter().enumerate().map(|(i, one)| document(one, || format!("{param}[{i}]"))).collect()
        }
        Some(other) => Err(wrong(param, wanted, &other)),
    }
}

fn document(value: Value, param: impl Fn() -> String) -> Read<Document> {
    match value {
        Value::String(text) => Ok(Document { text, id: None }),
        Value::Object(mut object) => match alias(&mut object, &["text", "content"]).0 {
            Some(Value::String(text)) => {
                let id = object.remove("id").and_then(|id| if let Value::String(id) = id { Some(id) } else { None });
                Ok(Document { text, id })
            }
            other => Err(wrong(&format!("{}.text", param()), "a string", &other.unwrap_or(Value::Null))),
        },
        other => Err(wrong(&param(), "a string or an object with a text", &other)),
    }
}

/// As [`documents`], of plain strings only.
pub(super) fn strings(value: Option<Value>, param: &str) -> Read<Vec<Document>> {
    if let Some(Value::Array(list)) = &value
        && let Some(i) = list.iter().position(|one| !one.is_string())
    {
        return Err(wrong(&format!("{param}[{i}]"), "a string", &list[i]));
    }
    documents(value, param)
}
