//! How good a ranking is: the usual measures of retrieval, with graded labels, and intervals for their means.
//!
//! A ranking is the list of its documents' labels, the best first. With `l(i)` the label at rank `i` (from 1), `rel(i)` = 1 where
//! `l(i) >= relevant_from` and else 0, and `R` the number of all relevant documents that were judged, ranked or not:
//!
//! | name | value for one query |
//! |---|---|
//! | `ndcg@k` | `DCG@k / ideal DCG@k`, `DCG@k` = sum over `i <= k` of `gain(l(i)) / log2(i + 1)`; the ideal sorts all judged labels |
//! | `map@k` | `1/R` x sum over `i <= k` of `rel(i)` x (relevant ones among the first `i`) `/ i` |
//! | `mrr@k` | `1 / i` of the first relevant one with `i <= k`, else 0 |
//! | `recall@k` | (relevant ones among the first `k`) `/ R` |
//! | `precision@k` | (relevant ones among the first `k`) `/ k`, even where fewer were ranked |
//!
//! Without `@k` the whole ranking counts. `gain(l)` is `2^l - 1` (Burges et al., "Learning to rank using gradient descent", 2005) or `l` itself
//! (Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", 2002); for labels 0 and 1 they are the same. The average
//! precision of a cut list is divided by all of `R`, as trec_eval's `map_cut_k` is. A query without a relevant document counts 0 everywhere.

mod bootstrap;

use std::{fmt, num::NonZeroUsize, str::FromStr};

pub use bootstrap::{Bootstrap, Estimate, mean_of_sets};

use crate::error::Error;

/// The largest label that exponential gain takes: far above any real scale, and its gain is exact.
pub const HIGHEST_EXPONENTIAL_LABEL: u32 = 50;

/// What a label is worth to nDCG.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gain {
    /// 2^label - 1.
    #[default]
    Exponential,
    /// The label.
    Linear,
}

impl Gain {
    fn of(self, label: u32) -> f64 {
        match self {
            Self::Exponential => f64::from(label).exp2() - 1.0,
            Self::Linear => f64::from(label),
        }
    }
}

/// How labels are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judging {
    /// What labels are worth to nDCG.
    pub gain: Gain,
    /// The lowest label that is relevant to the measures that know two kinds only.
    pub relevant_from: u32,
}

impl Default for Judging {
    fn default() -> Self {
        Self { gain: Gain::default(), relevant_from: 1 }
    }
}

impl Judging {
    /// Whether a document with this label is relevant.
    pub fn relevant(&self, label: u32) -> bool {
        label >= self.relevant_from
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Measure {
    Ndcg,
    Map,
    Mrr,
    Recall,
    Precision,
}

/// A measure of the first documents of a ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// What is measured.
    pub measure: Measure,
    /// How many documents from the top count; all without.
    pub cutoff: Option<NonZeroUsize>,
}

impl Metric {
    /// The value for one query: `ranked` are the labels in the ranking's order, `judged` those of all judged documents, ranked or not, in any order.
    pub fn of(&self, ranked: &[u32], judged: &[u32], judging: Judging) -> f64 {
        let cutoff = self.cutoff.map_or(usize::MAX, NonZeroUsize::get);
        let top = &ranked[..cutoff.min(ranked.len())];
        let relevant = |labels: &[u32]| labels.iter().filter(|l| judging.relevant(**l)).count() as f64;
        match self.measure {
            Measure::Ndcg => {
                let mut ideal = judged.to_vec();
                ideal.sort_unstable_by(|a, b| b.cmp(a));
                share(dcg(top, judging.gain), dcg(&ideal[..cutoff.min(ideal.len())], judging.gain))
            }
            Measure::Map => share(precisions(top, judging), relevant(judged)),
            Measure::Mrr => top.iter().position(|l| judging.relevant(*l)).map_or(0.0, |i| 1.0 / (i + 1) as f64),
            Measure::Recall => share(relevant(top), relevant(judged)),
            Measure::Precision => share(relevant(top), self.cutoff.map_or(ranked.len(), NonZeroUsize::get) as f64),
        }
    }
}

/// A part of a whole; 0 of nothing.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn dcg(labels: &[u32], gain: Gain) -> f64 {
    labels.iter().enumerate().map(|(i, label)| gain.of(*label) / ((i + 2) as f64).log2()).sum()
}

/// The sum of the precisions at each relevant document.
fn precisions(top: &[u32], judging: Judging) -> f64 {
    let relevant = top.iter().enumerate().filter(|(_, label)| judging.relevant(**label));
    relevant.enumerate().map(|(before, (i, _))| (before + 1) as f64 / (i + 1) as f64).sum()
}

impl Measure {
    /// The names that are read, the one that is written first.
    const NAMES: [(Self, &[&str]); 5] = [
        (Self::Ndcg, &["ndcg"]),
        (Self::Map, &["map", "ap"]),
        (Self::Mrr, &["mrr", "rr"]),
        (Self::Recall, &["recall", "r"]),
        (Self::Precision, &["precision", "p"]),
    ];

    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(measure, _)| *measure == self).map_or("", |(_, names)| names[0])
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.measure.name())?;
        self.cutoff.map_or(Ok(()), |k| write!(f, "@{k}"))
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |what: String| {
            Error::bad_input(what).hint("write for instance ndcg@10, map@10, mrr@10, recall@100, precision@5")
        };
        let lower = text.trim().to_lowercase();
        let (name, cutoff) = match lower.split_once('@') {
            Some((name, k)) => (name, Some(k)),
            None => (lower.as_str(), None),
        };
        let found = Measure::NAMES.iter().find(|(_, names)| names.contains(&name));
        let (measure, _) = found.ok_or_else(|| refuse(format!("no metric is called {name:?}")))?;
        let cutoff = cutoff.map(|k| k.parse().map_err(|_| refuse(format!("{k:?} is no number of documents from 1"))));
        Ok(Self { measure: *measure, cutoff: cutoff.transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(metric: &str, ranked: &[u32], judged: &[u32], judging: Judging) -> f64 {
        metric.parse::<Metric>().unwrap().of(ranked, judged, judging)
    }

    #[track_caller]
    fn near(got: f64, wanted: f64) {
        assert!((got - wanted).abs() < 1e-12, "{got}, expected {wanted}");
    }

    #[test]
    fn worked_by_hand() {
        // Ranks 1 to 5 have the labels 0, 2, 0, 1, 3; one relevant document (label 1) was not ranked.
        let (ranked, judged) = ([0, 2, 0, 1, 3], [1, 0, 2, 0, 1, 3]);
        let of = |metric| value(metric, &ranked, &judged, Judging::default());
        let log = |x: f64| x.log2();
        let dcg = 3.0 / log(3.0) + 1.0 / log(5.0) + 7.0 / log(6.0);
        let ideal = 7.0 + 3.0 / log(3.0) + 1.0 / log(4.0) + 1.0 / log(5.0);
        near(of("ndcg"), dcg / ideal);
        near(of("ndcg@2"), (3.0 / log(3.0)) / (7.0 + 3.0 / log(3.0)));
        near(of("map"), (1.0 / 2.0 + 2.0 / 4.0 + 3.0 / 5.0) / 4.0);
        near(of("map@4"), (1.0 / 2.0 + 2.0 / 4.0) / 4.0);
        near(of("mrr@10"), 0.5);
        near(of("mrr@1"), 0.0);
        near(of("recall@4"), 0.5);
        near(of("precision@4"), 0.5);
        near(of("precision@10"), 0.3);
        near(of("precision"), 0.6);
        let linear = Judging { gain: Gain::Linear, relevant_from: 2 };
        near(
            value("ndcg@5", &ranked, &judged, linear),
            (2.0 / log(3.0) + 1.0 / log(5.0) + 3.0 / log(6.0)) / (3.0 + 2.0 / log(3.0) + 1.0 / 2.0 + 1.0 / log(5.0)),
        );
        near(value("map", &ranked, &judged, linear), (1.0 / 2.0 + 2.0 / 5.0) / 2.0);
        near(value("recall@2", &ranked, &judged, linear), 0.5);
    }

    #[test]
    fn the_ends_of_the_scale() {
        for metric in ["ndcg@10", "map@10", "mrr@10", "recall@10"] {
            near(value(metric, &[3, 2, 1, 0, 0], &[0, 1, 0, 2, 3], Judging::default()), 1.0);
            near(value(metric, &[0, 0], &[0, 0, 3], Judging::default()), 0.0);
            // Nothing relevant, nothing ranked, nothing at all.
            near(value(metric, &[0, 0], &[0, 0], Judging::default()), 0.0);
            near(value(metric, &[], &[1], Judging::default()), 0.0);
            near(value(metric, &[], &[], Judging::default()), 0.0);
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["ndcg@10", "map", "mrr@3", "recall@100", "precision@5"] {
            assert_eq!(name.parse::<Metric>().unwrap().to_string(), name);
        }
        assert_eq!(" nDCG@10 ".parse::<Metric>().unwrap().to_string(), "ndcg@10");
        assert_eq!("P@5".parse::<Metric>().unwrap().to_string(), "precision@5");
        for (bad, word) in
            [("dcg@10", "\"dcg\""), ("ndcg@0", "\"0\""), ("ndcg@", "\"\""), ("", "\"\""), ("map@-1", "\"-1\"")]
        {
            let e = bad.parse::<Metric>().unwrap_err().to_string();
            assert!(e.contains(word) && e.contains("ndcg@10"), "{bad}: {e}");
        }
    }
}
