//! Readers of one field each. `null` means absent everywhere; a wrong type is the client's mistake, by name.

use super::{
    ask::{Document, Documents},
    json::{Body, Raw, decode, each, is_list, is_text, kind},
    problem::{Problem, bad},
};

pub(super) type Read<T> = Result<T, Problem>;

pub(super) fn wrong(param: &str, wanted: &str, value: Raw<'_>) -> Problem {
    bad(param, format!("{param} must be {wanted}, got {}.", kind(value)))
}

pub(super) fn text(value: Option<Raw<'_>>, param: &str) -> Read<Option<String>> {
    match value {
        None => Ok(None),
        Some(text) if is_text(text) => Ok(Some(decode(text))),
        Some(other) => Err(wrong(param, "a string", other)),
    }
}

/// Must be there and not empty.
pub(super) fn need_text(value: Option<Raw<'_>>, param: &str) -> Read<String> {
    let text = text(value, param)?.ok_or_else(|| bad(param, format!("{param} is missing: it must be a string.")))?;
    not_empty(text, param)
}

pub(super) fn not_empty(text: String, param: &str) -> Read<String> {
    if text.is_empty() { Err(bad(param, format!("{param} is empty: say what is looked for."))) } else { Ok(text) }
}

pub(super) fn flag(value: Option<Raw<'_>>, param: &str) -> Read<Option<bool>> {
    match value.map(|v| (v, v.get())) {
        None => Ok(None),
        Some((_, "true")) => Ok(Some(true)),
        Some((_, "false")) => Ok(Some(false)),
        Some((other, _)) => Err(wrong(param, "true or false", other)),
    }
}

/// What JSON takes for a number is one for Rust too; one that is too large is infinite.
fn number(value: Raw<'_>) -> Option<f64> {
    value.get().parse::<f64>().ok().filter(|x| x.is_finite())
}

pub(super) fn finite(value: Option<Raw<'_>>, param: &str) -> Read<Option<f64>> {
    value.map(|v| number(v).ok_or_else(|| wrong(param, "a finite number", v))).transpose()
}

/// 2.0 is whole; what is too large for a count is the largest one.
pub(super) fn whole(value: Option<Raw<'_>>, param: &str, least: usize) -> Read<Option<usize>> {
    let Some(value) = value else { return Ok(None) };
    match number(value).filter(|x| x.fract() == 0.0 && *x >= least as f64) {
        Some(x) => Ok(Some(x as usize)),
        None => Err(wrong(param, &format!("a whole number from {least}"), value)),
    }
}

/// How many results: absent and 0 mean all.
pub(super) fn count(value: Option<Raw<'_>>, param: &str) -> Read<Option<usize>> {
    Ok(whole(value, param, 0)?.filter(|n| *n > 0))
}

/// Strings, and objects with a `text` or a `content`.
pub(super) fn documents(value: Option<Raw<'_>>, param: &str, most: usize) -> Read<Documents> {
    listed(value, param, most, |one, param| document(one, param))
}

/// As [`documents`], of plain strings only.
pub(super) fn strings(value: Option<Raw<'_>>, param: &str, most: usize) -> Read<Documents> {
    listed(
        value,
        param,
        most,
        |one, param| if is_text(one) { Ok((one, None)) } else { Err(wrong(&param(), "a string", one)) },
    )
}

/// A document that is not in a list.
pub(super) fn single(value: Raw<'_>, param: &str) -> Read<Documents> {
    let (text, id) = document(value, &|| format!("{param}[0]"))?;
    Ok(Documents { kept: vec![Document { text: decode(text), id: id.map(decode) }], count: 1 })
}

type Parts<'a> = (Raw<'a>, Option<Raw<'a>>);

/// The text and the id of each, unpacked of the first `most` alone.
fn listed<'a>(
    value: Option<Raw<'a>>,
    param: &str,
    most: usize,
    read: impl Fn(Raw<'a>, &dyn Fn() -> String) -> Read<Parts<'a>>,
) -> Read<Documents> {
    let wanted = "an array of strings or of { text } objects";
    let list = value.ok_or_else(|| bad(param, format!("{param} is missing: it must be {wanted}.")))?;
    if !is_list(list) {
        return Err(wrong(param, wanted, list));
    }
    let mut kept = Vec::new();
    let count = each(list, |i, one| {
        let (text, id) = read(one, &|| format!("{param}[{i}]"))?;
        if i < most {
            kept.push(Document { text: decode(text), id: id.map(decode) });
        }
        Ok(())
    })?;
    if count == 0 {
        return Err(bad(param, format!("{param} is empty: send at least one document.")));
    }
    Ok(Documents { kept, count })
}

fn document<'a>(value: Raw<'a>, param: &dyn Fn() -> String) -> Read<Parts<'a>> {
    if is_text(value) {
        return Ok((value, None));
    }
    let object = Body::of(value, 0).ok_or_else(|| wrong(&param(), "a string or an object with a text", value))?;
    match object.alias(&["text", "content"]).0 {
        Some(text) if is_text(text) => Ok((text, object.get("id").filter(|id| is_text(id)))),
        other => {
            let got = other.map_or("nothing", kind);
            let param = format!("{}.text", param());
            Err(bad(&param, format!("{param} must be a string, got {got}.")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Body<'_> {
        Body::read(text, 2).unwrap()
    }

    #[test]
    fn texts_beyond_the_most_are_looked_at_and_counted() {
        let three = body(r#"{"documents": ["a", {"text": "b", "id": "x"}, "c"]}"#);
        let list = documents(three.get("documents"), "documents", 2).unwrap();
        assert_eq!((list.kept.len(), list.count, list.kept[1].id.as_deref()), (2, 3, Some("x")));
        let bad = body(r#"{"documents": ["a", "b", "c", 4]}"#);
        assert_eq!(documents(bad.get("documents"), "d", 2).unwrap_err().param.as_deref(), Some("d[3]"));
    }

    #[test]
    fn numbers_have_bounds() {
        let body = body(r#"{"top_n": 1e999, "top_k": 2.0, "threshold": -1e999, "max_tokens_per_doc": 1e300}"#);
        assert_eq!(whole(body.get("top_n"), "top_n", 0).unwrap_err().param.as_deref(), Some("top_n"));
        assert_eq!(whole(body.get("top_k"), "top_k", 0).unwrap(), Some(2));
        assert!(finite(body.get("threshold"), "threshold").is_err());
        assert_eq!(whole(body.get("max_tokens_per_doc"), "max_tokens_per_doc", 1).unwrap(), Some(usize::MAX));
    }
}
