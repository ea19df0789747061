//! From lines to queries with the candidates that are to be ranked: those of the line, or those that BM25 finds.

use std::{collections::HashMap, sync::Arc};

use super::{
    Baseline, Options,
    files::SetFile,
    retrieval::{Pool, Words},
    rows::{self, Row},
};
use crate::{
    error::{Error, Place, Result},
    rerank::metrics::{Gain, HIGHEST_EXPONENTIAL_LABEL},
};

/// A file's queries.
pub(super) struct Set {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) queries: Vec<Query>,
    /// Relevant documents that no query could find, since they are nowhere.
    pub(super) missing: usize,
}

/// A query with all that is ranked for it.
pub(super) struct Query {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) instruction: Option<String>,
    /// What its figures are gathered under, besides its set.
    pub(super) language: String,
    pub(super) line: usize,
    pub(super) candidates: Vec<Candidate>,
    /// The label of every judged document, candidate or not.
    pub(super) judged: HashMap<String, u32>,
}

/// A document to rank.
pub(super) struct Candidate {
    pub(super) id: String,
    pub(super) text: Arc<str>,
    pub(super) label: u32,
    /// What the baseline ranks by, the highest first.
    pub(super) baseline: f64,
}

/// The sets of all files, with the candidates of their lines, or those that BM25 finds in the corpus or among the set's own documents. `on_unread` hears of
/// a file's fields that nothing reads.
pub(super) fn read(
    files: &[SetFile],
    options: &Options,
    mut on_unread: impl FnMut(&str, &[String]),
) -> Result<Vec<Set>> {
    let mut rows: Vec<Vec<Row>> = Vec::new();
    for file in files {
        let read = rows::read(&file.path)?;
        on_unread(&file.path, &read.unread);
        rows.push(read.values);
    }
    let mut corpus = None;
    if let Some(path) = &options.corpus {
        let read = rows::read_corpus(path)?;
        on_unread(path, &read.unread);
        corpus = Some(Pool::of_corpus(read.values, main_language(rows.iter().flatten()).as_deref()));
    }
    files.iter().zip(rows).map(|(file, rows)| prepare(file, rows, options, corpus.as_mut())).collect()
}

fn prepare(file: &SetFile, rows: Vec<Row>, options: &Options, corpus: Option<&mut Pool>) -> Result<Set> {
    let at = |row: &Row| format!("{}:{}", file.path, row.line);
    let highest = if options.gain() == Gain::Exponential { HIGHEST_EXPONENTIAL_LABEL } else { u32::MAX };
    let mut labels = Vec::new();
    for row in &rows {
        labels.push(row.labels(highest).at(|| at(row))?);
    }
    let limit = options.limit.map_or(usize::MAX, |n| n as usize);
    let mut queries: Vec<Query> = rows.iter().zip(labels).take(limit).map(|(row, judged)| query(row, judged)).collect();
    let mut missing = 0;
    match options.depth() {
        Some(depth) => {
            let mut own;
            let pool = match corpus {
                Some(pool) => pool,
                None => {
                    own = Pool::of_rows(&file.path, &rows)?;
                    &mut own
                }
            };
            for (query, row) in queries.iter_mut().zip(&rows) {
                let relevant = query.judged.iter().filter(|(_, label)| options.judging().relevant(**label));
                missing += relevant.filter(|(id, _)| !pool.has(id)).count();
                query.candidates = pool.search(row, &query.judged, depth);
            }
        }
        None => {
            let mut words = (options.baseline == Baseline::Bm25).then(|| Words::of_rows(&rows));
            for (query, row) in queries.iter_mut().zip(&rows) {
                query.candidates = given(row, &query.judged, options.baseline, words.as_mut()).at(|| at(row))?;
            }
        }
    }
    Ok(Set { name: file.name.clone(), path: file.path.clone(), queries, missing })
}

fn query(row: &Row, judged: HashMap<String, u32>) -> Query {
    Query {
        id: row.query_id.clone(),
        text: row.query.clone(),
        instruction: row.instruction.clone(),
        language: row.language(),
        line: row.line,
        candidates: Vec::new(),
        judged,
    }
}

/// The candidates of a row.
fn given(
    row: &Row,
    labels: &HashMap<String, u32>,
    baseline: Baseline,
    words: Option<&mut Words>,
) -> Result<Vec<Candidate>> {
    if row.candidates.is_empty() {
        return Err(Error::bad_input("no candidates")
            .hint("list them in \"candidates\", or let BM25 find them with --retrieve"));
    }
    let scores = words.map(|words| words.scores(row));
    let candidate = |(i, candidate): (usize, &rows::Candidate)| {
        let missing = |field: &str, hint: &str| {
            Error::bad_input(format!("no \"{field}\"")).at(format!("candidates[{i}]")).hint(hint)
        };
        let id = candidate.doc_id.clone();
        let text = candidate.text.as_deref();
        let text = text.ok_or_else(|| missing("text", "give every candidate its text, or a --corpus that has it"))?;
        let baseline = match (baseline, &scores) {
            (Baseline::Given, _) => {
                let rank = candidate.bm25_rank.filter(|rank| rank.is_finite());
                -rank.ok_or_else(|| {
                    missing("bm25_rank", "--baseline given takes the order from it; --baseline bm25 needs none")
                })?
            }
            (_, Some(scores)) => scores[i],
            _ => 0.0,
        };
        Ok(Candidate { label: labels.get(&id).copied().unwrap_or(0), text: text.into(), id, baseline })
    };
    row.candidates.iter().enumerate().map(candidate).collect()
}

/// The language that most queries look for documents in.
fn main_language<'a>(rows: impl Iterator<Item = &'a Row>) -> Option<String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for language in rows.filter_map(Row::document_language) {
        *counts.entry(language).or_default() += 1;
    }
    let most = counts.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(a.0)));
    most.map(|(language, _)| language.to_owned())
}
