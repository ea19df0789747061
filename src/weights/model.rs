//! A model's files, opened: what is in them, and the ways to its tokeniser, its layers and its head.

use std::{borrow::Cow, collections::HashMap, ops::Range};

use bytes::Bytes;

use super::{DType, Index, Layer, Matrix, index::Naming, open, source::SourceFile};
use crate::{
    error::{Error, Place, Result},
    model::{Config, Head, HeadKind, LayerRole, Role},
    text::{GgufTokens, Tokenizer},
};

/// Larger than any tokenizer.json in use (Qwen3's has 11 MB).
pub(super) const LONGEST_JSON: u64 = 256 << 20;

/// Bytes of a matrix that go into the fingerprint.
const SAMPLE: u64 = 4 << 10;

/// A config.json has a few kilobytes.
const LONGEST_CONFIG: u64 = 1 << 20;

/// Which kind of file a model came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One GGUF file.
    Gguf,
    /// A Hugging Face checkpoint: config.json, tokenizer.json, one or several safetensors.
    Checkpoint,
}

/// A model whose files are open and checked, its weights not yet loaded.
pub struct ModelFile {
    /// The shape.
    pub config: Config,
    /// GGUF or checkpoint.
    pub format: Format,
    /// Every tensor, checked against the files.
    pub index: Index,
    /// Where the head comes from.
    pub head: HeadKind,
    /// Whether output and embedding share one matrix.
    pub tied: bool,
    /// What a user should know: unusual but usable things.
    pub warnings: Vec<String>,
    /// A GGUF's metadata for people to read, long lists shortened.
    pub metadata: std::collections::BTreeMap<String, String>,
    pub(crate) naming: Naming,
    pub(super) tokenizer: TokenizerFile,
    /// For a classifier of two rows: `(no row, yes row)` by its labels.
    pub(super) labels: (usize, usize),
}

pub(super) enum TokenizerFile {
    Json(Bytes),
    Gguf(GgufTokens),
}

impl ModelFile {
    /// Opens a model from its files: one GGUF file (a `tokenizer.json` beside it wins over its own tokens), or the files of a checkpoint.
    ///
    /// # Errors
    /// `bad-model` with what is wrong, where and what to do.
    pub async fn open(files: Vec<SourceFile>) -> Result<Self> {
        let named = |name: &str| files.iter().find(|f| f.name == name);
        let json = match named("tokenizer.json") {
            Some(file) => Some(file.read_all(LONGEST_JSON).await?),
            None => None,
        };
        if let Some(config) = named("config.json") {
            let config = config.read_all(LONGEST_CONFIG).await?;
            return open::checkpoint(&config, json, files).await;
        }
        let mut models = files.into_iter().filter(|f| f.name != "tokenizer.json");
        match (models.next(), models.next()) {
            (Some(file), None) => open::gguf(file, json).await,
            (None, _) => Err(Error::bad_model("no model file").hint("give a .gguf file, or a folder with config.json")),
            (Some(a), Some(b)) => {
                Err(Error::bad_model(format!("several model files ({}, {}, ...) and no config.json", a.name, b.name))
                    .hint("give one .gguf file, or the whole folder of a checkpoint with its config.json"))
            }
        }
    }

    /// Builds the tokeniser and checks that it and the embedding matrix fit together.
    ///
    /// # Errors
    /// `bad-model` if it is missing, damaged or of another kind.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        self.checked(Tokenizer::from_gguf(self.tokens()?.into_owned())?)
    }

    /// As [`Self::tokenizer`], leaving the file without its tokens, which a loaded model needs no longer.
    pub(crate) fn take_tokenizer(&mut self) -> Result<Tokenizer> {
        let tokenizer = match std::mem::replace(&mut self.tokenizer, TokenizerFile::Gguf(GgufTokens::default())) {
            TokenizerFile::Json(json) => Tokenizer::from_json(&json).at(|| "tokenizer.json".into())?,
            TokenizerFile::Gguf(tokens) => Tokenizer::from_gguf(tokens)?,
        };
        self.checked(tokenizer)
    }

    fn checked(&self, tokenizer: Tokenizer) -> Result<Tokenizer> {
        let highest = tokenizer.highest_id();
        if highest as usize >= self.config.vocabulary {
            return Err(Error::bad_model(format!(
                "the tokeniser knows id {highest}, the embedding matrix has {} rows",
                self.config.vocabulary
            ))
            .hint("the tokeniser belongs to another model; give the matching one"));
        }
        Ok(tokenizer)
    }

    /// True where the tokeniser is a file of its own.
    pub fn has_tokenizer_json(&self) -> bool {
        matches!(self.tokenizer, TokenizerFile::Json(_))
    }

    /// The tokeniser's arrays, from whichever file has them.
    pub(crate) fn tokens(&self) -> Result<Cow<'_, GgufTokens>> {
        match &self.tokenizer {
            TokenizerFile::Json(json) => GgufTokens::from_json(json).at(|| "tokenizer.json".into()).map(Cow::Owned),
            TokenizerFile::Gguf(tokens) => Ok(Cow::Borrowed(tokens)),
        }
    }

    /// The element type that most of the layers' weights have.
    pub fn main_dtype(&self) -> DType {
        let mut bytes: Vec<(DType, u64)> = Vec::new();
        for role in Role::required(&self.config).filter(|r| matches!(r, Role::Layer(..))) {
            if let Some(t) = self.index.get(&self.name(role)) {
                let size = t.range.end.saturating_sub(t.range.start);
                match bytes.iter_mut().find(|(d, _)| *d == t.dtype) {
                    Some((_, sum)) => *sum = sum.saturating_add(size),
                    None => bytes.push((t.dtype, size)),
                }
            }
        }
        bytes.iter().max_by_key(|(_, sum)| *sum).map_or(DType::F32, |(d, _)| *d)
    }

    /// The file's name for a tensor.
    pub(crate) fn name(&self, role: Role) -> String {
        self.index.role_name(role, self.naming)
    }

    pub(crate) async fn matrix(&self, role: Role) -> Result<Matrix> {
        let shape = role.shape(&self.config).expect("the classifier is loaded by its own way");
        self.index.matrix(&self.name(role), shape).await
    }

    pub(crate) async fn vector(&self, role: Role) -> Result<Vec<f32>> {
        let [_, len] = role.shape(&self.config).expect("the classifier is no vector");
        self.index.vector(&self.name(role), len).await
    }

    /// One layer's weights, each matrix in the form that `form` gives it as soon as it is there. Tensors are read in the order in which they lie in
    /// the file, so that a source may read ahead.
    ///
    /// # Errors
    /// `bad-model` or `download` as met, and what `form` gives.
    pub async fn layer<M>(&self, i: usize, mut form: impl FnMut(Matrix) -> Result<M>) -> Result<Layer<M>> {
        let mut roles = LayerRole::ALL;
        roles.sort_by_key(|&r| self.index.get(&self.name(Role::Layer(i, r))).map(|t| (t.file, t.range.start)));
        let (mut vectors, mut matrices) = (HashMap::new(), HashMap::new());
        for r in roles {
            let role = Role::Layer(i, r);
            if role.is_vector() {
                vectors.insert(r, self.vector(role).await?);
            } else {
                matrices.insert(r, form(self.matrix(role).await?)?);
            }
        }
        let mut vector = |r| vectors.remove(&r).expect("every norm of a layer was read");
        let mut matrix = |r| matrices.remove(&r).expect("every matrix of a layer was read");
        Ok(Layer {
            attn_norm: vector(LayerRole::AttnNorm),
            q: matrix(LayerRole::Q),
            k: matrix(LayerRole::K),
            v: matrix(LayerRole::V),
            q_norm: vector(LayerRole::QNorm),
            k_norm: vector(LayerRole::KNorm),
            o: matrix(LayerRole::O),
            ffn_norm: vector(LayerRole::FfnNorm),
            gate: matrix(LayerRole::Gate),
            up: matrix(LayerRole::Up),
            down: matrix(LayerRole::Down),
        })
    }

    /// What tells these weights from others of the same shape: an FNV-1a hash of the last norm, and of some bytes from the middle of every matrix of the last
    /// layer, which any training changes.
    ///
    /// # Errors
    /// `download` as met.
    pub async fn fingerprint(&self) -> Result<String> {
        let last = self.config.layers.saturating_sub(1);
        let matrices = LayerRole::ALL.map(|r| Role::Layer(last, r)).into_iter().filter(|role| !role.is_vector());
        let samples = matrices.map(|role| {
            let name = self.name(role);
            async move { self.index.sample(&name, SAMPLE).await }
        });
        let norm = self.vector(Role::OutputNorm).await?;
        let samples = futures::future::try_join_all(samples).await?;
        let bytes = norm.iter().flat_map(|x| x.to_le_bytes()).chain(samples.iter().flatten().copied());
        let hash =
            bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        Ok(format!("{hash:016x}"))
    }

    /// The type of the embedding matrix, and the bytes of one of its rows.
    pub(crate) fn embedding_row(&self) -> Result<(DType, u64)> {
        let tensor = self.index.expect(&self.name(Role::Embedding), [self.config.vocabulary, self.config.hidden])?;
        let bytes = tensor.range.end.saturating_sub(tensor.range.start);
        Ok((tensor.dtype, bytes.checked_div(self.config.vocabulary as u64).unwrap_or(0)))
    }

    /// Some rows of the embedding or the output matrix.
    pub(super) async fn rows(&self, role: Role, rows: Range<usize>) -> Result<Matrix> {
        self.index.rows(&self.name(role), [self.config.vocabulary, self.config.hidden], rows).await
    }

    /// Bytes of layer `i` in the file, and of its largest matrix.
    pub(crate) fn layer_bytes(&self, i: usize) -> [u64; 2] {
        let sizes = LayerRole::ALL.map(|r| {
            let range = self.index.get(&self.name(Role::Layer(i, r))).map(|t| t.range.clone()).unwrap_or_default();
            range.end.saturating_sub(range.start)
        });
        [sizes.iter().fold(0, |sum, &size| size.saturating_add(sum)), sizes.into_iter().max().unwrap_or(0)]
    }

    /// The head's rows for the tokens "no" and "yes", in that order whatever the file's.
    pub async fn head(&self, no: u32, yes: u32) -> Result<Head> {
        let classifier = self.name(Role::Classifier);
        let Some(info) = self.index.get(&classifier) else {
            let role = if self.tied { Role::Embedding } else { Role::Output };
            let [no, yes] = self.token_rows(role, [no, yes]).await?;
            return Ok(Head::Two { no, yes });
        };
        let rows = info.shape.first().copied().filter(|_| info.shape.len() == 2).unwrap_or(1);
        let matrix = self.index.matrix(&classifier, [rows, self.config.hidden]).await?;
        match rows {
            1 => Ok(Head::One(matrix.row(0))),
            2 => {
                let rows = [matrix.row(0), matrix.row(1)];
                let (no_row, yes_row) = self.order(&rows, no, yes).await?.unwrap_or(self.labels);
                let [a, b] = rows;
                let (no, yes) = if no_row < yes_row { (a, b) } else { (b, a) };
                Ok(Head::Two { no, yes })
            }
            n => Err(Error::bad_model(format!("tensor {classifier} has {n} rows, expected 1 or 2"))),
        }
    }

    /// Which classifier row is which by their likeness to the token rows they were copied from; none if they are alike to neither.
    async fn order(&self, rows: &[Vec<f32>; 2], no: u32, yes: u32) -> Result<Option<(usize, usize)>> {
        let role = if self.index.get(&self.name(Role::Output)).is_some() { Role::Output } else { Role::Embedding };
        let [no, yes] = self.token_rows(role, [no, yes]).await?;
        let straight = cosine(&rows[0], &no).min(cosine(&rows[1], &yes));
        let crossed = cosine(&rows[1], &no).min(cosine(&rows[0], &yes));
        Ok(match straight.max(crossed) {
            likeness if likeness < ALIKE => None,
            _ if straight >= crossed => Some((0, 1)),
            _ => Some((1, 0)),
        })
    }

    async fn token_rows<const N: usize>(&self, role: Role, ids: [u32; N]) -> Result<[Vec<f32>; N]> {
        let mut out = std::array::from_fn(|_| Vec::new());
        for (row, id) in out.iter_mut().zip(ids) {
            let id = id as usize;
            *row = self.rows(role, id..id.saturating_add(1)).await?.row(0);
        }
        Ok(out)
    }
}

/// A classifier row and the token row it was copied from differ by quantisation only.
const ALIKE: f64 = 0.8;

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms > 0.0 { dot(a, b) / norms } else { 0.0 }
}
