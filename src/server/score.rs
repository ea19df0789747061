//! A request to its scores: known ones, then the engine for the rest.

use std::{collections::HashMap, num::NonZeroUsize, slice, sync::Arc, time::Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Options,
    ask::{Answer, Ask, Line, Query, Ranked},
    body::{self, Upload},
    bounds::{fit, longest},
    cache::{self, Key, ScoreCache},
    desk::Desk,
    engine::{Engine, EngineInfo, Spell},
    job::{Hear, Job, Ticket, Took},
    log::{Work, milliseconds},
    problem::{Problem, too_large},
};
use crate::{
    backend::{Cancel, Pace},
    error::Result,
    model::Logits,
    rerank::Prompts,
};

/// The most bytes of texts that are spelled without waiting for those of large requests.
const SMALL: usize = 1 << 16;

/// Of so many documents one tells how many tokens there are.
const SAMPLE: usize = 16;
/// The part of such a guess that is believed.
const SURE: f64 = 0.9;

/// Held while texts are spelled.
type Turn = Arc<OwnedSemaphorePermit>;

/// Who asks.
pub(super) struct Caller {
    pub(super) engine: Arc<dyn Engine>,
    /// Shares the model fairly with the others.
    pub(super) client: String,
    /// When it will not wait any more.
    pub(super) due: Option<Instant>,
}

pub(super) struct Scorer {
    desk: Arc<Desk>,
    cache: Option<Arc<ScoreCache>>,
    /// Texts become tokens beside the computing thread, of so many requests at once: of small ones, and of large ones.
    spelling: [Arc<Semaphore>; 2],
    max_tokens: Option<usize>,
    max_length: Option<usize>,
    max_queries: Option<usize>,
    max_body: usize,
    retry_after: u64,
}

/// A request as far as it can be told without the engine.
struct Prepared {
    /// Where scores are remembered, the key of each document.
    keys: Option<Vec<Key>>,
    /// Of each document, where it is known.
    lines: Vec<Option<Line>>,
    missing: Vec<Missing>,
}

/// The documents of one query that are to be computed.
struct Missing {
    query: String,
    /// What is there twice is computed once: a text and its places.
    texts: Vec<(String, Vec<usize>)>,
}

/// Stops what goes on in other threads for a request that is gone.
struct OnLeave<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnLeave<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl Scorer {
    pub(super) fn new(options: &Options, desk: Arc<Desk>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            desk,
            cache: NonZeroUsize::new(options.cache).map(|n| Arc::new(ScoreCache::new(n))),
            spelling: [(); 2].map(|()| Arc::new(Semaphore::new(cores.div_ceil(2)))),
            max_tokens: options.max_tokens,
            max_length: options.max_length,
            max_queries: options.max_queries,
            max_body: options.max_body,
            retry_after: options.retry_after,
        }
    }

    pub(super) fn caches(&self) -> bool {
        self.cache.is_some()
    }

    /// A line for each document of the request, for which `held` is taken. What it took is in `work`, however this ends.
    pub(super) async fn score(
        &self,
        ask: &Ask,
        caller: &Caller,
        held: &mut Upload,
        work: &mut Work,
    ) -> Result<Vec<Line>, Problem> {
        work.documents = ask.documents.len();
        let info = caller.engine.info();
        let prompt = longest(info.context_length, self.max_length);
        let prepared = body::work(held.bytes(), || self.prepare(ask, &info, prompt, held))?;
        let Prepared { keys, mut lines, missing } = prepared;
        let known = lines.iter().flatten();
        (work.cached, work.tokens) = known.fold((0, 0), |(n, tokens), line| (n + 1, tokens + line.tokens));
        if !missing.is_empty() {
            let places: Vec<Vec<Vec<usize>>> =
                missing.iter().map(|m| m.texts.iter().map(|(_, places)| places.clone()).collect()).collect();
            let computed = self.compute(ask, caller, missing, prompt, keys, work).await?;
            for (places, line) in places.iter().flatten().zip(computed.iter().flatten()) {
                places.iter().for_each(|&place| lines[place] = Some(*line));
            }
        }
        let lines: Vec<Line> = lines.into_iter().map(|line| line.expect("every document was scored")).collect();
        work.tokens = lines.iter().map(|line| line.tokens).sum();
        Ok(lines)
    }

    fn prepare(&self, ask: &Ask, info: &EngineInfo, prompt: usize, held: &mut Upload) -> Result<Prepared, Problem> {
        let groups = self.groups(ask)?;
        self.repeat(ask, groups.len(), held)?;
        let texts = fit(ask, prompt, self.max_tokens)?;
        let keys = self.cache.as_ref().map(|_| keys(&groups, &texts, ask, info, prompt));
        let mut lines: Vec<Option<Line>> = vec![None; texts.len()];
        if let (Some(cache), Some(keys)) = (&self.cache, &keys) {
            lines.iter_mut().zip(keys).for_each(|(line, key)| *line = cache.get(key));
        }
        let missing = missing(&groups, &texts, &lines);
        Ok(Prepared { keys, lines, missing })
    }

    /// The instruction stands in each query's prompts: it counts as though it had been sent with each.
    fn repeat(&self, ask: &Ask, queries: usize, held: &mut Upload) -> Result<(), Problem> {
        let instruction = ask.how.instruction.as_deref().map_or(0, str::len);
        let more = instruction * queries.saturating_sub(1);
        if more == 0 {
            return Ok(());
        }
        if held.bytes() + more > self.max_body {
            let most = self.max_body;
            let what = format!(
                "The instruction, once for each of the {queries} different queries, makes the request longer than {most} bytes: shorten it, or send fewer queries."
            );
            return Err(too_large(what).param("instruction"));
        }
        held.take(more)
    }

    /// The prompts of one query's documents.
    pub(super) async fn tokenize(&self, ask: &Ask, caller: &Caller, work: &mut Work) -> Result<Prompts, Problem> {
        work.documents = ask.documents.len();
        let Query::One(query) = &ask.query else { unreachable!("the tokeniser's endpoint takes one query") };
        let prompt = longest(caller.engine.info().context_length, self.max_length);
        let documents = fit(ask, prompt, self.max_tokens)?.into_iter().map(str::to_owned).collect();
        let instruction = ask.how.instruction.as_deref().map(Arc::from);
        let spell = Spell { query: query.clone(), documents, instruction, max_length: prompt };
        let _ticket = self.desk.admit()?;
        let turn = self.turn(slice::from_ref(&spell)).await;
        let prompts = self.spell(caller.engine.clone(), vec![spell], None, &turn).await?;
        let prompts = prompts.into_iter().next().unwrap_or_default();
        work.tokens = (0..prompts.own.len()).map(|i| prompts.tokens(i)).sum();
        Ok(prompts)
    }

    /// The documents by their query: the query, and their places.
    fn groups<'a>(&self, ask: &'a Ask) -> Result<Vec<(&'a str, Vec<usize>)>, Problem> {
        let queries = match &ask.query {
            Query::One(query) => return Ok(vec![(query, (0..ask.documents.len()).collect())]),
            Query::Each(queries) => queries,
        };
        let mut known: HashMap<&str, usize> = HashMap::new();
        let mut groups: Vec<(&str, Vec<usize>)> = Vec::new();
        for (place, query) in queries.iter().enumerate() {
            let group = *known.entry(query).or_insert_with(|| {
                groups.push((query, Vec::new()));
                groups.len() - 1
            });
            groups[group].1.push(place);
        }
        match self.max_queries.filter(|most| groups.len() > *most) {
            None => Ok(groups),
            Some(most) => {
                let n = groups.len();
                let what = format!(
                    "There are {n} different queries, at most {most} are taken in one request: send them in parts."
                );
                Err(too_large(what))
            }
        }
    }

    async fn compute(
        &self,
        ask: &Ask,
        caller: &Caller,
        missing: Vec<Missing>,
        prompt: usize,
        keys: Option<Vec<Key>>,
        work: &mut Work,
    ) -> Result<Vec<Vec<Line>>, Problem> {
        let ticket = self.desk.admit()?;
        if let Some(most) = self.max_tokens
            && missing.iter().map(|m| m.texts.len()).sum::<usize>() > most
        {
            return Err(over(most));
        }
        // Where the scores of each document go in the cache.
        let keys: Option<Vec<Vec<Key>>> = keys
            .map(|keys| missing.iter().map(|m| m.texts.iter().map(|(_, places)| keys[places[0]]).collect()).collect());
        let instruction: Option<Arc<str>> = ask.how.instruction.as_deref().map(Arc::from);
        let texts = missing
            .into_iter()
            .map(|m| Spell {
                query: m.query,
                documents: m.texts.into_iter().map(|(text, _)| text).collect(),
                instruction: instruction.clone(),
                max_length: prompt,
            })
            .collect::<Vec<_>>();
        let prompts = self.spell_in_turn(caller, texts, ask.how.max_tokens_per_document).await?;
        work.tokens += prompts.iter().flat_map(|p| (0..p.own.len()).map(|i| p.tokens(i))).sum::<usize>();
        if let Some(most) = self.max_tokens
            && prompts.iter().map(Prompts::computed).sum::<usize>() > most
        {
            return Err(over(most));
        }
        self.in_turn(caller, prompts, keys, ticket, work).await
    }

    /// The prompts of texts. Of large ones a part tells first whether there is room for the rest: to spell them takes a tenth of what they take.
    async fn spell_in_turn(
        &self,
        caller: &Caller,
        texts: Vec<Spell>,
        per_document: Option<usize>,
    ) -> Result<Vec<Prompts>, Problem> {
        let turn = self.turn(&texts).await;
        if bytes(&texts) > SMALL && caller.due.is_some() {
            let sample = sample(&texts);
            let times = of_documents(&texts) as f64 / of_documents(&sample).max(1) as f64;
            let prompts = self.spell(caller.engine.clone(), sample, per_document, &turn).await?;
            let rows = guess(&prompts, texts.len(), times);
            self.desk.check(&caller.client, (rows * SURE) as usize, caller.due)?;
        }
        self.spell(caller.engine.clone(), texts, per_document, &turn).await
    }

    /// Waits until texts may be spelled.
    async fn turn(&self, texts: &[Spell]) -> Turn {
        let spelling = self.spelling[usize::from(bytes(texts) > SMALL)].clone();
        Arc::new(spelling.acquire_owned().await.expect("nobody closes it"))
    }

    /// Turns texts into prompts in a thread of its own. `per_document` bounds the tokens of each document.
    async fn spell(
        &self,
        engine: Arc<dyn Engine>,
        texts: Vec<Spell>,
        per_document: Option<usize>,
        turn: &Turn,
    ) -> Result<Vec<Prompts>, Problem> {
        let cancel = Cancel::default();
        let _leave = OnLeave(|| cancel.cancel());
        let (turn, pace) = (turn.clone(), cancel.clone());
        let spelled = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            texts.into_iter().map(|texts| spell_one(&*engine, texts, per_document, &pace)).collect::<Result<Vec<_>>>()
        });
        match spelled.await {
            Ok(Ok(prompts)) => Ok(prompts),
            Ok(Err(e)) => Err(Problem::of(&e, self.retry_after)),
            Err(e) => Err(Problem::internal(e)),
        }
    }

    async fn in_turn(
        &self,
        caller: &Caller,
        prompts: Vec<Prompts>,
        keys: Option<Vec<Vec<Key>>>,
        ticket: Ticket,
        work: &mut Work,
    ) -> Result<Vec<Vec<Line>>, Problem> {
        let length = |p: &Prompts| (0..p.own.len()).map(|i| (p.tokens(i), p.truncated[i])).collect();
        let lengths: Arc<Vec<Vec<(usize, bool)>>> = Arc::new(prompts.iter().map(length).collect());
        let line_of = move |lengths: &[Vec<(usize, bool)>], group: usize, document: usize, logits: Logits| {
            let (tokens, truncated) = lengths[group][document];
            Line { score: logits.score(), logit: logits.difference, tokens, truncated }
        };
        let heard = lengths.clone();
        let cache = self.cache.clone();
        let hear: Hear = Box::new(move |group, document, logits| {
            if let (Some(cache), Some(keys)) = (&cache, &keys) {
                cache.put(keys[group][document], line_of(&heard, group, document, logits));
            }
        });
        let (job, answer) = Job::new(prompts, caller.due, ticket, hear);
        self.desk.submit(&caller.client, job.clone())?;
        let _leave = OnLeave(|| {
            let Took { waited, computed, tokens, .. } = self.desk.leave(&job);
            (work.queue_ms, work.compute_ms) = (milliseconds(waited), milliseconds(computed));
            work.computed_tokens = tokens;
        });
        let logits = answer.await.unwrap_or_else(|_| Err(Problem::internal("the computing thread ended")))?;
        let of_group = |(group, logits): (usize, Vec<Logits>)| {
            logits.into_iter().enumerate().map(|(i, logits)| line_of(&lengths, group, i, logits)).collect()
        };
        Ok(logits.into_iter().enumerate().map(of_group).collect())
    }
}

/// All that is spelled: the instruction stands in each query's prompts.
fn bytes(texts: &[Spell]) -> usize {
    let heads = texts.iter().map(|texts| texts.query.len() + texts.instruction.as_deref().map_or(0, str::len));
    heads.sum::<usize>() + of_documents(texts)
}

fn of_documents(texts: &[Spell]) -> usize {
    texts.iter().flat_map(|texts| &texts.documents).map(String::len).sum()
}

/// Some of these texts.
fn sample(texts: &[Spell]) -> Vec<Spell> {
    let every = |n: usize| if n < 2 * SAMPLE { 1 } else { SAMPLE };
    let some = texts.iter().step_by(every(texts.len()));
    let some = some.map(|texts| Spell {
        query: texts.query.clone(),
        documents: texts.documents.iter().step_by(every(texts.documents.len())).cloned().collect(),
        instruction: texts.instruction.clone(),
        max_length: texts.max_length,
    });
    some.collect()
}

/// How many rows there are for so many queries, whose documents have so many times the bytes of these.
fn guess(prompts: &[Prompts], queries: usize, times: f64) -> f64 {
    let shared: usize = prompts.iter().map(|p| p.shared.len()).sum();
    let own: usize = prompts.iter().flat_map(|p| &p.own).map(Vec::len).sum();
    shared as f64 * queries as f64 / prompts.len().max(1) as f64 + own as f64 * times
}

fn over(most: usize) -> Problem {
    too_large(format!(
        "The request needs more than {most} tokens, the most that one may have here: send fewer or shorter documents."
    ))
}

fn keys(groups: &[(&str, Vec<usize>)], texts: &[&str], ask: &Ask, info: &EngineInfo, prompt: usize) -> Vec<Key> {
    let mut keys = vec![Key::default(); texts.len()];
    let bounds = [prompt, ask.how.max_tokens_per_document.unwrap_or(usize::MAX)];
    let common = cache::head(&[Some(&info.identity), ask.how.instruction.as_deref()], &bounds);
    for (query, places) in groups {
        let head = cache::with(common.clone(), query);
        places.iter().for_each(|&place| keys[place] = cache::key(&head, texts[place]));
    }
    keys
}

fn missing(groups: &[(&str, Vec<usize>)], texts: &[&str], lines: &[Option<Line>]) -> Vec<Missing> {
    let of_group = |(query, places): &(&str, Vec<usize>)| {
        let mut known: HashMap<&str, usize> = HashMap::new();
        let mut unknown: Vec<(String, Vec<usize>)> = Vec::new();
        for &place in places.iter().filter(|&&place| lines[place].is_none()) {
            let at = *known.entry(texts[place]).or_insert_with(|| {
                unknown.push((texts[place].to_owned(), Vec::new()));
                unknown.len() - 1
            });
            unknown[at].1.push(place);
        }
        (!unknown.is_empty()).then(|| Missing { query: (*query).to_owned(), texts: unknown })
    };
    groups.iter().filter_map(of_group).collect()
}

/// A prompt is the part before the document, the document, and the part after it.
fn spell_one(engine: &dyn Engine, mut texts: Spell, per_document: Option<usize>, pace: &dyn Pace) -> Result<Prompts> {
    if let Some(most) = per_document {
        let Spell { query, instruction, max_length, .. } = &texts;
        let (query, instruction, max_length) = (query.clone(), instruction.clone(), *max_length);
        let ends = Spell { query, documents: vec![String::new(), "a".into()], instruction, max_length };
        let ends = engine.spell(&ends, pace)?;
        let (one, other) = (&ends.own[0], &ends.own[1]);
        let after = one.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count();
        texts.max_length = texts.max_length.min(most.saturating_add(ends.shared.len() + after));
    }
    engine.spell(&texts, pace)
}

/// Lines to the answer that dialects write: the best first; logits still differ where the probabilities have rounded to 1.
pub(super) fn rank<'a>(lines: &[Line], ask: &'a Ask, model: &'a str) -> Result<Answer<'a>, Problem> {
    if let Some(cut) = lines.iter().position(|line| line.truncated).filter(|_| ask.refuse_cut) {
        let place = format!("documents[{cut}]");
        let what = format!("{place} is longer than the model takes: shorten it, or allow that it is cut.");
        return Err(Problem::new(400, "too-long", what).param(place));
    }
    let score = |line: &Line| if ask.how.raw { line.logit } else { line.score };
    let mut ranked: Vec<Ranked> =
        lines.iter().enumerate().map(|(index, line)| Ranked { index, score: score(line), line: *line }).collect();
    ranked.sort_by(|a, b| b.line.logit.total_cmp(&a.line.logit)); // stable: ties by index
    if let Some(least) = ask.how.threshold {
        ranked.retain(|one| one.score >= least as f32);
    }
    ranked.truncate(ask.top_n.unwrap_or(usize::MAX));
    let tokens = lines.iter().map(|line| line.tokens).sum();
    Ok(Answer { id: format!("rerank-{}", uuid::Uuid::new_v4()), model, tokens, ask, ranked })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spelled_has_the_instruction_once_for_each_query() {
        let (query, instruction) = ("a query".to_owned(), Some("x".repeat(100).into()));
        let one = Spell { query, documents: vec!["a".into(), "bc".into()], instruction, max_length: 100 };
        assert_eq!(bytes(&[one.clone(), one]), 2 * 110);
    }

    #[test]
    fn a_part_of_the_documents_tells_how_many_tokens_all_have() {
        let one = |documents: usize, at: usize| Spell {
            query: format!("{at} of a long query"),
            documents: (0..documents).map(|n| "word ".repeat(5 + (n + at) % 7)).collect(),
            instruction: None,
            max_length: 100,
        };
        // Words are tokens.
        let spelled = |texts: &[Spell]| -> Vec<Prompts> {
            let count = |text: &String| vec![0; text.split_whitespace().count()];
            let own = |texts: &Spell| texts.documents.iter().map(count).collect::<Vec<_>>();
            texts.iter().map(|t| Prompts { shared: vec![0; 500], own: own(t), truncated: vec![] }).collect()
        };
        for texts in [vec![one(1000, 0)], (0..100).map(|n| one(1, n)).collect(), vec![one(400, 0), one(31, 1)]] {
            let (sample, documents) = (sample(&texts), |texts: &[Spell]| texts.iter().map(|t| t.documents.len()).sum());
            let (all, some): (usize, usize) = (documents(&texts), documents(&sample));
            assert!(some * 7 < all, "{some} of {all}");
            let rows =
                guess(&spelled(&sample), texts.len(), of_documents(&texts) as f64 / of_documents(&sample) as f64);
            let wanted = spelled(&texts).iter().map(Prompts::computed).sum::<usize>() as f64;
            assert!((rows - wanted).abs() < 0.03 * wanted, "{rows}, there are {wanted}");
        }
    }
}
