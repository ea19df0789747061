//! The shape of a model, checked once.

use crate::error::{Error, Result};

/// The hyperparameters of a Qwen3 network. Every one comes from the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// H: width of the residual stream.
    pub hidden: usize,
    /// F: width of the feed-forward layer.
    pub intermediate: usize,
    /// L: number of layers.
    pub layers: usize,
    /// Number of query heads.
    pub heads: usize,
    /// Number of key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// D: size of one head; even.
    pub head_dim: usize,
    /// V: rows of the embedding matrix, padding included.
    pub vocabulary: usize,
    /// Base of the rotary position embedding.
    pub rope_theta: f32,
    /// Added to the mean square in every RMSNorm.
    pub rms_eps: f32,
    /// The largest number of positions the model was made for.
    pub context: usize,
}

/// Sizes beyond these are taken for damage, not for a model.
const LIMITS: [(&str, usize); 8] = [
    ("hidden_size", 1 << 16),
    ("intermediate_size", 1 << 18),
    ("num_hidden_layers", 1 << 10),
    ("num_attention_heads", 1 << 10),
    ("num_key_value_heads", 1 << 10),
    ("head_dim", 1 << 10),
    ("vocab_size", 1 << 22),
    ("max_position_embeddings", 1 << 24),
];

impl Config {
    /// Width of all query heads together: `heads * head_dim`, which need not equal `hidden`.
    pub fn q_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key (or value) heads together.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// The number of weights outside the embedding and output matrices.
    pub fn layer_parameters(&self) -> u64 {
        let (h, f, q, kv, d) = (
            self.hidden as u64,
            self.intermediate as u64,
            self.q_width() as u64,
            self.kv_width() as u64,
            self.head_dim as u64,
        );
        self.layers as u64 * (h * (2 * q + 2 * kv) + 3 * h * f + 2 * h + 2 * d) + h
    }

    /// Refuses shapes that no kernel could run.
    ///
    /// # Errors
    /// `bad-model`, naming the field and the value.
    pub fn check(self) -> Result<Self> {
        let values = [
            self.hidden,
            self.intermediate,
            self.layers,
            self.heads,
            self.kv_heads,
            self.head_dim,
            self.vocabulary,
            self.context,
        ];
        for ((name, limit), value) in LIMITS.into_iter().zip(values) {
            if value == 0 || value > limit {
                return Err(Error::bad_model(format!("{name} is {value}, expected 1 to {limit}")));
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(Error::bad_model(format!(
                "{} query heads cannot share {} key/value heads evenly",
                self.heads, self.kv_heads
            )));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(Error::bad_model(format!("head_dim is {}, rotary positions need an even one", self.head_dim)));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta >= 1.0) {
            return Err(Error::bad_model(format!(
                "rope theta is {}, expected a number of at least 1",
                self.rope_theta
            )));
        }
        if !(self.rms_eps.is_finite() && self.rms_eps >= 0.0) {
            return Err(Error::bad_model(format!("RMSNorm epsilon is {}, expected a number from 0", self.rms_eps)));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Config {
        Config {
            hidden: 1024,
            intermediate: 3072,
            layers: 28,
            heads: 16,
            kv_heads: 8,
            head_dim: 128,
            vocabulary: 151_669,
            rope_theta: 1e6,
            rms_eps: 1e-6,
            context: 40_960,
        }
    }

    #[test]
    fn counts_the_parameters_of_the_published_size() {
        let c = shape().check().unwrap();
        assert_eq!(c.layer_parameters() + (c.vocabulary * c.hidden) as u64, 595_776_512);
    }

    #[test]
    fn refuses_each_impossible_shape() {
        let bad: [fn(&mut Config); 6] = [
            |c| c.hidden = 0,
            |c| c.layers = 1 << 20,
            |c| c.kv_heads = 3,
            |c| c.head_dim = 127,
            |c| c.rope_theta = f32::NAN,
            |c| c.rms_eps = -1.0,
        ];
        for change in bad {
            let mut c = shape();
            change(&mut c);
            assert_eq!(c.check().unwrap_err().code(), "bad-model");
        }
    }
}
