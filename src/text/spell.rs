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
    /// A prompt to compare the others with.
    first: Vec<u32>,
    spelling: Spelling,
}

impl<'a> Speller<'a> {
    /// Finds the shared prefix.
    pub(crate) fn new(tokenizer: &'a Tokenizer, asked: Asked<'a>) -> Result<Self> {
        let spelling = Spelling { prompts: Vec::new(), shared: usize::MAX, prefix: 0, suffix: 0 };
        let mut speller = Self { tokenizer, asked, fixed: Vec::new(), first: Vec::new(), spelling };
        for probe in PROBES {
            speller.one(probe)?;
        }
        let Asked { max_length, .. } = speller.asked;
        let Spelling { shared, suffix, .. } = speller.spelling;
        if shared >= max_length.saturating_sub(suffix) {
            let what = format!(
                "the instruction and the query take {shared} tokens with the prompt's fixed part, the maximum length of {max_length} leaves no room for a document"
            );
            return Err(Error::new(ErrorKind::TooLong, what)
                .at("query")
                .hint("shorten the query or the instruction, or raise the maximum length"));
        }
        Ok(speller)
    }

    /// Spells the next document's prompt.
    pub(crate) fn push(&mut self, document: &str) -> Result<()> {
        let prompt = self.one(document)?;
        if prompt.ids.is_empty() {
            return Err(Error::bad_input("a prompt of no tokens")
                .hint("the raw template needs texts that hold the prompt's parts"));
        }
        self.spelling.prompts.push(prompt);
        Ok(())
    }

    /// All prompts; each keeps at least one id of its own.
    pub(crate) fn finish(mut self) -> Spelling {
        let shortest = self.spelling.prompts.iter().map(|p| p.ids.len()).min();
        self.spelling.shared = self.spelling.shared.min(shortest.unwrap_or(usize::MAX).saturating_sub(1));
        self.spelling
    }

    fn one(&mut self, document: &str) -> Result<Prompt> {
        let Asked { template, instruction, query, max_length, parse_special } = self.asked;
        let text = template.build(instruction, query, document);
        let (prefix, suffix) = (self.fixed(text.prefix)?, self.fixed(text.suffix)?);
        let (prefix, suffix) = (&self.fixed[prefix].1, &self.fixed[suffix].1);
        let room = max_length.saturating_sub(prefix.len() + suffix.len());
        let mut body = match parse_special {
            true => self.tokenizer.encode_parsed(&text.body)?,
            false => self.tokenizer.encode_plain(&text.body, room)?,
        };
        let truncated = body.len() > room;
        body.truncate(room);
        let ids = [prefix, &body[..], suffix].concat();
        (self.spelling.prefix, self.spelling.suffix) = (prefix.len(), suffix.len());
        if self.spelling.shared == usize::MAX {
            (self.first, self.spelling.shared) = (ids.clone(), ids.len());
        }
        self.spelling.shared = self.spelling.shared.min(common(&self.first, &ids));
        Ok(Prompt { ids, truncated })
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
