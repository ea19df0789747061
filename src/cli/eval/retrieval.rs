//! BM25 as the baseline of given candidates, and as what finds candidates.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use super::{
    rows::{self, Row},
    scoring::lot,
    sets::Candidate,
};
use crate::{
    error::{Error, Result},
    rerank::lexical::{Analyzer, Bm25},
};

/// Analysers of several languages.
#[derive(Default)]
struct Analyzers(HashMap<Option<String>, Analyzer>);

impl Analyzers {
    fn terms(&mut self, language: Option<&str>, text: &str) -> Vec<String> {
        let analyzer = self.0.entry(language.map(str::to_owned));
        analyzer.or_insert_with(|| Analyzer::new(language)).terms(text)
    }
}

/// BM25 over the candidates of a file, each text once in a language.
pub(super) struct Words {
    analyzers: Analyzers,
    index: Bm25,
    /// By language and text: each language stems in its own way.
    documents: HashMap<Option<String>, HashMap<String, usize>>,
}

impl Words {
    pub(super) fn of_rows(rows: &[Row]) -> Self {
        let mut words = Self { analyzers: Analyzers::default(), index: Bm25::default(), documents: HashMap::new() };
        for row in rows {
            let known = words.documents.entry(row.document_language().map(str::to_owned)).or_default();
            for text in row.candidates.iter().filter_map(|c| c.text.as_deref()) {
                if !known.contains_key(text) {
                    known.insert(text.to_owned(), words.index.documents());
                    words.index.add(words.analyzers.terms(row.document_language(), text));
                }
            }
        }
        words
    }

    pub(super) fn scores(&mut self, row: &Row) -> Vec<f64> {
        let query = self.analyzers.terms(row.document_language(), &row.query);
        let known = self.documents.get(&row.document_language().map(str::to_owned));
        let place = |c: &rows::Candidate| known?.get(c.text.as_deref()?).copied();
        row.candidates.iter().map(|c| place(c).map_or(0.0, |document| self.index.score(&query, document))).collect()
    }
}

/// Documents that candidates are found in.
pub(super) struct Pool {
    /// Ids and texts, sorted by id.
    documents: Vec<(String, Arc<str>)>,
    analyzers: Analyzers,
    index: Bm25,
}

impl Pool {
    /// A corpus; documents without a language have that of most queries.
    pub(super) fn of_corpus(documents: Vec<rows::Document>, language: Option<&str>) -> Self {
        let documents = documents.into_iter().map(|d| {
            let own = d.lang.or_else(|| language.map(str::to_owned));
            (d.doc_id, (d.text, own))
        });
        Self::new(documents.collect())
    }

    /// All candidates of a file.
    pub(super) fn of_rows(path: &str, rows: &[Row]) -> Result<Self> {
        let mut documents: HashMap<String, (String, Option<String>)> = HashMap::new();
        for row in rows {
            for candidate in &row.candidates {
                let Some(text) = &candidate.text else { continue };
                match documents.entry(candidate.doc_id.clone()) {
                    Entry::Occupied(known) if known.get().0 != *text => {
                        let what = format!("the doc_id {:?} has another text on a line before", known.key());
                        return Err(Error::bad_input(what)
                            .at(format!("{path}:{}", row.line))
                            .hint("an id must mean one document of the file where candidates are retrieved from it"));
                    }
                    Entry::Occupied(_) => {}
                    Entry::Vacant(new) => _ = new.insert((text.clone(), row.document_language().map(str::to_owned))),
                }
            }
        }
        if documents.is_empty() {
            return Err(Error::bad_input("no candidate of this file has a text")
                .at(path)
                .hint("give the documents with --corpus"));
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

    pub(super) fn has(&self, id: &str) -> bool {
        self.documents.binary_search_by(|(known, _)| known.as_str().cmp(id)).is_ok()
    }

    /// The best documents for a row's query.
    pub(super) fn search(&mut self, row: &Row, labels: &HashMap<String, u32>, depth: usize) -> Vec<Candidate> {
        let query = self.analyzers.terms(row.document_language(), &row.query);
        let lot = |place: usize| lot(&row.query_id, &self.documents[place].0);
        let found = self.index.search(&query, depth, lot);
        found
            .into_iter()
            .map(|(place, score)| {
                let (id, text) = &self.documents[place];
                let label = labels.get(id).copied().unwrap_or(0);
                Candidate { id: id.clone(), text: text.clone(), label, baseline: score }
            })
            .collect()
    }
}
