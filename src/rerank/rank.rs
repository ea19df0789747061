//! From scores to a ranked reply.

use serde::Serialize;

use super::Scores;

/// How to rank.
#[derive(Clone, Copy, Debug, Default)]
pub struct RankOptions {
    /// The first n only; 0 for all.
    pub top_n: usize,
    /// Only results of at least this score (or logit, with `raw`).
    pub threshold: Option<f32>,
    /// Report yes - no instead of the probability.
    pub raw: bool,
}

/// A ranked document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// Its place in the request.
    pub index: usize,
    /// Probability of relevance, or the logit difference for raw scores.
    pub relevance_score: f32,
}

/// Sorts by score, the best first, equal ones in the request's order.
pub fn rank(scores: &Scores, options: &RankOptions) -> Vec<Ranked> {
    let mut order: Vec<(usize, f32)> = scores.scored.iter().map(|s| s.logits.difference).enumerate().collect();
    // By the logits: they still differ where the probabilities have rounded to 1. A stable sort keeps ties in place.
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    let top = if options.top_n == 0 { order.len() } else { options.top_n };
    order
        .into_iter()
        .map(|(index, _)| Ranked { index, relevance_score: scores.scored[index].logits.reported(options.raw) })
        .filter(|r| options.threshold.is_none_or(|t| r.relevance_score >= t))
        .take(top)
        .collect()
}

/// The canonical reply, as the command line prints it and servers send it.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Reply {
    pub id: String,
    pub object: &'static str,
    pub model: String,
    pub results: Vec<ReplyResult>,
    /// The same list under the name that other clients read.
    pub data: Vec<ReplyResult>,
    pub usage: Usage,
    pub meta: Meta,
}

/// One line of a reply.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct ReplyResult {
    pub index: usize,
    pub relevance_score: f32,
    /// yes - no.
    pub logit: f32,
    /// Of the document's prompt.
    pub tokens: usize,
    /// True when the document's end was cut to keep within the maximum length.
    pub truncated: bool,
    /// The document's own name, where its input gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<ReplyDocument>,
}

/// A returned document, in an object or, for some clients, as it is.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
#[allow(missing_docs)]
pub enum ReplyDocument {
    Nested { text: String },
    Plain(String),
}

/// Token counts.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Usage {
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
    pub total_tokens: usize,
}

/// What some clients insist on.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Meta {
    pub api_version: Version,
    pub billed_units: Billed,
    pub tokens: MetaTokens,
}

/// The API's version.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Version {
    pub version: &'static str,
}

/// Search units: one for every hundred documents begun, as hosted rerankers count them.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Billed {
    pub search_units: usize,
}

/// Token counts again.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct MetaTokens {
    pub input_tokens: usize,
    pub output_tokens: usize,
}

impl Usage {
    /// Of so many tokens read.
    pub fn of(tokens: usize) -> Self {
        Self { prompt_tokens: tokens, completion_tokens: 0, total_tokens: tokens }
    }
}

impl Reply {
    /// Of these lines, where `documents` were scored, whose prompts have so many `tokens` together.
    pub fn new(id: String, model: &str, results: Vec<ReplyResult>, documents: usize, tokens: usize) -> Self {
        Self {
            id,
            object: "list",
            model: model.to_owned(),
            data: results.clone(),
            results,
            usage: Usage::of(tokens),
            meta: Meta {
                api_version: Version { version: "2" },
                billed_units: Billed { search_units: documents.div_ceil(100) },
                tokens: MetaTokens { input_tokens: tokens, output_tokens: 0 },
            },
        }
    }
}

/// Builds the canonical reply; `documents` gives the texts to return, if any.
pub fn reply(id: String, model: &str, scores: &Scores, ranked: &[Ranked], documents: Option<&[&str]>) -> Reply {
    let line = |r: &Ranked| {
        let scored = &scores.scored[r.index];
        ReplyResult {
            index: r.index,
            relevance_score: r.relevance_score,
            logit: scored.logits.difference,
            tokens: scored.tokens,
            truncated: scored.truncated,
            id: None,
            document: documents.map(|d| ReplyDocument::Nested { text: d[r.index].to_owned() }),
        }
    };
    Reply::new(id, model, ranked.iter().map(line).collect(), scores.scored.len(), scores.prompt_tokens())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Logits, rerank::Scored};

    fn scores(differences: &[f32]) -> Scores {
        let scored = differences
            .iter()
            .map(|&difference| Scored { logits: Logits { difference, pair: None }, tokens: 10, truncated: false })
            .collect();
        Scores { scored, ..Scores::default() }
    }

    fn order(options: RankOptions, differences: &[f32]) -> Vec<usize> {
        rank(&scores(differences), &options).iter().map(|r| r.index).collect()
    }

    #[test]
    fn ties_keep_their_order_and_saturated_scores_are_told_apart() {
        assert_eq!(order(RankOptions::default(), &[1.0, 30.0, 1.0, 40.0, -1.0]), [3, 1, 0, 2, 4]);
    }

    #[test]
    fn top_and_threshold_cut() {
        let d = [3.0, -2.0, 0.5, 1.0];
        assert_eq!(order(RankOptions { top_n: 2, ..RankOptions::default() }, &d), [0, 3]);
        assert_eq!(order(RankOptions { threshold: Some(0.5), ..RankOptions::default() }, &d), [0, 3, 2]);
        assert_eq!(order(RankOptions { threshold: Some(1.0), raw: true, top_n: 0 }, &d), [0, 3]);
    }

    #[test]
    fn the_reply_has_what_clients_read() {
        let scores = scores(&[0.0, 1.0]);
        let ranked = rank(&scores, &RankOptions::default());
        let json = serde_json::to_value(reply("x".into(), "mini", &scores, &ranked, Some(&["a", "b"]))).unwrap();
        assert_eq!(json["results"][0]["document"]["text"], "b");
        assert_eq!(json["results"][0]["tokens"], 10);
        assert_eq!(json["data"], json["results"]);
        assert_eq!((&json["usage"]["completion_tokens"], &json["usage"]["prompt_tokens"]), (&0.into(), &20.into()));
        assert_eq!(json["meta"]["billed_units"]["search_units"], 1);
    }
}
