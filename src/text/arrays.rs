//! The tokeniser's arrays: as a GGUF file holds them, and as a `tokenizer.json` gives them.
//!
//! A `tokenizer.json` may describe any tokeniser. Only the one of the Qwen family is taken, byte-level BPE behind NFC and Qwen2's
//! pre-tokeniser, with the text as it is or in lower case. Every setting that would change an id is checked, so that what is built
//! from the arrays is the same from both files.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};

/// The pre-tokeniser of Qwen2 and Qwen3, which a GGUF names `qwen2` and `tokenizer.json` spells out.
pub(super) const QWEN2_SPLIT: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// GGUF token types. Tokens of the kinds [`CONTROL`] and [`USER_DEFINED`] are recognised in text before BPE runs.
const NORMAL: i32 = 1;
pub(super) const CONTROL: i32 = 3;
pub(super) const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

/// No id is higher: larger vocabularies are damage.
const HIGHEST_ID: usize = 1 << 22;

/// The tokeniser's arrays as a GGUF file holds them.
#[derive(Clone, Debug, Default)]
pub struct GgufTokens {
    /// Token texts in byte-level spelling, by id; padded to the embedding's rows in some files.
    pub tokens: Vec<String>,
    /// One type a token.
    pub types: Vec<i32>,
    /// Merges, two tokens with a space between, by rank.
    pub merges: Vec<String>,
    /// Whether text is put in lower case, after NFC: `tokenizer.ggml.normalizer.lowercase`. The official models are cased.
    pub lowercase: bool,
}

#[derive(Deserialize)]
struct File {
    model: Model,
    #[serde(default)]
    added_tokens: Vec<Added>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: HashMap<String, usize>,
    merges: Vec<Merge>,
    dropout: Option<f64>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    byte_fallback: Option<bool>,
    ignore_merges: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Joined(String),
    Pair(String, String),
}

#[derive(Deserialize)]
struct Added {
    id: usize,
    content: String,
    #[serde(default)]
    special: bool,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
}

impl GgufTokens {
    /// From the text of a `tokenizer.json`; ids without a token are marked unused.
    ///
    /// # Errors
    /// `bad-model` if it is damaged or describes another tokeniser.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let file: File = serde_json::from_slice(json).map_err(|e| {
            Error::bad_model(format!("the tokeniser cannot be used: {e}"))
                .hint("expected the tokenizer.json of a Qwen3 model")
        })?;
        let lowercase = file.check()?;
        let normal = file.model.vocab.into_iter().map(|(text, id)| (id, text, NORMAL));
        let added = file.added_tokens.into_iter().map(|t| {
            let kind = if t.special { CONTROL } else { USER_DEFINED };
            (t.id, t.content, kind)
        });
        let (mut tokens, mut types): (Vec<Option<String>>, Vec<i32>) = Default::default();
        for (id, text, kind) in normal.chain(added) {
            if id > HIGHEST_ID {
                return Err(Error::bad_model(format!("token {text:?} has id {id}, at most {HIGHEST_ID} is taken")));
            }
            if id >= tokens.len() {
                tokens.resize(id + 1, None);
                types.resize(id + 1, UNUSED);
            }
            if tokens[id].as_ref().is_some_and(|known| *known != text) {
                return Err(Error::bad_model(format!("id {id} is given to two tokens, {text:?} is one of them")));
            }
            (tokens[id], types[id]) = (Some(text), kind);
        }
        let tokens = tokens.into_iter().enumerate().map(|(id, text)| text.unwrap_or_else(|| padding(id))).collect();
        let merges = file.model.merges.into_iter().map(|m| match m {
            Merge::Joined(text) => text,
            Merge::Pair(a, b) => format!("{a} {b}"),
        });
        Ok(Self { tokens, types, merges: merges.collect(), lowercase })
    }

    /// Adds unused tokens up to `rows`.
    pub(crate) fn pad(&mut self, rows: usize) {
        self.tokens.extend((self.tokens.len()..rows).map(padding));
        self.types.resize(self.tokens.len(), UNUSED);
    }
}

fn padding(id: usize) -> String {
    format!("[PAD{id}]")
}

/// Whether a normalizer puts text in lower case after NFC; `None` for one that is not NFC, or does other things too.
fn lowercases(normalizer: &Value) -> Option<bool> {
    let sequence = normalizer["normalizers"].as_array().filter(|_| normalizer["type"] == "Sequence");
    let steps = sequence.map_or(std::slice::from_ref(normalizer), Vec::as_slice);
    match steps {
        [nfc] if nfc["type"] == "NFC" => Some(false),
        [nfc, lower] if nfc["type"] == "NFC" && lower["type"] == "Lowercase" => Some(true),
        _ => None,
    }
}

impl File {
    /// Refuses every setting that would give other ids. True if the normalizer puts text in lower case.
    fn check(&self) -> Result<bool> {
        let refuse = |what: String| {
            Err(Error::bad_model(what)
                .hint("only the tokeniser of the Qwen family is supported: take the model's own tokenizer.json"))
        };
        let model = &self.model;
        if model.kind.as_deref().is_some_and(|k| k != "BPE") {
            return refuse(format!("model.type is {:?}, expected \"BPE\"", model.kind));
        }
        if model.dropout.is_some_and(|d| d != 0.0) {
            return refuse(format!("model.dropout is {:?}: ids would be random", model.dropout));
        }
        for (name, text) in [
            ("continuing_subword_prefix", &model.continuing_subword_prefix),
            ("end_of_word_suffix", &model.end_of_word_suffix),
            ("unk_token", &model.unk_token),
        ] {
            if text.as_ref().is_some_and(|t| !t.is_empty()) {
                return refuse(format!("model.{name} is {text:?}, expected none"));
            }
        }
        if model.byte_fallback == Some(true) || model.ignore_merges == Some(true) {
            return refuse("model.byte_fallback or model.ignore_merges is set".into());
        }
        let Some(lowercase) = self.normalizer.as_ref().and_then(lowercases) else {
            return refuse("the normalizer is not NFC, with or without Lowercase after it".into());
        };
        let pre = self.pre_tokenizer.as_ref().unwrap_or(&Value::Null);
        let (split, bytes) = (&pre["pretokenizers"][0], &pre["pretokenizers"][1]);
        let qwen2 = pre["type"] == "Sequence"
            && pre["pretokenizers"].as_array().is_some_and(|a| a.len() == 2)
            && split["type"] == "Split"
            && split["pattern"]["Regex"] == QWEN2_SPLIT
            && split["behavior"] == "Isolated"
            && split["invert"] != true
            && bytes["type"] == "ByteLevel"
            && bytes["add_prefix_space"] == false
            && bytes["use_regex"] == false;
        if !qwen2 {
            return refuse("the pre_tokenizer is not Qwen2's".into());
        }
        match self.added_tokens.iter().find(|t| t.single_word || t.lstrip || t.rstrip || t.normalized) {
            Some(token) => refuse(format!("added token {:?} is matched in an unusual way", token.content)),
            None => Ok(lowercase),
        }
    }
}
