//! `config.json` of a Hugging Face checkpoint.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    error::{Error, Result},
    model::Config,
};

/// What of `config.json` decides how to compute. Unknown fields are ignored.
#[derive(Deserialize)]
struct Raw {
    model_type: Option<String>,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: usize,
    rms_norm_eps: Option<f32>,
    rope_theta: Option<f32>,
    rope_scaling: Option<Value>,
    /// transformers 5 keeps theta and scaling together here.
    rope_parameters: Option<Value>,
    max_position_embeddings: Option<usize>,
    tie_word_embeddings: Option<bool>,
    hidden_act: Option<String>,
    attention_bias: Option<bool>,
    use_sliding_window: Option<bool>,
    quantization_config: Option<Value>,
    id2label: Option<std::collections::BTreeMap<String, String>>,
}

/// A checkpoint's settings.
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) tied: bool,
    /// For a classifier of two rows: which row says "yes", if its labels tell.
    pub(crate) yes_row: Option<usize>,
}

/// Parses and checks `config.json`.
pub(crate) fn parse(json: &[u8]) -> Result<Settings> {
    let raw: Raw = serde_json::from_slice(json)
        .map_err(|e| Error::bad_model(format!("{e}")).hint("expected the settings of a Qwen3 checkpoint"))?;
    let unsupported = |what: &str, value: String| {
        Err(Error::bad_model(format!("{what} is {value}")).hint("only plain Qwen3 reranker checkpoints are supported"))
    };
    match raw.model_type.as_deref() {
        None | Some("qwen3") => {}
        Some(other) => return unsupported("model_type", format!("{other:?}, expected \"qwen3\"")),
    }
    if raw.hidden_act.as_deref().is_some_and(|a| a != "silu") {
        return unsupported("hidden_act", format!("{:?}, expected \"silu\"", raw.hidden_act));
    }
    if raw.attention_bias == Some(true) {
        return unsupported("attention_bias", "true".into());
    }
    if raw.use_sliding_window == Some(true) {
        return unsupported("use_sliding_window", "true".into());
    }
    if raw.quantization_config.is_some() {
        return unsupported("quantization_config", "set".into());
    }
    let rope = raw.rope_parameters.as_ref();
    for scaling in [raw.rope_scaling.as_ref(), rope].into_iter().flatten() {
        let kind = scaling.get("rope_type").or_else(|| scaling.get("type")).and_then(Value::as_str);
        if kind.is_some_and(|k| k != "default") {
            return unsupported("rope scaling", format!("{kind:?}"));
        }
    }
    let theta = raw.rope_theta.or_else(|| rope?.get("rope_theta")?.as_f64().map(|t| t as f32));
    let config = Config {
        hidden: raw.hidden_size,
        intermediate: raw.intermediate_size,
        layers: raw.num_hidden_layers,
        heads: raw.num_attention_heads,
        kv_heads: raw.num_key_value_heads.unwrap_or(raw.num_attention_heads),
        // The default of transformers' Qwen3Config.
        head_dim: raw.head_dim.unwrap_or(128),
        vocabulary: raw.vocab_size,
        rope_theta: theta.unwrap_or(10_000.0),
        rms_eps: raw.rms_norm_eps.unwrap_or(1e-6),
        context: raw.max_position_embeddings.unwrap_or(32_768),
    }
    .check()?;
    let yes_row = raw.id2label.and_then(|labels| {
        labels.iter().find(|(_, label)| label.eq_ignore_ascii_case("yes")).and_then(|(id, _)| id.parse().ok())
    });
    Ok(Settings { config, tied: raw.tie_word_embeddings.unwrap_or(false), yes_row })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(extra: &str) -> Vec<u8> {
        format!(
            r#"{{"model_type":"qwen3","hidden_size":64,"intermediate_size":96,"num_hidden_layers":2,"num_attention_heads":4,
            "num_key_value_heads":2,"head_dim":16,"vocab_size":300,"tie_word_embeddings":true{extra}}}"#
        )
        .into_bytes()
    }

    #[test]
    fn reads_theta_from_either_place() {
        assert_eq!(parse(&json(r#","rope_theta":5e5"#)).unwrap().config.rope_theta, 5e5);
        let new = r#","rope_parameters":{"rope_type":"default","rope_theta":1000000}"#;
        assert_eq!(parse(&json(new)).unwrap().config.rope_theta, 1e6);
    }

    #[test]
    fn refuses_what_it_would_compute_wrongly() {
        for extra in [
            r#","attention_bias":true"#,
            r#","hidden_act":"gelu""#,
            r#","use_sliding_window":true"#,
            r#","rope_scaling":{"rope_type":"yarn","factor":4.0}"#,
            r#","quantization_config":{"bits":4}"#,
        ] {
            assert_eq!(parse(&json(extra)).err().unwrap().code(), "bad-model", "{extra}");
        }
        assert!(parse(br#"{"model_type":"llama"}"#).is_err());
        assert!(parse(b"[]").is_err());
    }
}
