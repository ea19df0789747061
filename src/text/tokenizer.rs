//! The byte-level BPE tokeniser of the Qwen family, from `tokenizer.json` or from a GGUF's own arrays.

use tokenizers::{
    AddedToken, Model, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
    PreTokenizerWrapper, SplitDelimiterBehavior,
    models::bpe::BPE,
    normalizers::{NormalizerWrapper, Sequence as Normalizers, unicode::NFC, utils::Lowercase},
    pre_tokenizers::{
        byte_level::ByteLevel,
        sequence::Sequence,
        split::{Split, SplitPattern},
    },
};

use super::arrays::{CONTROL, GgufTokens, QWEN2_SPLIT, USER_DEFINED};
use crate::error::{Error, ErrorKind, Result};

/// Turns text into token ids.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// Bytes of text that are taken at once.
    most: usize,
    highest: u32,
    no: u32,
    yes: u32,
}

fn refuse(e: impl std::fmt::Display) -> Error {
    Error::bad_model(format!("the tokeniser cannot be used: {e}"))
        .hint("take the tokenizer.json of the model's own repository")
}

impl Tokenizer {
    /// From the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// `bad-model` if it is damaged or no tokeniser of the Qwen family.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        Self::from_gguf(GgufTokens::from_json(json)?)
    }

    /// From the arrays of a GGUF file, which are used up: they are several megabytes, and this may run where few are to be had.
    ///
    /// # Errors
    /// `bad-model` if tokens and merges do not fit together.
    pub fn from_gguf(arrays: GgufTokens) -> Result<Self> {
        let GgufTokens { tokens, types, merges: lines, lowercase } = arrays;
        let highest = u32::try_from(tokens.len().saturating_sub(1)).map_err(refuse)?;
        let is_added = |kind: i32| kind == CONTROL || kind == USER_DEFINED;
        let added: Vec<AddedToken> = tokens
            .iter()
            .zip(&types)
            .filter(|&(_, &kind)| is_added(kind))
            .map(|(token, &kind)| AddedToken::from(token.clone(), kind == CONTROL).normalized(false))
            .collect();
        let vocabulary: ahash::AHashMap<String, u32> = tokens.into_iter().zip(0..).collect();
        let mut merges = Vec::with_capacity(lines.len());
        for merge in lines {
            let pair = merge.split_once(' ').filter(|(a, b)| {
                let known = |token: &str| vocabulary.contains_key(token);
                known(a) && known(b) && known(&format!("{a}{b}"))
            });
            let (a, b) = pair.ok_or_else(|| refuse(format!("merge {merge:?} makes no token of the vocabulary")))?;
            merges.push((a.to_owned(), b.to_owned()));
        }
        let bpe = BPE::builder().vocab_and_merges(vocabulary, merges).build().map_err(refuse)?;
        let mut inner = tokenizers::Tokenizer::new(bpe);
        let split = Split::new(SplitPattern::Regex(QWEN2_SPLIT.into()), SplitDelimiterBehavior::Isolated, false)
            .map_err(refuse)?;
        let mut normalizers = vec![NormalizerWrapper::NFC(NFC)];
        normalizers.extend(lowercase.then_some(NormalizerWrapper::Lowercase(Lowercase)));
        inner.with_normalizer(Some(Normalizers::new(normalizers))).map_err(refuse)?;
        inner.with_pre_tokenizer(Some(Sequence::new(vec![
            PreTokenizerWrapper::Split(split),
            PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, false, false)),
        ])));
        inner.add_tokens(added).map_err(refuse)?;
        Self::checked(inner, highest)
    }

    fn checked(inner: tokenizers::Tokenizer, highest: u32) -> Result<Self> {
        if let Some(missing) =
            ByteLevel::alphabet().into_iter().find(|c| inner.get_model().token_to_id(&c.to_string()).is_none())
        {
            return Err(refuse(format!("the vocabulary has no token for the byte spelled {missing:?}")));
        }
        let need = |token: &str| inner.token_to_id(token).ok_or_else(|| refuse(format!("there is no token {token:?}")));
        for control in ["<|im_start|>", "<|im_end|>"] {
            need(control)?;
        }
        let (no, yes) = (need("no")?, need("yes")?);
        Ok(Self { inner, most: usize::MAX, highest, no, yes })
    }

    /// Refuses to take more than so many bytes of text at once: what it needs meanwhile is some sixty times as much.
    pub(crate) fn limited(self, most: usize) -> Self {
        Self { most, ..self }
    }

    fn check_length(&self, bytes: usize) -> Result<()> {
        if bytes <= self.most {
            return Ok(());
        }
        let what = format!(
            "{bytes} bytes that must be taken in one piece, {} are the most in the memory for streaming",
            self.most
        );
        Err(Error::new(ErrorKind::TooLong, what)
            .hint("shorten the text, break a word of such a length, or give more memory"))
    }

    /// The highest id that can come out.
    pub fn highest_id(&self) -> u32 {
        self.highest
    }

    /// The ids of the answers, `(no, yes)`.
    pub fn answers(&self) -> (u32, u32) {
        (self.no, self.yes)
    }

    /// Ids of `text` with control and other added tokens recognised: for the prompt's fixed parts, and for callers who ask for it.
    ///
    /// # Errors
    /// `bad-input` if the tokeniser gives up on the text.
    pub fn encode_parsed(&self, text: &str) -> Result<Vec<u32>> {
        self.check_length(text.len())?;
        let encoding = self.inner.encode_fast(text, false).map_err(give_up)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Ids of `text` as data: no added token is recognised, so `<|im_end|>` is ordinary text. Stops soon after `limit` ids:
    /// the first `limit` are those of the whole text, and more than `limit` come back if the text goes on.
    ///
    /// # Errors
    /// `bad-input` if the tokeniser gives up on the text.
    pub fn encode_plain(&self, text: &str, limit: usize) -> Result<Vec<u32>> {
        // A long text is first cut generously; the last words before a cut may change with what follows, all others cannot.
        let mut cut = limit.saturating_mul(BYTES_PER_TOKEN).saturating_add(BYTES_PER_TOKEN).min(self.most);
        while cut < text.len() {
            let end = text.floor_char_boundary(cut);
            let ids = self.encode_words(&text[..end], limit, UNSETTLED_WORDS)?;
            if ids.len() > limit {
                return Ok(ids);
            }
            cut = cut.saturating_mul(4);
        }
        self.encode_words(text, limit, 0)
    }

    /// Normalises, splits into words and runs BPE on all but the last `unsettled` words until there are more than `limit` ids.
    fn encode_words(&self, text: &str, limit: usize, unsettled: usize) -> Result<Vec<u32>> {
        self.check_length(text.len())?;
        let mut normalized = tokenizers::NormalizedString::from(text);
        if let Some(normalizer) = self.inner.get_normalizer() {
            normalizer.normalize(&mut normalized).map_err(give_up)?;
        }
        let mut words = PreTokenizedString::from(normalized);
        if let Some(pre) = self.inner.get_pre_tokenizer() {
            pre.pre_tokenize(&mut words).map_err(give_up)?;
        }
        let words = words.get_splits(OffsetReferential::Normalized, OffsetType::None);
        let settled = words.len().saturating_sub(unsettled);
        let mut ids = Vec::new();
        for (word, ..) in &words[..settled] {
            ids.extend(self.inner.get_model().tokenize(word).map_err(give_up)?.into_iter().map(|t| t.id));
            if ids.len() > limit {
                break;
            }
        }
        Ok(ids)
    }
}

/// More than the bytes of nearly every token, so that one cut is nearly always enough.
const BYTES_PER_TOKEN: usize = 32;
/// Words before a cut that what follows could still change: the one that is cut, and one for a normalisation across it.
const UNSETTLED_WORDS: usize = 2;

fn give_up(e: tokenizers::Error) -> Error {
    Error::new(ErrorKind::BadInput, format!("the tokeniser gave up on a text: {e}"))
}
