//! From the last hidden row to a score: two dot products and a sigmoid.
//!
//! `score = softmax([no, yes])[yes] = sigmoid(yes - no)`, the formula of the Qwen3-Reranker model card. Of the whole output
//! matrix only the rows of the tokens `no` and `yes` matter, so only they are kept.

use crate::error::{Error, ErrorKind, Result};

/// Where the head's rows came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadKind {
    /// Rows of the embedding matrix, shared with the output.
    Tied,
    /// Rows of a separate output matrix.
    Output,
    /// A GGUF classifier, `cls.output.weight`.
    Classifier,
    /// A sequence-classification checkpoint, `score.weight`.
    Score,
}

impl HeadKind {
    /// A short stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tied => "tied",
            Self::Output => "output",
            Self::Classifier => "cls",
            Self::Score => "score",
        }
    }
}

/// The rows that judge.
#[derive(Clone, Debug)]
pub enum Head {
    /// `[H]` for "no" and `[H]` for "yes".
    Two {
        /// `[H]`
        no: Vec<f32>,
        /// `[H]`
        yes: Vec<f32>,
    },
    /// `[H]`: yes - no in one row.
    One(Vec<f32>),
}

/// What a head says of one sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logits {
    /// yes - no.
    pub difference: f32,
    /// `(no, yes)`; none for a head of one row.
    pub pair: Option<(f32, f32)>,
}

impl Logits {
    /// The probability of "yes".
    pub fn score(self) -> f32 {
        1.0 / (1.0 + (-self.difference).exp())
    }

    /// What a caller is told: the probability, or yes - no for raw scores.
    pub fn reported(self, raw: bool) -> f32 {
        if raw { self.difference } else { self.score() }
    }
}

/// Sums in f64, so that the order of adding does not matter.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() as f32
}

impl Head {
    /// Judges one hidden row `[H]`.
    ///
    /// # Errors
    /// `bad-model` for a logit that is not finite: a damaged file, which must not become a score.
    pub fn judge(&self, hidden: &[f32]) -> Result<Logits> {
        let logits = match self {
            Self::Two { no, yes } => {
                let (no, yes) = (dot(no, hidden), dot(yes, hidden));
                Logits { difference: yes - no, pair: Some((no, yes)) }
            }
            Self::One(row) => Logits { difference: dot(row, hidden), pair: None },
        };
        if logits.difference.is_finite() {
            return Ok(logits);
        }
        Err(Error::new(ErrorKind::BadModel, "a logit is not a finite number")
            .hint("the model file is damaged or was converted wrongly; download it again or use another quantisation"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn score_is_the_softmax_of_both_logits() {
        let head = Head::Two { no: vec![1.0, 0.0], yes: vec![0.0, 2.0] };
        let l = head.judge(&[0.5, 1.5]).unwrap();
        assert_eq!(l.pair, Some((0.5, 3.0)));
        let softmax = 3f32.exp() / (3f32.exp() + 0.5f32.exp());
        assert!((l.score() - softmax).abs() < 1e-6);
        assert_eq!(Head::One(vec![-1.0, 1.0]).judge(&[0.5, 1.5]).unwrap().difference, 1.0);
    }

    #[test]
    fn a_logit_that_is_no_number_is_refused() {
        assert!(Head::One(vec![f32::NAN]).judge(&[1.0]).is_err());
        assert!(Head::One(vec![f32::INFINITY]).judge(&[1.0]).is_err());
    }
}
