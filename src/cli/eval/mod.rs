//! `eval`: how well a model ranks, beside BM25 and beside a second model.
//!
//! Lines become queries with candidates (`rows`, `sets`, `retrieval`), a model scores them (`scoring`), figures are taken of the rankings (`report`) and shown (`table`,
//! `json`, `plot`), and everything can be written for other tools to check (`export`).

mod compressed;
mod export;
mod files;
mod json;
mod options;
mod plot;
mod report;
mod retrieval;
mod rows;
mod scoring;
mod sets;
mod table;

use std::{io::Write, time::Instant};

use super::{
    Common, documents,
    exit::Outcome,
    model,
    progress::{count, note},
};
use export::Export;
use files::Target;
pub(crate) use options::Options;
use options::{Baseline, By, Format};
use report::{Kind, Reporter, System};
use scoring::{Scored, milliseconds};
use sets::Set;

/// Runs the verb.
pub(crate) fn run(common: &Common, options: &Options, out: &mut dyn Write) -> Outcome {
    common.device()?;
    options.check()?;
    let started = Instant::now();
    let found = files::find(&options.data)?;
    let mut inputs: Vec<&str> = found.iter().map(|f| f.path.as_str()).collect();
    inputs.extend(options.corpus.as_deref());
    let sets = sets::read(&found, options)?;
    let prepare_ms = milliseconds(started);
    let mut export = Export::open(options, &sets, &inputs)?;
    let plot = options.plot.as_deref().map(|path| Target::open(path, &inputs)).transpose()?;
    say_what_is_odd(common, options, &sets);
    let second = options.second_model.as_ref().map(|model| {
        // Its tokeniser is its own.
        Common { model: model.clone(), tokenizer: None, ..common.clone() }
    });
    if let Some(second) = &second {
        model::find(second, &second.model)?; // now, and not after the first model's work
    }

    let first = scoring::score(common, &sets, |query, scores| export.query(query, scores))?;
    let second = second.map(|common| scoring::score(&common, &sets, |_, _| Ok(()))).transpose()?;
    let systems = systems(options, &sets, &first, second.as_ref());
    export.sets(&sets, &systems)?;
    let groups = Reporter::new(options, &sets, &systems).groups();
    if let Some(plot) = plot {
        let mut lines = plot.start()?;
        lines.write(&plot::draw(options, &groups, &systems))?;
        lines.flush()?;
    }
    match options.format {
        Format::Json => json::write(out, common, options, &sets, prepare_ms, &first, second.as_ref(), &groups),
        Format::Table => Ok(table::write(out, options, &groups, &systems)?),
    }
}

fn say_what_is_odd(common: &Common, options: &Options, sets: &[Set]) {
    for set in sets {
        let relevant = |q: &&sets::Query| q.judged.values().any(|l| options.judging().relevant(*l));
        let without = set.queries.len() - set.queries.iter().filter(relevant).count();
        let place = documents::place_of(&set.path);
        if without > 0 {
            let text = format!(
                "{place}: {} of {} queries have no relevant document and count 0",
                count(without as u64),
                set.queries.len()
            );
            note(common.quiet, &text);
        }
        if set.missing > 0 {
            let text = format!(
                "{place}: {} relevant documents are nowhere to be found, which no ranking can mend",
                count(set.missing as u64)
            );
            note(common.quiet, &text);
        }
    }
}

fn systems<'a>(options: &Options, sets: &'a [Set], first: &'a Scored, second: Option<&'a Scored>) -> Vec<System<'a>> {
    let of_model = |kind, scored: &'a Scored| System {
        kind,
        name: scored.model.clone(),
        score: Box::new(move |s, q, c| f64::from(scored.scores[s][q][c])),
    };
    let mut systems = vec![of_model(Kind::Model, first)];
    if options.baseline != Baseline::None {
        let name = if options.baseline == Baseline::Bm25 { "BM25" } else { "given" };
        systems.push(System {
            kind: Kind::Baseline,
            name: name.into(),
            score: Box::new(|s, q, c| sets[s].queries[q].candidates[c].baseline),
        });
    }
    systems.extend(second.map(|scored| of_model(Kind::Second, scored)));
    if let Some(second) = systems.iter_mut().find(|s| s.kind == Kind::Second && s.name == first.model) {
        second.name += " (second)"; // files of one name in two folders
    }
    systems
}
