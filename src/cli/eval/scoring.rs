//! A model scores every candidate of every query.

use std::time::Instant;

use futures::executor::block_on;

use super::{
    super::{
        Common, interrupt, model,
        progress::{Progress, Unit, note},
    },
    sets::{Query, Set},
};
use crate::{
    error::{Place, Result},
    rerank::{Request, Reranker},
};

/// What a model gave, and what it took.
pub(super) struct Scored {
    pub(super) model: String,
    pub(super) device: String,
    pub(super) load_ms: f64,
    pub(super) score_ms: f64,
    pub(super) documents: usize,
    pub(super) prompt_tokens: usize,
    pub(super) truncated: usize,
    /// Logit differences by set, query and candidate: they still differ where probabilities have rounded to 1.
    pub(super) scores: Vec<Vec<Vec<f32>>>,
}

/// Scores all sets; `on_query` hears of each query's scores as soon as they are known.
pub(super) fn score(
    common: &Common,
    sets: &[Set],
    mut on_query: impl FnMut(&Query, &[f32]) -> Result<()>,
) -> Result<Scored> {
    let started = Instant::now();
    let reranker = model::load(common)?;
    let load_ms = milliseconds(started);
    let started = Instant::now();
    let total: usize = sets.iter().flat_map(|s| &s.queries).map(|q| q.candidates.len()).sum();
    let bar = Progress::new(
        !common.quiet,
        Unit::Documents,
        format!("Scoring with {}", reranker.info().name),
        Some(total as u64),
    );
    let mut scored = Scored {
        model: reranker.info().name.clone(),
        device: reranker.info().device.clone(),
        load_ms,
        score_ms: 0.0,
        documents: total,
        prompt_tokens: 0,
        truncated: 0,
        scores: Vec::new(),
    };
    let mut done = 0;
    let mut warned = Vec::new();
    for set in sets {
        let mut of_set = Vec::new();
        for query in &set.queries {
            let scores = of_query(common, &reranker, query, &mut scored, &mut warned, |n| bar.set(done + n as u64));
            let scores = scores.at(|| format!("{}:{}", set.path, query.line))?;
            done += scores.len() as u64;
            on_query(query, &scores)?;
            of_set.push(scores);
        }
        scored.scores.push(of_set);
    }
    drop(bar);
    scored.score_ms = milliseconds(started);
    if scored.truncated > 0 {
        let text = format!("{} of {total} documents were cut to the maximum length", scored.truncated);
        note(common.quiet, &text);
    }
    for warning in warned {
        note(common.quiet, &warning);
    }
    Ok(scored)
}

fn of_query(
    common: &Common,
    reranker: &Reranker,
    query: &Query,
    scored: &mut Scored,
    warned: &mut Vec<String>,
    on_score: impl Fn(usize) + Send + Sync,
) -> Result<Vec<f32>> {
    if query.candidates.is_empty() {
        return Ok(Vec::new());
    }
    let options = common.request();
    let request = Request {
        query: &query.text,
        documents: query.candidates.iter().map(|c| &*c.text).collect(),
        instruction: query.instruction.as_deref().or(options.instruction),
        ..options
    };
    let scores =
        interrupt::pausing(|cancel| block_on(reranker.score(&request, cancel, &mut |_, _, done, _| on_score(done))))?;
    scored.prompt_tokens += scores.prompt_tokens();
    scored.truncated += scores.scored.iter().filter(|s| s.truncated).count();
    for warning in scores.warnings {
        // One of each kind: their beginnings name places.
        let kind = |w: &str| w.trim_start_matches(|c: char| c != ' ').to_owned();
        if !warned.iter().any(|w| kind(w) == kind(&warning)) {
            warned.push(warning);
        }
    }
    Ok(scores.scored.iter().map(|s| s.logits.difference).collect())
}

/// The candidates' places, the best score first, equal ones by id.
pub(super) fn order(query: &Query, score: impl Fn(usize) -> f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..query.candidates.len()).collect();
    let score = |i: usize| score(i) + 0.0; // no negative zero
    order.sort_by(|a, b| {
        score(*b).total_cmp(&score(*a)).then_with(|| query.candidates[*a].id.cmp(&query.candidates[*b].id))
    });
    order
}

pub(super) fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
