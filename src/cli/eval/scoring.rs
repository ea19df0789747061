//! A model scores every candidate of every query.

use std::time::Instant;

use futures::executor::block_on;

use super::{
    super::{
        Common, interrupt, model,
        progress::{Progress, Unit, kind, note},
    },
    sets::{Query, Set},
};
use crate::{
    error::{Place, Result},
    model::DEFAULT_MAX_LENGTH,
    rerank::{Request, Reranker, tokenize},
    weights::ModelFile,
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
    /// The most tokens of a prompt, as it was in force.
    pub(super) max_length: usize,
    /// Logit differences by set, query and candidate: they still differ where probabilities have rounded to 1.
    pub(super) scores: Vec<Vec<Vec<f32>>>,
}

/// Checks that every query leaves room for a document. The model's weights are not read.
pub(super) fn check(common: &Common, found: model::Found, sets: &[Set]) -> Result<()> {
    let place = found.place;
    let file = block_on(ModelFile::open(found.files)).map_err(|e| place.name(e))?;
    let tokenizer = file.tokenizer().map_err(|e| place.name(e))?;
    for set in sets {
        for query in set.queries.iter().filter(|q| !q.candidates.is_empty()) {
            let request = request(common, query, vec![""]);
            tokenize(&tokenizer, file.config.context, &request).at(|| format!("{}:{}", set.path, query.line))?;
        }
    }
    Ok(())
}

/// What a model is asked about a query.
fn request<'a>(common: &'a Common, query: &'a Query, documents: Vec<&'a str>) -> Request<'a> {
    let options = common.request();
    let instruction = query.instruction.as_deref().or(options.instruction);
    Request { query: &query.text, documents, instruction, ..options }
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
        max_length: common.max_length.unwrap_or(DEFAULT_MAX_LENGTH.min(reranker.info().context_length)),
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
    let request = request(common, query, query.candidates.iter().map(|c| &*c.text).collect());
    let scores =
        interrupt::pausing(|cancel| block_on(reranker.score(&request, cancel, &mut |_, _, done, _| on_score(done))))?;
    scored.prompt_tokens += scores.prompt_tokens();
    scored.truncated += scores.scored.iter().filter(|s| s.truncated).count();
    for warning in scores.warnings {
        if !warned.iter().any(|w| kind(w) == kind(&warning)) {
            warned.push(warning);
        }
    }
    Ok(scores.scored.iter().map(|s| s.logits.difference).collect())
}

/// The candidates' places, the best score first, equal ones by lot.
pub(super) fn order(query: &Query, score: impl Fn(usize) -> f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..query.candidates.len()).collect();
    let score = |i: usize| score(i) + 0.0; // no negative zero
    order.sort_by(|a, b| {
        let id = |i: usize| query.candidates[i].id.as_str();
        score(*b).total_cmp(&score(*a)).then_with(|| lot(&query.id, id(*a)).cmp(&lot(&query.id, id(*b))))
    });
    order
}

/// What decides between documents of equal scores: a hash of both ids, the same on every machine. Ids themselves would tell: data sets often
/// name relevant documents first.
pub(super) fn lot<'a>(query: &str, document: &'a str) -> (u64, &'a str) {
    // FNV-1a; 0xff is in no UTF-8.
    let bytes = query.bytes().chain([0xff]).chain(document.bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    // Its last bytes reach the high bits through MurmurHash3's finisher only.
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (mixed ^ (mixed >> 33), document)
}

pub(super) fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lots_are_the_same_everywhere_and_fair() {
        assert_eq!(lot("q", "d").0, 0xc366_66ca_46a3_9200);
        assert_ne!(lot("q", "d").0, lot("qd", "").0);
        // Of documents named in order, each wins about as often.
        let mut wins = [0; 4];
        for q in 0..4000 {
            let query = format!("query-{q}");
            let best = (0..4).min_by_key(|d| lot(&query, ["doc-1", "doc-2", "doc-3", "doc-4"][*d])).unwrap();
            wins[best] += 1;
        }
        assert!(wins.iter().all(|n| (850..1150).contains(n)), "{wins:?}");
    }
}
