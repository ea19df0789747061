//! A model's files, opened: format, settings, tokeniser and head found; then its layers, loaded.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    DType, Index, Matrix, checkpoint, gguf,
    gguf::Value,
    index::Naming,
    safetensors,
    source::{BoxFuture, MaybeSend, SourceFile},
};
use crate::{
    error::{Error, ErrorKind, Place, Result},
    model::{Config, Head, HeadKind, LayerRole, Role},
    text::{GgufTokens, Tokenizer},
};

/// Larger than any tokenizer.json in use (Qwen3's has 11 MB).
const LONGEST_JSON: u64 = 256 << 20;

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
    tokenizer: TokenizerFile,
    /// For a classifier of two rows: `(no row, yes row)` by its labels.
    labels: (usize, usize),
}

enum TokenizerFile {
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
            let settings = checkpoint::parse(&config.read_all(1 << 20).await?).at(|| "config.json".into())?;
            return open_checkpoint(settings, json, files).await;
        }
        let mut models = files.into_iter().filter(|f| f.name != "tokenizer.json");
        match (models.next(), models.next()) {
            (Some(file), None) => open_gguf(file, json).await,
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
        let tokenizer = match &self.tokenizer {
            TokenizerFile::Json(json) => Tokenizer::from_json(json).at(|| "tokenizer.json".into())?,
            TokenizerFile::Gguf(tokens) => Tokenizer::from_gguf(tokens)?,
        };
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

    /// The tokeniser's file, to be carried over into another one.
    pub(crate) fn tokenizer_json(&self) -> Option<&[u8]> {
        match &self.tokenizer {
            TokenizerFile::Json(json) => Some(json),
            TokenizerFile::Gguf(_) => None,
        }
    }

    pub(crate) fn gguf_tokens(&self) -> Option<&GgufTokens> {
        match &self.tokenizer {
            TokenizerFile::Json(_) => None,
            TokenizerFile::Gguf(tokens) => Some(tokens),
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

    /// One layer's weights.
    pub async fn layer(&self, i: usize) -> Result<Layer> {
        let role = |r| Role::Layer(i, r);
        Ok(Layer {
            attn_norm: self.vector(role(LayerRole::AttnNorm)).await?,
            q: self.matrix(role(LayerRole::Q)).await?,
            k: self.matrix(role(LayerRole::K)).await?,
            v: self.matrix(role(LayerRole::V)).await?,
            q_norm: self.vector(role(LayerRole::QNorm)).await?,
            k_norm: self.vector(role(LayerRole::KNorm)).await?,
            o: self.matrix(role(LayerRole::O)).await?,
            ffn_norm: self.vector(role(LayerRole::FfnNorm)).await?,
            gate: self.matrix(role(LayerRole::Gate)).await?,
            up: self.matrix(role(LayerRole::Up)).await?,
            down: self.matrix(role(LayerRole::Down)).await?,
        })
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
        let shape = [self.config.vocabulary, self.config.hidden];
        let mut out = std::array::from_fn(|_| Vec::new());
        for (row, id) in out.iter_mut().zip(ids) {
            let id = id as usize;
            *row = self.index.rows(&self.name(role), shape, id..id.saturating_add(1)).await?.row(0);
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

async fn open_checkpoint(
    settings: checkpoint::Settings,
    json: Option<Bytes>,
    files: Vec<SourceFile>,
) -> Result<ModelFile> {
    let json = json.ok_or_else(|| {
        Error::bad_model("tokenizer.json is missing")
            .hint("download the checkpoint's tokenizer.json beside its config.json")
    })?;
    let shards = files.iter().find(|f| f.name == "model.safetensors.index.json");
    let expected = match shards {
        Some(file) => Some(shard_names(&file.read_all(LONGEST_JSON).await?).at(|| file.name.clone())?),
        None => None,
    };
    let files: Vec<_> = files
        .into_iter()
        .filter(|f| f.name.ends_with(".safetensors"))
        .filter(|f| expected.as_ref().is_none_or(|names| names.contains(&f.name)))
        .collect();
    if let Some(missing) = expected.iter().flatten().find(|name| files.iter().all(|f| f.name != **name)) {
        return Err(Error::bad_model(format!("{missing} is missing")).hint("download every file that the index names"));
    }
    if files.is_empty() {
        return Err(Error::bad_model("no .safetensors file")
            .hint("PyTorch .bin checkpoints are not read; convert them to safetensors"));
    }
    let mut tensors = std::collections::HashMap::new();
    for (i, file) in files.iter().enumerate() {
        safetensors::read_header(file, i, &mut tensors).await?;
    }
    let bare = tensors.contains_key("embed_tokens.weight");
    let has = |name: &str| tensors.contains_key(name);
    // transformers stores a tied lm_head nowhere; a config may say "tied" for a sequence classifier as well.
    let tied = settings.tied || (!has("lm_head.weight") && has("score.weight"));
    let head = match () {
        () if has("score.weight") => HeadKind::Score,
        () if tied => HeadKind::Tied,
        () => HeadKind::Output,
    };
    let yes = settings.yes_row.unwrap_or(1).min(1);
    finish(ModelFile {
        config: settings.config,
        format: Format::Checkpoint,
        index: Index::new(files, tensors)?,
        head,
        tied,
        warnings: Vec::new(),
        metadata: std::collections::BTreeMap::new(),
        naming: Naming::Checkpoint { bare },
        tokenizer: TokenizerFile::Json(json),
        labels: (1usize.wrapping_sub(yes), yes),
    })
}

/// The files that `model.safetensors.index.json` names.
fn shard_names(json: &[u8]) -> Result<std::collections::BTreeSet<String>> {
    #[derive(serde::Deserialize)]
    struct Shards {
        weight_map: std::collections::HashMap<String, String>,
    }
    let shards: Shards = serde_json::from_slice(json).map_err(|e| Error::bad_model(e.to_string()))?;
    Ok(shards.weight_map.into_values().collect())
}

async fn open_gguf(file: SourceFile, json: Option<Bytes>) -> Result<ModelFile> {
    let mut header = gguf::read_header(&file, 0).await?;
    let place = file.name.clone();
    let metadata = header.metadata.iter().map(|(key, value)| (key.clone(), value.summary())).collect();
    let pairs = &mut header.metadata;
    let architecture = text(pairs.get("general.architecture")).unwrap_or_default();
    if architecture != "qwen3" {
        return Err(Error::bad_model(format!("general.architecture is {architecture:?}, expected \"qwen3\""))
            .at(place)
            .hint("use a GGUF of a Qwen3-Reranker model"));
    }
    let vocabulary = header
        .tensors
        .get(&Role::Embedding.gguf())
        .and_then(|t| t.shape.first().copied())
        .ok_or_else(|| Error::bad_model("tensor token_embd.weight is missing").at(&place))?;
    let config = gguf_config(pairs, vocabulary).map_err(|e| e.at(&place))?;
    let labels = match pairs.remove("qwen3.classifier.output_labels") {
        Some(Value::Texts(labels)) if labels.first().is_some_and(|l| l.eq_ignore_ascii_case("no")) => (0, 1),
        // llama.cpp's converter writes yes first.
        _ => (1, 0),
    };
    let tokenizer = match json {
        Some(json) => TokenizerFile::Json(json),
        None => TokenizerFile::Gguf(gguf_tokens(pairs).map_err(|e| e.at(&place))?),
    };
    let has = |role: Role| header.tensors.contains_key(&role.gguf());
    let (tied, head) = match (has(Role::Classifier), has(Role::Output)) {
        (true, output) => (!output, HeadKind::Classifier),
        (false, true) => (false, HeadKind::Output),
        (false, false) => (true, HeadKind::Tied),
    };
    finish(ModelFile {
        config,
        format: Format::Gguf,
        index: Index::new(vec![file], header.tensors)?,
        head,
        tied,
        warnings: Vec::new(),
        metadata,
        naming: Naming::Gguf,
        tokenizer,
        labels,
    })
}

/// The last checks, the same for both formats: every tensor there in its shape, nothing unknown that would change the result.
fn finish(mut file: ModelFile) -> Result<ModelFile> {
    for role in Role::required(&file.config) {
        let shape = role.shape(&file.config).expect("required tensors have one shape");
        file.index.expect(&file.name(role), shape)?;
    }
    if !file.tied && file.head == HeadKind::Output {
        let shape = [file.config.vocabulary, file.config.hidden];
        file.index.expect(&file.name(Role::Output), shape)?;
    }
    if let Some(name) = file.index.tensors().keys().find(|n| n.ends_with(".bias")) {
        return Err(Error::bad_model(format!("tensor {name} is a bias, Qwen3 has none"))
            .hint("this is another architecture under Qwen3's name"));
    }
    if file.head == HeadKind::Tied && file.config.hidden >= 4096 {
        file.warnings.push(
            "no output matrix and no classifier in a model this wide: its head may be missing, and then every score is close to 0.5".into(),
        );
    }
    Ok(file)
}

fn text(value: Option<&Value>) -> Option<String> {
    match value {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    }
}

type Pairs = std::collections::HashMap<String, Value>;

fn gguf_config(pairs: &Pairs, vocabulary: usize) -> Result<Config> {
    let int = |key: &str| match pairs.get(&format!("qwen3.{key}")) {
        Some(Value::Int(n)) => {
            usize::try_from(*n).map(Some).map_err(|_| Error::bad_model(format!("qwen3.{key} is {n}")))
        }
        Some(other) => Err(Error::bad_model(format!("qwen3.{key} is {other:?}, expected a number"))),
        None => Ok(None),
    };
    let need = |key: &str| {
        int(key)?.ok_or_else(|| {
            Error::bad_model(format!("metadata key qwen3.{key} is missing"))
                .hint("convert the model again with a current converter")
        })
    };
    let float = |key: &str, default: f32| match pairs.get(&format!("qwen3.{key}")) {
        Some(Value::Float(x)) => *x as f32,
        Some(Value::Int(n)) => *n as f32,
        _ => default,
    };
    if let Some(kind) = text(pairs.get("qwen3.rope.scaling.type")).filter(|k| k != "none") {
        return Err(Error::bad_model(format!("rope scaling {kind:?} is not supported")));
    }
    let heads = need("attention.head_count")?;
    let hidden = need("embedding_length")?;
    let head_dim = match int("attention.key_length")? {
        Some(n) => n,
        None => hidden.checked_div(heads).unwrap_or(0),
    };
    if int("attention.value_length")?.is_some_and(|n| n != head_dim) {
        return Err(Error::bad_model("keys and values of different sizes are not supported"));
    }
    Config {
        hidden,
        intermediate: need("feed_forward_length")?,
        layers: need("block_count")?,
        heads,
        kv_heads: int("attention.head_count_kv")?.unwrap_or(heads),
        head_dim,
        vocabulary,
        rope_theta: float("rope.freq_base", 10_000.0),
        rms_eps: float("attention.layer_norm_rms_epsilon", 1e-6),
        context: int("context_length")?.unwrap_or(32_768),
    }
    .check()
}

/// Takes the tokeniser's arrays out of the metadata.
fn gguf_tokens(pairs: &mut Pairs) -> Result<GgufTokens> {
    let hint = "give the model's tokenizer.json beside the file";
    let kind = text(pairs.get("tokenizer.ggml.model"));
    if kind.as_deref() != Some("gpt2") {
        return Err(Error::bad_model(format!("tokenizer.ggml.model is {kind:?}, expected \"gpt2\"")).hint(hint));
    }
    let pre = text(pairs.get("tokenizer.ggml.pre"));
    if !matches!(pre.as_deref(), Some("qwen2" | "default") | None) {
        return Err(Error::bad_model(format!("tokenizer.ggml.pre is {pre:?}, expected \"qwen2\"")).hint(hint));
    }
    let mut texts = |key: &str| match pairs.remove(key) {
        Some(Value::Texts(texts)) => Ok(texts),
        _ => Err(Error::bad_model(format!("metadata key {key} is missing or no list of texts")).hint(hint)),
    };
    let (tokens, merges) = (texts("tokenizer.ggml.tokens")?, texts("tokenizer.ggml.merges")?);
    let types = match pairs.remove("tokenizer.ggml.token_type") {
        Some(Value::Ints(types)) if types.len() == tokens.len() => types.into_iter().map(|t| t as i32).collect(),
        Some(_) => {
            return Err(
                Error::bad_model("tokenizer.ggml.token_type does not have one number for every token").hint(hint)
            );
        }
        None => return Err(Error::bad_model("metadata key tokenizer.ggml.token_type is missing").hint(hint)),
    };
    Ok(GgufTokens { tokens, types, merges })
}

/// One layer's weights, quantised matrices still quantised.
#[allow(missing_docs)]
pub struct Layer {
    pub attn_norm: Vec<f32>,
    pub q: Matrix,
    pub k: Matrix,
    pub v: Matrix,
    pub q_norm: Vec<f32>,
    pub k_norm: Vec<f32>,
    pub o: Matrix,
    pub ffn_norm: Vec<f32>,
    pub gate: Matrix,
    pub up: Matrix,
    pub down: Matrix,
}

/// Where an executor gets its weights from: resident, or read when needed and dropped.
pub trait Network: MaybeSend {
    /// The shape.
    fn config(&self) -> &Config;
    /// `[tokens, H]` embedding rows of `tokens`, into `out`.
    fn embed<'a>(&'a self, tokens: &'a [u32], out: &'a mut [f32]) -> BoxFuture<'a, Result<()>>;
    /// The weights of layer `i`.
    fn layer(&self, i: usize) -> BoxFuture<'_, Result<Arc<Layer>>>;
    /// `[H]` the last norm.
    fn output_norm(&self) -> &[f32];
    /// The judging rows.
    fn head(&self) -> &Head;
}

/// All weights in memory, in the file's own types.
pub struct Resident {
    config: Config,
    embedding: Matrix,
    layers: Vec<Arc<Layer>>,
    output_norm: Vec<f32>,
    head: Head,
}

impl Resident {
    /// Loads every tensor that scoring needs; `progress(loaded, total)` in bytes after each layer.
    ///
    /// # Errors
    /// `bad-model`, `download` or `aborted` as met.
    pub async fn load(
        file: &ModelFile,
        (no, yes): (u32, u32),
        mut progress: impl FnMut(u64, u64) -> Result<()>,
    ) -> Result<Self> {
        let total = file.index.tensor_bytes();
        let head = file.head(no, yes).await?;
        let output_norm = file.vector(Role::OutputNorm).await?;
        let embedding = file.matrix(Role::Embedding).await?;
        let mut loaded = embedding.bytes() as u64;
        progress(loaded, total)?;
        let mut layers = Vec::new();
        for i in 0..file.config.layers {
            let layer = file.layer(i).await?;
            for m in [&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down] {
                loaded = loaded.saturating_add(m.bytes() as u64);
            }
            layers.push(Arc::new(layer));
            progress(loaded, total)?;
        }
        progress(total, total)?;
        Ok(Self { config: file.config.clone(), embedding, layers, output_norm, head })
    }
}

impl Network for Resident {
    fn config(&self) -> &Config {
        &self.config
    }

    fn embed<'a>(&'a self, tokens: &'a [u32], out: &'a mut [f32]) -> BoxFuture<'a, Result<()>> {
        for (&token, row) in tokens.iter().zip(out.chunks_exact_mut(self.config.hidden)) {
            let token = token as usize;
            if token >= self.config.vocabulary {
                let e = Error::new(
                    ErrorKind::BadInput,
                    format!("token id {token} of a vocabulary of {}", self.config.vocabulary),
                );
                return Box::pin(std::future::ready(Err(e)));
            }
            self.embedding.unpack_rows(token..token.saturating_add(1), row);
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn layer(&self, i: usize) -> BoxFuture<'_, Result<Arc<Layer>>> {
        Box::pin(std::future::ready(Ok(self.layers[i].clone())))
    }

    fn output_norm(&self) -> &[f32] {
        &self.output_norm
    }

    fn head(&self) -> &Head {
        &self.head
    }
}
