//! What is scored: a request of seeded words, or pairs of a file.

use std::io::BufReader;

use super::{Options, words::Words};
use crate::{
    cli::{Common, documents, progress::count, score},
    error::{Error, ErrorKind, Result},
    model::{DEFAULT_MAX_LENGTH, Template},
    random::SplitMix64,
    rerank::{Request, tokenize},
    text::Tokenizer,
};

/// Tokens of the generated query.
const QUERY_TOKENS: usize = 16;
/// Tokens of all documents of all passes: more would be hours on most machines.
const MOST_TOKENS: u64 = 10_000_000;
/// Bytes of all texts of a file.
const MOST_BYTES: usize = 64 << 20;

/// The texts of one request.
pub(super) struct Texts {
    pub(super) query: String,
    instruction: Option<String>,
    documents: Vec<String>,
    /// Where they came from; nothing for generated ones.
    place: Option<String>,
}

impl Texts {
    /// The request of a group of a file's rows, `place` being the file.
    fn of_group(group: score::Group, place: &str) -> Option<Self> {
        let place = Some(group.place(place));
        let mut rows = group.rows.into_iter();
        let first = rows.next()?;
        let documents = [first.document].into_iter().chain(rows.map(|row| row.document)).collect();
        Some(Self { query: first.query, instruction: first.instruction, documents, place })
    }

    /// The request that these texts make with the options of the command line.
    pub(super) fn request<'a>(&'a self, common: &'a Common, max_length: Option<usize>) -> Request<'a> {
        let options = common.request();
        Request {
            query: &self.query,
            documents: self.documents.iter().map(String::as_str).collect(),
            instruction: self.instruction.as_deref().or(options.instruction),
            max_length,
            ..options
        }
    }

    /// An error with its place.
    pub(super) fn name(&self, e: Error) -> Error {
        match &self.place {
            Some(place) => e.at(place),
            None => e,
        }
    }
}

/// The length of a request in tokens.
pub(super) struct Length {
    /// Leading tokens that all prompts share.
    pub(super) shared: usize,
    /// Tokens of every prompt, shared ones included.
    pub(super) prompts: Vec<usize>,
    /// Documents that were cut.
    cut: usize,
}

impl Length {
    /// The length of a request whose documents are whole.
    #[cfg(test)]
    pub(super) fn new(shared: usize, prompts: Vec<usize>) -> Self {
        Self { shared, prompts, cut: 0 }
    }

    fn of(request: &Request, tokenizer: &Tokenizer, context: usize) -> Result<Self> {
        let t = tokenize(tokenizer, context, request)?;
        let cut = t.truncated.iter().filter(|cut| **cut).count();
        Ok(Self { shared: t.shared_prefix, prompts: t.ids.iter().map(Vec::len).collect(), cut })
    }

    /// Tokens to compute, what is shared once.
    pub(super) fn computed(&self) -> usize {
        self.shared + self.prompts.iter().map(|n| n - self.shared).sum::<usize>()
    }
}

/// The requests of a pass.
pub(super) struct Requests {
    pub(super) all: Vec<Texts>,
    /// Of each request.
    pub(super) lengths: Vec<Length>,
    /// Tokens of every document, if they were asked for.
    pub(super) tokens_per_document: Option<usize>,
    /// The most tokens of a whole prompt.
    pub(super) max_length: Option<usize>,
}

impl Requests {
    /// One request of `--documents` documents of `--tokens` tokens; the same words every time. Prompts may be as long as the model's context.
    pub(super) fn generate(common: &Common, options: &Options, tokenizer: &Tokenizer, context: usize) -> Result<Self> {
        if common.template == Template::Raw {
            return Err(Error::bad_input("takes whole prompts, which only you can give")
                .at("the raw template")
                .hint("give them with --data, or leave --template out"));
        }
        let (documents, tokens) = (options.documents as usize, options.tokens as usize);
        let work =
            u64::from(options.documents).saturating_mul(options.tokens.into()).saturating_mul(options.repeat.into());
        check_work(work, "fewer --documents, fewer --tokens or a smaller --repeat")?;
        let words = Words::new(tokenizer)?;
        let mut texts = Texts {
            query: words.text(&mut SplitMix64(0), QUERY_TOKENS),
            instruction: None,
            documents: vec![words.text(&mut SplitMix64(1), 1)],
            place: None,
        };
        let longest = common.max_length.unwrap_or(context);
        let max_length = Some(longest);
        let probe = Length::of(&texts.request(common, max_length), tokenizer, context)?;
        let most = (longest + 1).saturating_sub(probe.prompts[0]);
        if tokens > most || probe.cut > 0 {
            let hint = match common.max_length {
                Some(_) => format!("use --tokens {most} or fewer, or a larger --max-length"),
                None => format!("use --tokens {most} or fewer"),
            };
            let (asked, longest) = (count(tokens as u64), count(longest as u64));
            let what =
                format!("a document of {asked} tokens does not fit into a prompt of {longest}, the most there may be");
            return Err(Error::new(ErrorKind::TooLong, what).hint(hint));
        }
        texts.documents = (1..=documents as u64).map(|i| words.text(&mut SplitMix64(i), tokens)).collect();
        let length = Length::of(&texts.request(common, max_length), tokenizer, context)?;
        Ok(Self { all: vec![texts], lengths: vec![length], tokens_per_document: Some(tokens), max_length })
    }

    /// The pairs of a JSONL file, `-` being standard input.
    pub(super) fn read(
        common: &Common,
        path: &str,
        repeat: u32,
        tokenizer: &Tokenizer,
        context: usize,
    ) -> Result<Self> {
        let place = documents::place_of(path);
        let mut input = BufReader::new(documents::open(path)?);
        let mut all = Vec::new();
        let mut group = score::Group::default();
        let (mut line, mut bytes) = (1, 0);
        while let Some(row) = score::read_row(&mut input, &place, line)? {
            if let Some(row) = row {
                bytes += row.query.len() + row.document.len();
                if bytes > MOST_BYTES {
                    return Err(Error::bad_input(format!("more than {MOST_BYTES} bytes of texts"))
                        .at(format!("{place}:{line}"))
                        .hint("give fewer pairs"));
                }
                if !group.takes(&row) {
                    all.extend(Texts::of_group(std::mem::take(&mut group), &place));
                }
                group.add(line, row);
            }
            line += 1;
        }
        all.extend(Texts::of_group(group, &place));
        if all.is_empty() {
            return Err(Error::bad_input("no pairs")
                .at(&place)
                .hint("give {\"query\": \"...\", \"document\": \"...\"} on each line"));
        }
        let max_length = common.max_length;
        let length = |t: &Texts| Length::of(&t.request(common, max_length), tokenizer, context).map_err(|e| t.name(e));
        let lengths = all.iter().map(length).collect::<Result<Vec<_>>>()?;
        let pass: u64 = lengths.iter().map(|l| l.computed() as u64).sum();
        check_work(pass.saturating_mul(repeat.into()), "fewer pairs or a smaller --repeat")
            .map_err(|e| e.at(&place))?;
        Ok(Self { all, lengths, tokens_per_document: None, max_length })
    }

    /// Documents of a pass.
    pub(super) fn documents(&self) -> usize {
        self.lengths.iter().map(|l| l.prompts.len()).sum()
    }

    /// Tokens of a pass's prompts, shared ones counted for each.
    pub(super) fn prompt_tokens(&self) -> usize {
        self.lengths.iter().flat_map(|l| &l.prompts).sum()
    }

    /// What to say of documents that were cut.
    pub(super) fn cut_note(&self) -> Option<String> {
        let cut: usize = self.lengths.iter().map(|l| l.cut).sum();
        let longest = self.max_length.unwrap_or(DEFAULT_MAX_LENGTH) as u64;
        (cut > 0).then(|| format!("documents cut to {} tokens: {cut} of {}", count(longest), self.documents()))
    }
}

/// Refuses work that nobody would wait for; `less` says how to ask for less.
fn check_work(tokens: u64, less: &str) -> Result<()> {
    if tokens <= MOST_TOKENS {
        return Ok(());
    }
    let what = format!("{} tokens in all, at most {} are measured", count(tokens), count(MOST_TOKENS));
    Err(Error::bad_input(what).hint(format!("use {less}")))
}
