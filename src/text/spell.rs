//! Pairs to token ids: PREFIX, BODY and SUFFIX tokenised separately, BODY cut at its end, and the shared prefix found.

use super::Tokenizer;
use crate::{
    error::{Error, ErrorKind, Result},
    model::Template,
};

/// Beginnings of documents on which the pre-tokeniser behaves differently: where they all agree, every document agrees.
const PROBES: [&str; 10] = ["", "a", " a", "1", "\n", "\r\n\n", "!", "\u{4e2d}", "\u{301}", "'s"];

/// The prompts of one query.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spelling {
    /// One prompt a document.
    pub(crate) prompts: Vec<Prompt>,
    /// The leading ids that are the same for every possible document of this query, PREFIX included.
    pub(crate) shared: Vec<u32>,
    /// Ids of PREFIX.
    pub(crate) prefix: usize,
    /// Ids of SUFFIX.
    pub(crate) suffix: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    /// The ids behind the shared ones: at least one.
    pub(crate) own: Vec<u32>,
    /// True when the document's end was cut to keep within the maximum length.
    pub(crate) truncated: bool,
}

/// How to build prompts: the same for all documents of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) template: Template,
    pub(crate) instruction: &'a str,
    pub(crate) query: &'a str,
    /// Bound on PREFIX + BODY + SUFFIX.
    pub(crate) max_length: usize,
    /// Recognise control tokens in the texts, as the reference code does.
    pub(crate) parse_special: bool,
}

/// Spells the prompts of one query, a document at a time.
pub(crate) struct Speller<'a> {
    tokenizer: &'a Tokenizer,
    asked: Asked<'a>,
    /// The ids of each fixed text met so far: few, and the same for nearly all documents.
    fixed: Vec<(&'static str, Vec<u32>)>,
    /// Ids of PREFIX and of the body up to its last field. That begins a word whatever stands before it, so the rest is tokenised by itself;
    /// not where control tokens are recognised, nor in raw prompts.
    head: Option<Vec<u32>>,
    /// A prompt to compare the others with, and how many of its ids all have in common.
    first: Vec<u32>,
    shared: usize,
    spelling: Spelling,
}

impl<'a> Speller<'a> {
    /// Finds the shared prefix.
    pub(crate) fn new(tokenizer: &'a Tokenizer, asked: Asked<'a>) -> Result<Self> {
        let (head, first, spelling) = (None, Vec::new(), Spelling::default());
        let mut speller = Self { tokenizer, asked, fixed: Vec::new(), head, first, shared: usize::MAX, spelling };
        let uncut = usize::MAX;
        if let (Some(head), false) = (asked.template.head(asked.instruction, asked.query), asked.parse_special) {
            let prefix = speller.fixed(asked.template.prefix())?;
            let prefix = &speller.fixed[prefix].1;
            speller.spelling.prefix = prefix.len();
            speller.head = Some([&prefix[..], &tokenizer.encode_plain(&head, uncut)?].concat());
        }
        for probe in PROBES {
            speller.one(probe, uncut)?;
        }
        let (shared, suffix, max_length) = (speller.shared, speller.spelling.suffix, asked.max_length);
        if shared + suffix >= max_length {
            let what = format!(
                "the instruction and the query take {} tokens with the prompt's fixed parts, the maximum length of {max_length} leaves no room for a document",
                shared + suffix
            );
            return Err(Error::new(ErrorKind::TooLong, what)
                .at("query")
                .hint("shorten the query or the instruction, or raise the maximum length"));
        }
        Ok(speller)
    }

    /// Spells the next document's prompt.
    pub(crate) fn push(&mut self, document: &str) -> Result<()> {
        let (mut ids, truncated) = self.one(document, self.asked.max_length)?;
        if ids.is_empty() {
            return Err(Error::bad_input("a prompt of no tokens")
                .hint("the raw template needs texts that hold the prompt's parts"));
        }
        let own = ids.split_off(self.head.as_ref().map_or(0, Vec::len));
        self.spelling.prompts.push(Prompt { own, truncated });
        Ok(())
    }

    /// All prompts; each keeps at least one id of its own.
    pub(crate) fn finish(mut self) -> Spelling {
        let head = self.head.as_ref().map_or(0, Vec::len);
        let shortest = self.spelling.prompts.iter().map(|p| head + p.own.len()).min();
        let shared = self.shared.min(shortest.unwrap_or(usize::MAX) - 1);
        if shared >= head {
            for prompt in &mut self.spelling.prompts {
                prompt.own.drain(..shared - head);
            }
        } else {
            for prompt in &mut self.spelling.prompts {
                prompt.own.splice(..0, self.first[shared..head].iter().copied());
            }
        }
        self.first.truncate(shared);
        self.spelling.shared = self.first;
        self.spelling
    }

    /// The ids of a prompt of at most `max_length`, and whether that cut the document.
    fn one(&mut self, document: &str, max_length: usize) -> Result<(Vec<u32>, bool)> {
        let Asked { template, instruction, query, parse_special, .. } = self.asked;
        let (mut ids, body, suffix) = match &self.head {
            Some(head) => (head.clone(), template.tail(document), template.suffix()),
            None => {
                let text = template.build(instruction, query, document);
                let prefix = self.fixed(text.prefix)?;
                self.spelling.prefix = self.fixed[prefix].1.len();
                (self.fixed[prefix].1.clone(), text.body, text.suffix)
            }
        };
        let suffix = self.fixed(suffix)?;
        let suffix = &self.fixed[suffix].1;
        self.spelling.suffix = suffix.len();
        let room = max_length.saturating_sub(ids.len() + suffix.len());
        let body = match parse_special {
            true => self.tokenizer.encode_parsed(&body)?,
            false => self.tokenizer.encode_plain(&body, room)?,
        };
        let truncated = body.len() > room;
        ids.extend(body.iter().take(room));
        ids.extend_from_slice(suffix);
        if self.shared == usize::MAX {
            (self.first, self.shared) = (ids.clone(), ids.len());
        }
        self.shared = self.shared.min(common(&self.first, &ids));
        Ok((ids, truncated))
    }

    /// Where the ids of a fixed text are.
    fn fixed(&mut self, text: &'static str) -> Result<usize> {
        if let Some(i) = self.fixed.iter().position(|(t, _)| *t == text) {
            return Ok(i);
        }
        self.fixed.push((text, self.tokenizer.encode_parsed(text)?));
        Ok(self.fixed.len() - 1)
    }
}

/// The number of leading ids that are equal.
fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
