//! Scores and labels as files that other tools read.

use std::{
    fmt::Write,
    mem,
    path::{Path, PathBuf},
};

use super::{
    Options,
    files::{Lines, Taken, Target, make_folder},
    report::{Kind, System},
    scoring::order,
    sets::{Query, Set},
};
use crate::error::{Error, Result};

/// What is to be written, checked before anything is computed.
pub(super) struct Export {
    run: Run,
    trec: Option<PathBuf>,
}

/// The scores' file, which keeps what it holds until the first query is scored.
enum Run {
    None,
    Waiting(Target),
    Open(Lines),
}

impl Export {
    /// `kinds` are the systems that there will be.
    pub(super) fn open(options: &Options, sets: &[Set], kinds: &[Kind], taken: &mut Taken) -> Result<Self> {
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
            for set in sets {
                for path in
                    [labels_path(folder, set)].into_iter().chain(kinds.iter().map(|k| run_path(folder, set, *k)))
                {
                    // Sets a/b and a-b would have one file.
                    Target::open(&path, taken)?;
                }
            }
        }
        let run = options.run.as_deref().map(|path| Target::open(path, taken)).transpose()?;
        Ok(Self { run: run.map_or(Run::None, Run::Waiting), trec: options.trec.clone() })
    }

    /// Writes a query's scores as soon as they are known: an interrupted run keeps them.
    pub(super) fn query(&mut self, query: &Query, scores: &[f32]) -> Result<()> {
        self.run = match mem::replace(&mut self.run, Run::None) {
            Run::Waiting(target) => Run::Open(target.start()?),
            other => other,
        };
        let Run::Open(run) = &mut self.run else { return Ok(()) };
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
            let mut labels = String::new();
            for query in &set.queries {
                let mut judged: Vec<_> = query.judged.iter().collect();
                judged.sort();
                for (id, label) in &judged {
                    let _ = writeln!(labels, "{} 0 {id} {label}", query.id);
                }
                if judged.is_empty() {
                    let _ = writeln!(labels, "{} 0 {} 0", query.id, nothing(query));
                }
            }
            file(&labels_path(folder, set), &labels)?;
            for system in systems {
                let tag = tag(system.kind);
                let mut run = String::new();
                for (q, query) in set.queries.iter().enumerate() {
                    let mut before = f32::INFINITY;
                    for (rank, c) in order(query, |c| (system.score)(s, q, c)).into_iter().enumerate() {
                        let score = falling((system.score)(s, q, c), before);
                        before = score;
                        let _ = writeln!(run, "{} Q0 {} {} {score} {tag}", query.id, query.candidates[c].id, rank + 1);
                    }
                    if query.candidates.is_empty() {
                        let _ = writeln!(run, "{} Q0 {} 1 0 {tag}", query.id, nothing(query));
                    }
                }
                file(&run_path(folder, set, system.kind), &run)?;
            }
        }
        Ok(())
    }
}

fn tag(kind: Kind) -> &'static str {
    match kind {
        Kind::Model => "model",
        Kind::Baseline => "baseline",
        Kind::Second => "second",
    }
}

fn labels_path(folder: &Path, set: &Set) -> PathBuf {
    folder.join(format!("{}.qrels", file_name(set)))
}

fn run_path(folder: &Path, set: &Set, kind: Kind) -> PathBuf {
    folder.join(format!("{}.{}.run", file_name(set), tag(kind)))
}

fn file_name(set: &Set) -> String {
    set.name.replace(['/', '\\'], "-")
}

/// A document that stands for none: tools leave out queries that a file does not name, which would then not count 0.
fn nothing(query: &Query) -> String {
    let mut id = "-".to_owned();
    while query.judged.contains_key(&id) {
        id.push('-');
    }
    id
}

/// The score, or just less than the one before where that is as small: tools order equal scores each in their own way, and some read 32 bits.
fn falling(score: f64, before: f32) -> f32 {
    let score = (score as f32).clamp(-1e30, 1e30);
    if score < before { score } else { (before - 1e-6).min(before.next_down()) }
}

fn file(path: &Path, text: &str) -> Result<()> {
    let mut lines = Target::reopen(path)?.start()?;
    lines.write(text)?;
    lines.flush()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_scores_fall_and_stay_what_they_were_where_they_may() {
        for scores in [
            vec![0.0; 500],
            vec![3.5, 1.0, 1.0, 1.0 - 1e-9, 0.0, -0.0, -1e-12, -2.0],
            vec![1e300, 1e299, 5.0, -1e299, -1e300],
        ] {
            let mut before = f32::INFINITY;
            for score in &scores {
                let written = falling(*score, before);
                assert!(written < before && written.is_finite(), "{written} after {before}");
                assert_eq!(written.to_string().parse::<f64>().unwrap() as f32, written);
                before = written;
            }
        }
        assert_eq!((falling(3.5, f32::INFINITY), falling(-2.0, 0.5), falling(0.5, 0.75)), (3.5, -2.0, 0.5));
    }
}
