//! Scores and labels as files that other tools read.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use super::{
    Options,
    files::{Lines, Target, make_folder},
    report::{Kind, System},
    scoring::order,
    sets::{Query, Set},
};
use crate::error::{Error, Result};

/// What is to be written, checked before anything is computed.
pub(super) struct Export {
    run: Option<Lines>,
    trec: Option<PathBuf>,
    /// Files that are read, which nothing may overwrite.
    inputs: Vec<String>,
}

impl Export {
    pub(super) fn open(options: &Options, sets: &[Set], inputs: &[&str]) -> Result<Self> {
        if options.run.is_some() {
            fit_for(sets, "--run", "tabs or line breaks", |c| c == '\t' || c == '\n' || c == '\r')?;
            let mut ids: Vec<&str> = sets.iter().flat_map(|s| &s.queries).map(|q| q.id.as_str()).collect();
            ids.sort_unstable();
            if let Some(twice) = ids.windows(2).find(|w| w[0] == w[1]) {
                return Err(Error::bad_input(format!("the query_id {:?} is in two sets", twice[0]))
                    .at("--run")
                    .hint("one run file could not tell them apart: use --trec, or one set at a time"));
            }
        }
        if let Some(folder) = &options.trec {
            fit_for(sets, "--trec", "white space", char::is_whitespace)?;
            make_folder(folder)?;
        }
        let run = options.run.as_deref().map(|path| Target::open(path, inputs)?.start()).transpose()?;
        let inputs = inputs.iter().map(|path| (*path).to_owned()).collect();
        Ok(Self { run, trec: options.trec.clone(), inputs })
    }

    /// Writes a query's scores as soon as they are known: an interrupted run keeps them.
    pub(super) fn query(&mut self, query: &Query, scores: &[f32]) -> Result<()> {
        let Some(run) = &mut self.run else { return Ok(()) };
        let mut text = String::new();
        for (candidate, score) in query.candidates.iter().zip(scores) {
            let _ = writeln!(text, "{}\t{}\t{score}", query.id, candidate.id);
        }
        run.write(&text)?;
        run.flush()
    }

    /// Writes each set's labels and every system's run.
    pub(super) fn sets(&self, sets: &[Set], systems: &[System]) -> Result<()> {
        let Some(folder) = &self.trec else { return Ok(()) };
        for (s, set) in sets.iter().enumerate() {
            let name = set.name.replace(['/', '\\'], "-");
            let mut labels = String::new();
            for query in &set.queries {
                let mut judged: Vec<_> = query.judged.iter().collect();
                judged.sort();
                for (id, label) in judged {
                    let _ = writeln!(labels, "{} 0 {id} {label}", query.id);
                }
            }
            self.file(&folder.join(format!("{name}.qrels")), &labels)?;
            for system in systems {
                let tag = match system.kind {
                    Kind::Model => "model",
                    Kind::Baseline => "baseline",
                    Kind::Second => "second",
                };
                let mut run = String::new();
                for (q, query) in set.queries.iter().enumerate() {
                    for (rank, c) in order(query, |c| (system.score)(s, q, c)).into_iter().enumerate() {
                        let score = (system.score)(s, q, c);
                        let _ = writeln!(run, "{} Q0 {} {} {score} {tag}", query.id, query.candidates[c].id, rank + 1);
                    }
                }
                self.file(&folder.join(format!("{name}.{tag}.run")), &run)?;
            }
        }
        Ok(())
    }

    fn file(&self, path: &Path, text: &str) -> Result<()> {
        let inputs: Vec<&str> = self.inputs.iter().map(String::as_str).collect();
        let mut lines = Target::open(path, &inputs)?.start()?;
        lines.write(text)?;
        lines.flush()
    }
}

/// Refuses ids that the files' format cannot hold.
fn fit_for(sets: &[Set], option: &str, what: &str, bad: impl Fn(char) -> bool) -> Result<()> {
    for set in sets {
        for query in &set.queries {
            let ids = [&query.id].into_iter().chain(query.candidates.iter().map(|c| &c.id)).chain(query.judged.keys());
            if let Some(id) = ids.into_iter().find(|id| id.is_empty() || id.contains(&bad)) {
                return Err(Error::bad_input(format!(
                    "the id {id:?} is empty or has {what}, which these files cannot hold"
                ))
                .at(format!("{}:{}", set.path, query.line))
                .hint(format!("leave out {option}, or give other ids")));
            }
        }
    }
    Ok(())
}
