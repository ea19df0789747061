//! The two ways to open a model: a GGUF file, or the files of a checkpoint.

use bytes::Bytes;

use super::{
    Index, checkpoint,
    gguf::{self, Value},
    index::Naming,
    model::{Format, LONGEST_JSON, ModelFile, TokenizerFile},
    safetensors,
    source::SourceFile,
};
use crate::{
    error::{Error, Place, Result},
    model::{Config, HeadKind, Role},
    text::GgufTokens,
};

/// Opens the files of a checkpoint.
pub(super) async fn checkpoint(config: &[u8], json: Option<Bytes>, files: Vec<SourceFile>) -> Result<ModelFile> {
    let settings = checkpoint::parse(config).at(|| "config.json".into())?;
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

/// Opens a GGUF file.
pub(super) async fn gguf(file: SourceFile, json: Option<Bytes>) -> Result<ModelFile> {
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
    let mut warnings = Vec::new();
    if json.is_none() && !pairs.contains_key("tokenizer.ggml.pre") {
        warnings.push("tokenizer.ggml.pre is missing; the pre-tokeniser is taken to be qwen2".to_owned());
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
        warnings,
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
    if let Some(Value::Int(parts @ 2..)) = pairs.get("split.count") {
        return Err(Error::bad_model(format!("one of {parts} parts of a split model"))
            .hint("join the parts with llama.cpp's gguf-split, or take a file that is whole"));
    }
    let heads = need("attention.head_count")?;
    let hidden = need("embedding_length")?;
    let head_dim = match int("attention.key_length")? {
        Some(n) => n,
        None => hidden.checked_div(heads).unwrap_or(0),
    };
    if let Some(n) = int("rope.dimension_count")?.filter(|&n| n != head_dim) {
        return Err(Error::bad_model(format!(
            "rotary positions over {n} of {head_dim} elements of a head are not supported"
        )));
    }
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
    if !matches!(pre.as_deref(), Some("qwen2") | None) {
        return Err(Error::bad_model(format!("tokenizer.ggml.pre is {pre:?}, expected \"qwen2\"")).hint(hint));
    }
    let mut texts = |key: &str| match pairs.remove(key) {
        Some(Value::Texts(texts)) => Ok(texts),
        _ => Err(Error::bad_model(format!("metadata key {key} is missing or no list of texts")).hint(hint)),
    };
    let (tokens, merges) = (texts("tokenizer.ggml.tokens")?, texts("tokenizer.ggml.merges")?);
    let types = match pairs.remove("tokenizer.ggml.token_type") {
        Some(Value::Ints(types)) if types.len() == tokens.len() => types,
        Some(_) => {
            return Err(
                Error::bad_model("tokenizer.ggml.token_type does not have one number for every token").hint(hint)
            );
        }
        None => return Err(Error::bad_model("metadata key tokenizer.ggml.token_type is missing").hint(hint)),
    };
    // Marks stay where nothing is said of them.
    let set = |key: &str| match pairs.get(key) {
        None => Ok(false),
        Some(&Value::Bool(set)) => Ok(set),
        other => Err(Error::bad_model(format!("{key} is {other:?}, expected true or false")).hint(hint)),
    };
    if set("tokenizer.ggml.normalizer.strip_accents")? {
        return Err(
            Error::bad_model("tokenizer.ggml.normalizer.strip_accents is set, which is not supported").hint(hint)
        );
    }
    let lowercase = set("tokenizer.ggml.normalizer.lowercase")?;
    Ok(GgufTokens { tokens, types, merges, lowercase })
}
