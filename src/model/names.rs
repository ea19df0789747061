//! The tensors of a Qwen3 network: what each is called in either file format and which shape it must have.

use super::Config;

/// A tensor of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// `[V, H]` token embeddings.
    Embedding,
    /// `[H]` the last RMSNorm.
    OutputNorm,
    /// `[V, H]` the output matrix of an untied model.
    Output,
    /// `[1 or 2, H]` the classifier's rows.
    Classifier,
    /// A tensor of layer `.0`.
    Layer(usize, LayerRole),
}

/// A tensor of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayerRole {
    /// `[H]` RMSNorm before attention.
    AttnNorm,
    /// `[heads * D, H]`
    Q,
    /// `[kv_heads * D, H]`
    K,
    /// `[kv_heads * D, H]`
    V,
    /// `[D]` RMSNorm on every query head.
    QNorm,
    /// `[D]` RMSNorm on every key head.
    KNorm,
    /// `[H, heads * D]`
    O,
    /// `[H]` RMSNorm before the feed-forward layer.
    FfnNorm,
    /// `[F, H]`
    Gate,
    /// `[F, H]`
    Up,
    /// `[H, F]`
    Down,
}

impl LayerRole {
    /// Every tensor of a layer, in the order of use.
    pub const ALL: [Self; 11] = [
        Self::AttnNorm,
        Self::Q,
        Self::K,
        Self::V,
        Self::QNorm,
        Self::KNorm,
        Self::O,
        Self::FfnNorm,
        Self::Gate,
        Self::Up,
        Self::Down,
    ];

    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::AttnNorm => ("attn_norm", "input_layernorm"),
            Self::Q => ("attn_q", "self_attn.q_proj"),
            Self::K => ("attn_k", "self_attn.k_proj"),
            Self::V => ("attn_v", "self_attn.v_proj"),
            Self::QNorm => ("attn_q_norm", "self_attn.q_norm"),
            Self::KNorm => ("attn_k_norm", "self_attn.k_norm"),
            Self::O => ("attn_output", "self_attn.o_proj"),
            Self::FfnNorm => ("ffn_norm", "post_attention_layernorm"),
            Self::Gate => ("ffn_gate", "mlp.gate_proj"),
            Self::Up => ("ffn_up", "mlp.up_proj"),
            Self::Down => ("ffn_down", "mlp.down_proj"),
        }
    }
}

impl Role {
    /// Every tensor that a network of this shape must have, the heads aside.
    pub fn required(config: &Config) -> impl Iterator<Item = Self> + use<> {
        [Self::Embedding, Self::OutputNorm]
            .into_iter()
            .chain((0..config.layers).flat_map(|i| LayerRole::ALL.map(|r| Self::Layer(i, r))))
    }

    /// The name in a GGUF file.
    pub fn gguf(self) -> String {
        match self {
            Self::Embedding => "token_embd.weight".into(),
            Self::OutputNorm => "output_norm.weight".into(),
            Self::Output => "output.weight".into(),
            Self::Classifier => "cls.output.weight".into(),
            Self::Layer(i, r) => format!("blk.{i}.{}.weight", r.names().0),
        }
    }

    /// The name in a Hugging Face checkpoint.
    pub fn checkpoint(self) -> String {
        match self {
            Self::Embedding => "model.embed_tokens.weight".into(),
            Self::OutputNorm => "model.norm.weight".into(),
            Self::Output => "lm_head.weight".into(),
            Self::Classifier => "score.weight".into(),
            Self::Layer(i, r) => format!("model.layers.{i}.{}.weight", r.names().1),
        }
    }

    /// `[rows, columns]`, a vector being one row. `None` for the classifier, whose rows vary.
    pub fn shape(self, c: &Config) -> Option<[usize; 2]> {
        Some(match self {
            Self::Embedding | Self::Output => [c.vocabulary, c.hidden],
            Self::OutputNorm | Self::Layer(_, LayerRole::AttnNorm | LayerRole::FfnNorm) => [1, c.hidden],
            Self::Classifier => return None,
            Self::Layer(_, LayerRole::Q) => [c.q_width(), c.hidden],
            Self::Layer(_, LayerRole::K | LayerRole::V) => [c.kv_width(), c.hidden],
            Self::Layer(_, LayerRole::QNorm | LayerRole::KNorm) => [1, c.head_dim],
            Self::Layer(_, LayerRole::O) => [c.hidden, c.q_width()],
            Self::Layer(_, LayerRole::Gate | LayerRole::Up) => [c.intermediate, c.hidden],
            Self::Layer(_, LayerRole::Down) => [c.hidden, c.intermediate],
        })
    }

    /// True for norms, which are stored and used as vectors of f32.
    pub fn is_vector(self) -> bool {
        matches!(
            self,
            Self::OutputNorm
                | Self::Layer(_, LayerRole::AttnNorm | LayerRole::FfnNorm | LayerRole::QNorm | LayerRole::KNorm)
        )
    }
}
