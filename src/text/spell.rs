//! Pairs to token ids: PREFIX, BODY and SUFFIX tokenised separately, BODY cut at its end, and the shared prefix found.

use super::Tokenizer;
use crate::{
    error::{Error, ErrorKind, Result},
    model::Template,
};

/// Beginnings of documents on which the pre-tokeniser behaves differently: where they all agree, every document agrees.
const PROBES: [&str; 10] = ["", "a", " a", "1", "\n", "\r\n\n", "!", "\u{4e2d}", "\u{301}", "'s"];

/// The prompts of one query.
#[derive(Clone, Debug)]
pub(crate) struct Spelling {
    /// One prompt a document, all of at least `shared + 1` ids.
    pub(crate) prompts: Vec<Prompt>,
    /// The leading ids that are the same for every possible document of this query, PREFIX included.
    pub(crate) shared: usize,
    /// Ids of PREFIX.
    pub(crate) prefix: usize,
    /// Ids of SUFFIX.
    pub(crate) suffix: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    pub(crate) ids: Vec<u32>,
    /// True when the document's end was cut to keep within the maximum length.
    pub(crate) truncated: bool,
}

/// How to build prompts: the same for all documents of a request.
#[derive(Clone, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) template: Template,
    pub(crate) instruction: &'a str,
    pub(crate) query: &'a str,
    /// Bound on PREFIX + BODY + SUFFIX.
    pub(crate) max_length: usize,
    /// Recognise control tokens in the texts, as the reference code does.
    pub(crate) parse_special: bool,
}

/// Spells the prompts of `documents`.
pub(crate) fn spell<'a>(
    tokenizer: &Tokenizer,
    how: &Asked,
    documents: impl Iterator<Item = &'a str>,
) -> Result<Spelling> {
    let one = |document: &str| spell_one(tokenizer, how, document);
    let probes = PROBES.iter().map(|p| one(p)).collect::<Result<Vec<_>>>()?;
    let (first, rest) = probes.split_first().expect("there are probes");
    let (prefix, suffix) = (first.prefix, first.suffix);
    let mut shared = rest.iter().fold(first.ids.len(), |n, p| n.min(common(&first.ids, &p.ids)));
    let room = how.max_length.saturating_sub(suffix);
    if shared >= room {
        return Err(Error::new(
            ErrorKind::TooLong,
            format!(
                "the instruction and the query take {shared} tokens with the prompt's fixed part, the maximum length of {} leaves no room for a document",
                how.max_length
            ),
        )
        .at("query")
        .hint("shorten the query or the instruction, or raise the maximum length"));
    }
    let mut prompts = Vec::new();
    for document in documents {
        let spelled = one(document)?;
        shared = shared.min(common(&first.ids, &spelled.ids));
        prompts.push(Prompt { ids: spelled.ids, truncated: spelled.truncated });
    }
    let shortest = prompts.iter().map(|p| p.ids.len()).min().unwrap_or(usize::MAX);
    if shortest == 0 {
        return Err(Error::bad_input("a prompt of no tokens").hint("the raw template needs texts that hold the prompt's parts"));
    }
    Ok(Spelling { prompts, shared: shared.min(shortest - 1), prefix, suffix })
}

struct One {
    ids: Vec<u32>,
    truncated: bool,
    prefix: usize,
    suffix: usize,
}

fn spell_one(tokenizer: &Tokenizer, how: &Asked, document: &str) -> Result<One> {
    let text = how.template.build(how.instruction, how.query, document);
    let mut ids = tokenizer.encode_parsed(text.prefix)?;
    let suffix = tokenizer.encode_parsed(text.suffix)?;
    let prefix = ids.len();
    let room = how.max_length.saturating_sub(prefix + suffix.len());
    let mut body = match how.parse_special {
        true => tokenizer.encode_parsed(&text.body)?,
        false => tokenizer.encode_plain(&text.body, room)?,
    };
    let truncated = body.len() > room;
    body.truncate(room);
    ids.extend(body);
    ids.extend_from_slice(&suffix);
    Ok(One { ids, truncated, prefix, suffix: suffix.len() })
}

/// The number of leading ids that are equal.
fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
