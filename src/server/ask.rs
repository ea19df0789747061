//! What a request asks and what its answer says, whichever dialect it comes in.

/// A text to score.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) text: String,
    /// The client's own name for it.
    pub(super) id: Option<String>,
}

/// The texts of a list.
#[derive(Debug)]
pub(super) struct Documents {
    /// As many of them as a request may have.
    pub(super) kept: Vec<Document>,
    /// All of them.
    pub(super) count: usize,
}

/// What documents are looked at for.
#[derive(Clone, Debug)]
pub(super) enum Query {
    /// One for all documents.
    One(String),
    /// One a document.
    Each(Vec<String>),
}

/// A request, checked.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) query: Query,
    pub(super) documents: Vec<Document>,
    /// How many documents were sent: where that is more than are taken, `documents` has not all of them.
    pub(super) count: usize,
    pub(super) how: How,
    /// The best so many.
    pub(super) top_n: Option<usize>,
    pub(super) return_text: bool,
    /// A document that would be cut is an error.
    pub(super) refuse_cut: bool,
}

impl Ask {
    pub(super) fn new(query: String, documents: Documents, how: How) -> Self {
        let Documents { kept, count } = documents;
        Self {
            query: Query::One(query),
            documents: kept,
            count,
            how,
            top_n: None,
            return_text: false,
            refuse_cut: false,
        }
    }
}

/// What every dialect may say besides.
#[derive(Clone, Debug, Default)]
pub(super) struct How {
    pub(super) instruction: Option<String>,
    pub(super) threshold: Option<f64>,
    /// Logits in place of probabilities.
    pub(super) raw: bool,
    pub(super) max_tokens_per_document: Option<usize>,
}

/// What the engine says of one document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) score: f32,
    pub(super) logit: f32,
    pub(super) tokens: usize,
    pub(super) truncated: bool,
}

/// A line of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ranked {
    /// The document's place in the request.
    pub(super) index: usize,
    /// The probability, or the logit where that is asked for.
    pub(super) score: f32,
    pub(super) line: Line,
}

/// An answer, before a dialect writes it.
pub(super) struct Answer<'a> {
    pub(super) id: String,
    pub(super) model: &'a str,
    /// Of all prompts.
    pub(super) tokens: usize,
    pub(super) ask: &'a Ask,
    /// The best first.
    pub(super) ranked: Vec<Ranked>,
}

impl Answer<'_> {
    /// In the request's order.
    pub(super) fn ordered(&self) -> Vec<Ranked> {
        let mut lines = self.ranked.clone();
        lines.sort_by_key(|one| one.index);
        lines
    }
}
