//! From lines to queries with the candidates that are to be ranked: those of the line, or those that BM25 finds.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use super::{
    Baseline, Options,
    files::SetFile,
    rows::{self, Row},
};
use crate::{
    error::{Error, Place, Result},
    rerank::{
        lexical::{Analyzer, Bm25},
        metrics::{Gain, HIGHEST_EXPONENTIAL_LABEL},
    },
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

/// The sets of all files, with the candidates of their lines, or those that BM25 finds in the corpus or among the set's own documents.
pub(super) fn read(files: &[SetFile], options: &Options) -> Result<Vec<Set>> {
    let rows: Vec<Vec<Row>> = files.iter().map(|file| rows::read(&file.path)).collect::<Result<_>>()?;
    let mut corpus = match &options.corpus {
        Some(path) => Some(Pool::of_corpus(path, main_language(rows.iter().flatten()).as_deref())?),
        None => None,
    };
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
                    own = Pool::of_rows(&rows).at(|| file.path.clone())?;
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
        id: row.query_id.to_string(),
        text: row.query.clone(),
        instruction: row.instruction.clone(),
        language: row.language(),
        line: row.line,
        candidates: Vec::new(),
        judged,
    }
}

/// The candidates of a row.
fn given(row: &Row, labels: &HashMap<String, u32>, baseline: Baseline, words: Option<&mut Words>) -> Result<Vec<Candidate>> {
    if row.candidates.is_empty() {
        return Err(Error::bad_input("no candidates").hint("list them in \"candidates\", or let BM25 find them with --retrieve"));
    }
    let scores = words.map(|words| words.scores(row));
    let candidate = |(i, candidate): (usize, &rows::Candidate)| {
        let missing = |field: &str, hint: &str| {
            Error::bad_input(format!("no \"{field}\"")).at(format!("candidates[{i}]")).hint(hint)
        };
        let id = candidate.doc_id.to_string();
        let text = candidate.text.as_deref();
        let text = text.ok_or_else(|| missing("text", "give every candidate its text, or a --corpus that has it"))?;
        let baseline = match (baseline, &scores) {
            (Baseline::Given, _) => {
                let rank = candidate.bm25_rank.filter(|rank| rank.is_finite());
                -rank.ok_or_else(|| missing("bm25_rank", "--baseline given takes the order from it; --baseline bm25 needs none"))?
            }
            (_, Some(scores)) => scores[i],
            _ => 0.0,
        };
        Ok(Candidate { label: labels.get(&id).copied().unwrap_or(0), text: text.into(), id, baseline })
    };
    row.candidates.iter().enumerate().map(candidate).collect()
}

/// Analysers of several languages.
#[derive(Default)]
struct Analyzers(HashMap<Option<String>, Analyzer>);

impl Analyzers {
    fn terms(&mut self, language: Option<&str>, text: &str) -> Vec<String> {
        let analyzer = self.0.entry(language.map(str::to_owned));
        analyzer.or_insert_with(|| Analyzer::new(language)).terms(text)
    }
}

/// BM25 over the candidates of a file, each text once.
struct Words {
    analyzers: Analyzers,
    index: Bm25,
    documents: HashMap<String, usize>,
}

impl Words {
    fn of_rows(rows: &[Row]) -> Self {
        let mut words = Self { analyzers: Analyzers::default(), index: Bm25::default(), documents: HashMap::new() };
        for row in rows {
            for text in row.candidates.iter().filter_map(|c| c.text.as_deref()) {
                if !words.documents.contains_key(text) {
                    words.documents.insert(text.to_owned(), words.index.documents());
                    words.index.add(words.analyzers.terms(row.document_language(), text));
                }
            }
        }
        words
    }

    fn scores(&mut self, row: &Row) -> Vec<f64> {
        let query = self.analyzers.terms(row.document_language(), &row.query);
        let place = |c: &rows::Candidate| self.documents.get(c.text.as_deref()?).copied();
        row.candidates.iter().map(|c| place(c).map_or(0.0, |document| self.index.score(&query, document))).collect()
    }
}

/// Documents that candidates are found in.
pub(super) struct Pool {
    /// Ids and texts, sorted by id: equal scores are then in the order of ids.
    documents: Vec<(String, Arc<str>)>,
    analyzers: Analyzers,
    index: Bm25,
}

impl Pool {
    /// A corpus; documents without a language have that of most queries.
    pub(super) fn of_corpus(path: &str, language: Option<&str>) -> Result<Self> {
        let documents = rows::read_corpus(path)?.into_iter().map(|d| {
            let own = d.lang.or_else(|| language.map(str::to_owned));
            (d.doc_id.to_string(), (d.text, own))
        });
        Ok(Self::new(documents.collect()))
    }

    /// All candidates of a file.
    fn of_rows(rows: &[Row]) -> Result<Self> {
        let mut documents: HashMap<String, (String, Option<String>)> = HashMap::new();
        for row in rows {
            for candidate in &row.candidates {
                let Some(text) = &candidate.text else { continue };
                match documents.entry(candidate.doc_id.to_string()) {
                    Entry::Occupied(known) if known.get().0 != *text => {
                        let what = format!("the doc_id {:?} has another text on a line before", known.key());
                        return Err(Error::bad_input(what)
                            .at(format!("line {}", row.line))
                            .hint("an id must mean one document of the file where candidates are retrieved from it"));
                    }
                    Entry::Occupied(_) => {}
                    Entry::Vacant(new) => _ = new.insert((text.clone(), row.document_language().map(str::to_owned))),
                }
            }
        }
        if documents.is_empty() {
            return Err(Error::bad_input("no candidate of this file has a text").hint("give the documents with --corpus"));
        }
        Ok(Self::new(documents.into_iter().collect()))
    }

    fn new(mut documents: Vec<(String, (String, Option<String>))>) -> Self {
        documents.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut pool = Self { documents: Vec::new(), analyzers: Analyzers::default(), index: Bm25::default() };
        for (id, (text, language)) in documents {
            pool.index.add(pool.analyzers.terms(language.as_deref(), &text));
            pool.documents.push((id, text.into()));
        }
        pool
    }

    fn has(&self, id: &str) -> bool {
        self.documents.binary_search_by(|(known, _)| known.as_str().cmp(id)).is_ok()
    }

    /// The best documents for a row's query.
    fn search(&mut self, row: &Row, labels: &HashMap<String, u32>, depth: usize) -> Vec<Candidate> {
        let query = self.analyzers.terms(row.document_language(), &row.query);
        let found = self.index.search(&query, depth).into_iter();
        found
            .map(|(place, score)| {
                let (id, text) = &self.documents[place];
                let label = labels.get(id).copied().unwrap_or(0);
                Candidate { id: id.clone(), text: text.clone(), label, baseline: score }
            })
            .collect()
    }
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
