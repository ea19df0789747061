//! The prompt of the Qwen3-Reranker models.
//!
//! Three parts, tokenised separately and concatenated: a fixed `PREFIX` (the system turn and the start of the user's), a `BODY`
//! made of instruction, query and document, and a fixed `SUFFIX` (the assistant's turn up to the answer). The wording is the
//! model card's; the `eval` form is the one of the published evaluation scripts.

use std::str::FromStr;

use crate::error::{Error, Result};

/// The instruction of the model card, used when a request gives none.
pub const DEFAULT_INSTRUCTION: &str = "Given a web search query, retrieve relevant passages that answer the query";

/// The default bound on the tokens of PREFIX + BODY + SUFFIX.
pub const DEFAULT_MAX_LENGTH: usize = 8192;

const PREFIX: &str = "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n";
const SUFFIX: &str = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";
const EVAL_SUFFIX: &str = "<|im_end|>\n<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";

/// Which form of the prompt to build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Template {
    /// The model card's: one newline between the fields.
    #[default]
    Card,
    /// The evaluation scripts': two newlines between the fields, a doubled end of turn.
    Eval,
    /// The texts hold the prompt's parts already: PREFIX and SUFFIX are recognised, nothing is added.
    Raw,
}

impl FromStr for Template {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        match s {
            "card" => Ok(Self::Card),
            "eval" => Ok(Self::Eval),
            "raw" => Ok(Self::Raw),
            _ => Err(Error::bad_input(format!("template {s:?} is unknown")).hint("use card, eval or raw")),
        }
    }
}

/// The last field of a body. It stands behind a newline, so a word always begins here, whatever comes before and after.
const DOCUMENT: &str = "<Document>: ";

/// The text of a prompt before tokenisation. Only `prefix` and `suffix` hold control tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PromptText {
    pub(crate) prefix: &'static str,
    pub(crate) body: String,
    pub(crate) suffix: &'static str,
}

impl Template {
    /// The fixed text before a prompt's body, control tokens included; empty for raw prompts.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Card | Self::Eval => PREFIX,
            Self::Raw => "",
        }
    }

    /// The fixed text after a prompt's body, control tokens included; empty for raw prompts.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Card => SUFFIX,
            Self::Eval => EVAL_SUFFIX,
            Self::Raw => "",
        }
    }

    /// The prompt of one pair.
    pub(crate) fn build(self, instruction: &str, query: &str, document: &str) -> PromptText {
        match self.head(instruction, query) {
            Some(head) => {
                PromptText { prefix: self.prefix(), body: head + &self.tail(document), suffix: self.suffix() }
            }
            None => split_raw(query, document),
        }
    }

    /// The body up to its last field, the same for all documents; none for raw prompts.
    pub(crate) fn head(self, instruction: &str, query: &str) -> Option<String> {
        let gap = match self {
            Self::Card => "\n",
            Self::Eval => "\n\n",
            Self::Raw => return None,
        };
        Some(format!("<Instruct>: {instruction}{gap}<Query>: {query}{gap}"))
    }

    /// The body's last field.
    pub(crate) fn tail(self, document: &str) -> String {
        format!("{DOCUMENT}{document}")
    }

    /// The name of the part of a prompt that `text` already holds, if any: a sign that the caller builds prompts on their own.
    pub(crate) fn part_in(text: &str) -> Option<&'static str> {
        if text.contains(PREFIX.trim_end()) {
            Some("PREFIX")
        } else if text.contains(SUFFIX.trim_end()) {
            Some("SUFFIX")
        } else {
            None
        }
    }
}

/// A prompt that the caller built: the query and document texts concatenated, their fixed parts recognised.
fn split_raw(query: &str, document: &str) -> PromptText {
    let (prefix, query) = match query.strip_prefix(PREFIX) {
        Some(rest) => (PREFIX, rest),
        None => ("", query),
    };
    let (document, suffix) = match (document.strip_suffix(EVAL_SUFFIX), document.strip_suffix(SUFFIX)) {
        (Some(rest), _) => (rest, EVAL_SUFFIX),
        (None, Some(rest)) => (rest, SUFFIX),
        (None, None) => (document, ""),
    };
    PromptText { prefix, body: format!("{query}{document}"), suffix }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_prompt_is_taken_apart_again() {
        for template in [Template::Card, Template::Eval] {
            let built = template.build("i", "q", "d");
            let raw = Template::Raw.build("ignored", &format!("{}{}", built.prefix, built.body), built.suffix);
            assert_eq!(raw, built);
        }
        let bare = Template::Raw.build("ignored", "q ", "d");
        assert_eq!((bare.prefix, bare.body.as_str(), bare.suffix), ("", "q d", ""));
    }

    #[test]
    fn notices_texts_that_are_prompts() {
        assert_eq!(Template::part_in(&format!("{PREFIX}x")), Some("PREFIX"));
        assert_eq!(Template::part_in(&format!("x{SUFFIX}")), Some("SUFFIX"));
        assert_eq!(Template::part_in("<think> about it"), None);
    }
}
