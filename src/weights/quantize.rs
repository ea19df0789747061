//! Any model we load, written as one GGUF file with quantised matrices, its tokeniser and its classifier inside.

use std::io::Write;

use candle_core::{Device, Tensor, quantized::QTensor};
use half::{bf16, f16};

use super::{
    DType, ModelFile,
    matrix::Matrix,
    writer::{self, Entry, Planned},
};
use crate::{
    error::{Error, ErrorKind, Place, Result},
    model::{DEFAULT_INSTRUCTION, Head, LayerRole, Role, Template},
    text::GgufTokens,
};

/// Which types a file's matrices get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuantType {
    /// Most matrices.
    main: DType,
    /// The embedding matrix.
    embedding: DType,
    /// Some value and down projections, where errors cost most (llama.cpp's "M" mixture).
    some: DType,
    /// `general.file_type`, by llama.cpp's numbering.
    number: u32,
}

/// The types by the names users write.
const NAMES: [(&str, DType, DType, DType, u32); 14] = [
    ("f32", DType::F32, DType::F32, DType::F32, 0),
    ("f16", DType::F16, DType::F16, DType::F16, 1),
    ("bf16", DType::BF16, DType::BF16, DType::BF16, 32),
    ("q8_0", DType::Q8_0, DType::Q8_0, DType::Q8_0, 7),
    ("q4_0", DType::Q4_0, DType::Q6K, DType::Q4_0, 2),
    ("q4_1", DType::Q4_1, DType::Q6K, DType::Q4_1, 3),
    ("q5_0", DType::Q5_0, DType::Q6K, DType::Q5_0, 8),
    ("q5_1", DType::Q5_1, DType::Q6K, DType::Q5_1, 9),
    ("q2_k", DType::Q2K, DType::Q6K, DType::Q3K, 10),
    ("q3_k", DType::Q3K, DType::Q6K, DType::Q4K, 12),
    ("q4_k", DType::Q4K, DType::Q6K, DType::Q6K, 15),
    ("q4_k_m", DType::Q4K, DType::Q6K, DType::Q6K, 15),
    ("q5_k", DType::Q5K, DType::Q6K, DType::Q6K, 17),
    ("q6_k", DType::Q6K, DType::Q6K, DType::Q6K, 18),
];

impl std::str::FromStr for QuantType {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let lower = name.to_ascii_lowercase();
        let known = NAMES.iter().find(|n| n.0 == lower);
        known.map(|&(_, main, embedding, some, number)| Self { main, embedding, some, number }).ok_or_else(|| {
            let names: Vec<_> = NAMES.iter().map(|n| n.0).collect();
            Error::bad_input(format!("type {name:?} is unknown")).hint(format!("use one of {}", names.join(", ")))
        })
    }
}

impl QuantType {
    /// The same with the embedding matrix as `other` has most matrices.
    pub fn with_embedding(self, other: Self) -> Self {
        Self { embedding: other.main, ..self }
    }

    /// The type of one tensor; norms stay f32, and rows that a block type does not divide get the next one that fits.
    fn of(self, role: Role, columns: usize, layers: usize) -> DType {
        let wanted = match role {
            _ if role.is_vector() => return DType::F32,
            Role::Embedding | Role::Output => self.embedding,
            Role::Layer(i, LayerRole::V | LayerRole::Down) if more_bits(i, layers) => self.some,
            _ => self.main,
        };
        [wanted, DType::Q8_0, DType::F16].into_iter().find(|d| d.row_bytes(columns).is_some()).unwrap_or(DType::F16)
    }
}

/// The layers whose value and down projections get more bits in llama.cpp's "M" mixtures: the first and last eighth, and every third.
fn more_bits(i: usize, layers: usize) -> bool {
    let eighth = layers / 8;
    i < eighth || i >= layers.saturating_sub(eighth) || i.saturating_sub(eighth) % 3 == 2
}

/// Writes `file` to `out` with its matrices as `kind`; `progress(done, total)` counts tensors.
///
/// # Errors
/// `bad-model` for what cannot be carried over, `download` where writing fails.
pub async fn quantize(
    file: &ModelFile,
    name: &str,
    kind: QuantType,
    out: &mut impl Write,
    mut progress: impl FnMut(usize, usize) -> Result<()>,
) -> Result<()> {
    let tokenizer = file.tokenizer()?;
    let mut arrays = file.tokens()?.into_owned();
    arrays.pad(file.config.vocabulary);
    let (no, yes) = tokenizer.answers();
    let classifier = match file.head(no, yes).await? {
        Head::Two { no, yes } => [yes, no].concat(),
        Head::One(row) => row,
    };
    let c = &file.config;
    let roles: Vec<Role> = Role::required(c).collect();
    let mut planned = Vec::new();
    for &role in &roles {
        let [rows, columns] = role.shape(c).expect("required tensors have one shape");
        let dtype = kind.of(role, columns, c.layers);
        let shape = if role.is_vector() { vec![columns] } else { vec![rows, columns] };
        planned.push(plan(role.gguf(), shape, dtype)?);
    }
    let rows = classifier.len().checked_div(c.hidden).unwrap_or(0);
    planned.push(plan(Role::Classifier.gguf(), vec![rows, c.hidden], DType::F32)?);

    let total = planned.len();
    let failed = |e: std::io::Error| Error::new(ErrorKind::Download, format!("cannot write the file: {e}"));
    let template = rerank_template();
    writer::header(out, &metadata(file, name, kind, &arrays, rows, &template), &planned).map_err(failed)?;
    for (done, (&role, tensor)) in roles.iter().zip(&planned).enumerate() {
        progress(done, total)?;
        let matrix = file.matrix(role).await?;
        let bytes = convert(&matrix, tensor.dtype).at(|| format!("tensor {}", tensor.name))?;
        out.write_all(&bytes).map_err(failed)?;
        out.write_all(&vec![0; writer::padding(tensor.bytes)]).map_err(failed)?;
    }
    let bytes: Vec<u8> = classifier.iter().flat_map(|v| v.to_le_bytes()).collect();
    out.write_all(&bytes).map_err(failed)?;
    out.write_all(&vec![0; writer::padding(bytes.len() as u64)]).map_err(failed)?;
    out.flush().map_err(failed)?;
    progress(total, total)
}

fn plan(name: String, shape: Vec<usize>, dtype: DType) -> Result<Planned> {
    let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let bytes = elements
        .and_then(|n| dtype.row_bytes(n))
        .ok_or_else(|| Error::bad_model(format!("{name} does not fit {}", dtype.name())))?;
    Ok(Planned { name, shape, dtype, bytes: bytes as u64 })
}

/// Rows converted at a time: enough for every core, few enough to stay small.
const ROWS: usize = 512;

fn convert(matrix: &Matrix, to: DType) -> Result<Vec<u8>> {
    let piece = |start: usize| {
        let end = matrix.rows().min(start.saturating_add(ROWS));
        let mut values = vec![0.0; end.saturating_sub(start).saturating_mul(matrix.columns())];
        matrix.unpack_rows(start..end, &mut values);
        pack(values, matrix.columns(), to)
    };
    let starts: Vec<usize> = (0..matrix.rows()).step_by(ROWS).collect();
    #[cfg(feature = "threads")]
    let pieces: Result<Vec<Vec<u8>>> = {
        use rayon::prelude::*;
        starts.into_par_iter().map(piece).collect()
    };
    #[cfg(not(feature = "threads"))]
    let pieces: Result<Vec<Vec<u8>>> = starts.into_iter().map(piece).collect();
    Ok(pieces?.concat())
}

fn pack(values: Vec<f32>, columns: usize, to: DType) -> Result<Vec<u8>> {
    Ok(match to {
        DType::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DType::F16 => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
        DType::BF16 => values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
        _ => {
            let packed = || -> candle_core::Result<Vec<u8>> {
                let rows = values.len().checked_div(columns).unwrap_or(0);
                let tensor = Tensor::from_vec(values, (rows, columns), &Device::Cpu)?;
                Ok(QTensor::quantize(&tensor, to.candle())?.data()?.into_owned())
            };
            packed().map_err(|e| Error::bad_model(format!("cannot be quantised to {}: {e}", to.name())))?
        }
    })
}

/// The prompt with places for query and document, by which llama.cpp's rerank endpoint builds the same prompts.
fn rerank_template() -> String {
    let text = Template::Card.build(DEFAULT_INSTRUCTION, "{query}", "{document}");
    format!("{}{}{}", text.prefix, text.body, text.suffix)
}

fn metadata<'a>(
    file: &'a ModelFile,
    name: &'a str,
    kind: QuantType,
    tokens: &'a GgufTokens,
    classes: usize,
    template: &'a str,
) -> Vec<(String, Entry<'a>)> {
    let c = &file.config;
    let number = |n: usize| Entry::U32(u32::try_from(n).unwrap_or(u32::MAX));
    let id = |text: &str| tokens.tokens.iter().position(|t| t == text).map(number);
    let mut pairs = vec![
        ("general.architecture", Entry::Text("qwen3")),
        ("general.type", Entry::Text("model")),
        ("general.name", Entry::Text(name)),
        ("general.file_type", Entry::U32(kind.number)),
        ("general.quantization_version", Entry::U32(2)),
        ("qwen3.block_count", number(c.layers)),
        ("qwen3.context_length", number(c.context)),
        ("qwen3.embedding_length", number(c.hidden)),
        ("qwen3.feed_forward_length", number(c.intermediate)),
        ("qwen3.attention.head_count", number(c.heads)),
        ("qwen3.attention.head_count_kv", number(c.kv_heads)),
        ("qwen3.attention.key_length", number(c.head_dim)),
        ("qwen3.attention.value_length", number(c.head_dim)),
        ("qwen3.attention.layer_norm_rms_epsilon", Entry::F32(c.rms_eps)),
        ("qwen3.rope.freq_base", Entry::F32(c.rope_theta)),
        ("qwen3.pooling_type", Entry::U32(4)),
        ("qwen3.classifier.output_labels", Entry::Texts(if classes == 2 { vec!["yes", "no"] } else { vec!["yes"] })),
        ("tokenizer.ggml.model", Entry::Text("gpt2")),
        ("tokenizer.ggml.pre", Entry::Text("qwen2")),
        ("tokenizer.ggml.tokens", Entry::Texts(tokens.tokens.iter().map(String::as_str).collect())),
        ("tokenizer.ggml.token_type", Entry::Ints(tokens.types.clone())),
        ("tokenizer.ggml.merges", Entry::Texts(tokens.merges.iter().map(String::as_str).collect())),
        ("tokenizer.ggml.add_bos_token", Entry::Bool(false)),
        ("tokenizer.chat_template.rerank", Entry::Text(template)),
    ];
    if tokens.lowercase {
        pairs.push(("tokenizer.ggml.normalizer.lowercase", Entry::Bool(true)));
        // Some readers take it to follow the former.
        pairs.push(("tokenizer.ggml.normalizer.strip_accents", Entry::Bool(false)));
    }
    pairs.extend(id("<|im_end|>").map(|n| ("tokenizer.ggml.eos_token_id", n)));
    pairs.extend(id("<|endoftext|>").map(|n| ("tokenizer.ggml.padding_token_id", n)));
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
