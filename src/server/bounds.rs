//! How much text of a request reaches the tokeniser, which takes time and memory by the byte, many times as much for a word without an end.

use std::sync::LazyLock;

use regex::Regex;

use super::{
    ask::{Ask, Query},
    problem::{Problem, too_large},
};
use crate::model::DEFAULT_MAX_LENGTH;

/// More than the bytes of nearly every token.
const BYTES_PER_TOKEN: usize = 32;
/// More than the tokens of a prompt's fixed parts.
const FIXED: usize = 1024;

/// Tokens of the longest prompt of a model with so many positions.
pub(super) fn longest(context: usize, max_length: Option<usize>) -> usize {
    max_length.unwrap_or(DEFAULT_MAX_LENGTH).min(context)
}

/// The documents' texts as the engine needs them: of a text that is cut anyway, no more than what may be left of it. `prompt` is the length of the longest
/// prompt, `max_tokens` the bound on a request.
pub(super) fn fit(ask: &Ask, prompt: usize, max_tokens: Option<usize>) -> Result<Vec<&str>, Problem> {
    let most = max_tokens.unwrap_or(usize::MAX).min(prompt);
    let check = |text: &str, param: &str, bytes: usize| {
        if text.len() <= bytes {
            return Ok(());
        }
        let whose = match max_tokens.filter(|n| *n == most) {
            Some(n) => format!("a request of at most {n} tokens"),
            None => format!("a prompt of at most {prompt} tokens"),
        };
        let what =
            format!("{param} is longer than {bytes} bytes, the most that {whose} may have in one text: shorten it.");
        Err(too_large(what).param(param))
    };
    let instruction = ask.how.instruction.as_deref().unwrap_or_default();
    check(instruction, "instruction", most * BYTES_PER_TOKEN)?;
    let query_of = |i: usize| match &ask.query {
        Query::One(query) => query,
        Query::Each(queries) => &queries[i],
    };
    let queries = match &ask.query {
        Query::One(query) => std::slice::from_ref(query),
        Query::Each(queries) => queries,
    };
    for query in queries {
        check(query, "query", most * BYTES_PER_TOKEN)?;
    }
    let per_document = ask.how.max_tokens_per_document.unwrap_or(usize::MAX);
    let bytes = most * 2 * BYTES_PER_TOKEN;
    let fitted = ask.documents.iter().enumerate().map(|(i, document)| {
        let around = FIXED + instruction.len() + query_of(i).len(); // a token has a byte at least
        let left = prompt.min(per_document.saturating_add(around));
        let text = document.text.as_str();
        let text = if text.len() > (left * BYTES_PER_TOKEN).min(bytes) { cut_after(text, left) } else { text };
        check(text, &format!("documents[{i}]"), bytes)?;
        Ok(text)
    });
    fitted.collect()
}

/// No token reaches over two runs of letters, or two digits, so that what comes after `count` of these is none of the first `count` tokens.
fn cut_after(text: &str, count: usize) -> &str {
    static RUNS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[\p{L}\p{M}]+|\p{N}").expect("a pattern of ours"));
    match RUNS.find_iter(text).nth(count + 3) {
        Some(last) => &text[..last.end()],
        None => text,
    }
}
