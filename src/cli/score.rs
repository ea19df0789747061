//! `score`: pairs in, scores out, line by line in input order.

use std::io::{self, BufRead, BufReader, IsTerminal, Write};

use clap::Args;
use futures::executor::block_on;
use serde::{Deserialize, Serialize};

use super::{
    Common, documents,
    exit::Outcome,
    interrupt, model,
    progress::{Progress, Unit, kind, note},
};
use crate::{
    error::Result,
    rerank::{Request, Reranker, Scored},
};

/// Rows of one request at most: results appear at least this often.
const GROUP_ROWS: usize = 1000;
/// Bytes of documents of one request at most.
const GROUP_BYTES: usize = 16 << 20;

/// Scores query-document pairs from a JSONL file, in input order.
#[derive(Args)]
#[command(after_help = "\
In:  {\"query\": \"...\", \"document\": \"...\", \"instruction\"?: \"...\"} on each line; an instruction of its own wins over --instruction
Out: {\"score\", \"logit\", \"logits\": {\"yes\", \"no\"}, \"tokens\", \"truncated\"} on each line; logit = yes - no
Consecutive rows with the same query and instruction share the work on their prompt's beginning: keep them together.
Rows are answered when the query or the instruction changes, after 1,000 rows, at a blank line, or at the end of the input: a program that feeds \
rows through a pipe and waits for their answers sends a blank line after them.

Example:
  edge-reranker score pairs.jsonl > scores.jsonl")]
pub(crate) struct Options {
    /// A JSONL file of pairs, or - for standard input
    #[arg(value_name = "FILE|-")]
    file: String,
}

/// A pair to score.
#[derive(Deserialize)]
pub(super) struct Row {
    pub(super) query: String,
    pub(super) document: String,
    pub(super) instruction: Option<String>,
}

#[derive(Serialize)]
struct Line {
    score: f32,
    logit: f32,
    logits: Option<Pair>,
    tokens: usize,
    truncated: bool,
}

#[derive(Serialize)]
struct Pair {
    yes: f32,
    no: f32,
}

impl From<&Scored> for Line {
    fn from(s: &Scored) -> Self {
        Self {
            score: s.logits.score(),
            logit: s.logits.difference,
            logits: s.logits.pair.map(|(no, yes)| Pair { yes, no }),
            tokens: s.tokens,
            truncated: s.truncated,
        }
    }
}

/// Rows that make one request.
#[derive(Default)]
pub(super) struct Group {
    pub(super) rows: Vec<Row>,
    bytes: usize,
    /// Lines of the first and the last row.
    lines: (usize, usize),
}

impl Group {
    /// Whether the row may be scored together with those that are here.
    pub(super) fn takes(&self, row: &Row) -> bool {
        let alike = self.rows.first().is_none_or(|r| r.query == row.query && r.instruction == row.instruction);
        alike && self.rows.len() < GROUP_ROWS && self.bytes < GROUP_BYTES
    }

    pub(super) fn add(&mut self, line: usize, row: Row) {
        if self.rows.is_empty() {
            self.lines.0 = line;
        }
        self.lines.1 = line;
        self.bytes += row.document.len();
        self.rows.push(row);
    }

    /// How errors call the rows, `file` being what they call the input.
    pub(super) fn place(&self, file: &str) -> String {
        match self.lines {
            (from, to) if from == to => format!("{file}:{from}"),
            (from, to) => format!("{file}:{from}-{to}"),
        }
    }
}

/// Runs the verb.
pub(crate) fn run(common: &Common, options: &Options, out: &mut dyn Write) -> Outcome {
    common.device()?;
    let place = documents::place_of(&options.file);
    let mut input = BufReader::new(documents::open(&options.file)?);
    let reranker = model::load(common)?;
    // Results on a terminal show the progress themselves.
    let bar = Progress::new(!common.quiet && !io::stdout().is_terminal(), Unit::Rows, "Scoring", None);
    let mut scorer = Scorer { common, reranker: &reranker, place: &place, out, bar, done: 0, warned: Vec::new() };
    let mut group = Group::default();
    let mut line = 0;
    loop {
        line += 1;
        let row = match read_row(&mut input, &place, line) {
            Ok(Some(row)) => row,
            // What came before a bad row is still printed.
            end => {
                scorer.score(group)?;
                return Ok(end.map(|_| ())?);
            }
        };
        if row.as_ref().is_none_or(|row| !group.takes(row)) {
            scorer.score(std::mem::take(&mut group))?;
        }
        if let Some(row) = row {
            group.add(line, row);
        }
    }
}

/// The row of a line: nothing for a blank line, and nothing at all at the end.
pub(super) fn read_row(input: &mut dyn BufRead, place: &str, number: usize) -> Result<Option<Option<Row>>> {
    let Some(text) = documents::line(input, place, number)? else { return Ok(None) };
    if text.trim().is_empty() {
        return Ok(Some(None));
    }
    let row = documents::json(&text, |_| format!("{place}:{number}"));
    row.map(|row| Some(Some(row))).map_err(|e| e.hint("expected {\"query\": \"...\", \"document\": \"...\"}"))
}

struct Scorer<'a> {
    common: &'a Common,
    reranker: &'a Reranker,
    place: &'a str,
    out: &'a mut dyn Write,
    bar: Progress,
    done: usize,
    /// What has been said already.
    warned: Vec<String>,
}

impl Scorer<'_> {
    fn score(&mut self, group: Group) -> Outcome {
        let Some(first) = group.rows.first() else { return Ok(()) };
        let common = self.common.request();
        let request = Request {
            query: &first.query,
            documents: group.rows.iter().map(|r| r.document.as_str()).collect(),
            instruction: first.instruction.as_deref().or(common.instruction),
            ..common
        };
        let scores = interrupt::pausing(|cancel| block_on(self.reranker.score(&request, cancel, &mut |_, _, _, _| {})));
        let scores = scores.map_err(|e| e.at(group.place(self.place)))?;
        for scored in &scores.scored {
            serde_json::to_writer(&mut *self.out, &Line::from(scored))?;
            writeln!(self.out)?;
        }
        self.out.flush()?;
        self.done += scores.scored.len();
        self.bar.set(self.done as u64);
        self.warn(&scores.warnings, group.lines.0);
        Ok(())
    }

    /// Says every kind of warning once: it would be the same for thousands of rows.
    fn warn(&mut self, warnings: &[String], line: usize) {
        for warning in warnings {
            let kind = kind(warning).to_owned();
            if !self.warned.contains(&kind) {
                note(self.common.quiet, &format!("{}:{line}: {warning}", self.place));
                self.warned.push(kind);
            }
        }
    }
}
