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

use std::{io::Write, path::Path, time::Instant};

use super::{
    Common, documents,
    exit::{Failure, Outcome},
    model,
    progress::{count, note},
};
use export::Export;
use files::{Taken, Target};
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
    let sets = sets::read(&found, options, |path, unread| {
        if !unread.is_empty() {
            let text = format!("{}: fields that are not read: {}", documents::place_of(path), unread.join(", "));
            note(common.quiet, &text);
        }
    })?;
    let prepare_ms = milliseconds(started);
    let second = options.second_model.as_ref().map(|model| {
        // Its tokeniser is its own.
        Common { model: model.clone(), tokenizer: None, ..common.clone() }
    });

    // All that can be wrong with models, queries and files is found before the first model's hours of work.
    let mut taken = Taken::default();
    found.iter().map(|f| &f.path).chain(&options.corpus).for_each(|path| taken.read(path.as_ref()));
    for common in [Some(common), second.as_ref()].into_iter().flatten() {
        let model = model::find(common, &common.model)?;
        model.place.paths().filter(|path| *path != Path::new(model::BUILTIN)).for_each(|path| taken.read(path));
        scoring::check(common, model, &sets)?;
    }
    let mut export = Export::open(options, &sets, &kinds(options), &mut taken)?;
    let plot = options.plot.as_deref().map(|path| Target::open(path, &mut taken)).transpose()?;
    say_what_is_odd(common, options, &sets);

    let first = scoring::score(common, &sets, |query, scores| export.query(query, scores))?;
    let second = second.map(|common| scoring::score(&common, &sets, |_, _| Ok(()))).transpose()?;
    let systems = systems(options, &sets, &first, second.as_ref());
    let groups = Reporter::new(options, &sets, &systems).groups();
    // The report comes first: a disk that is full, or a reader who left, takes away only its own part.
    let printed = match options.format {
        Format::Json => {
            let report =
                json::Whole { sets: &sets, prepare_ms, first: &first, second: second.as_ref(), groups: &groups };
            json::write(out, common, options, &report)
        }
        Format::Table => table::write(out, options, &groups, &systems).map_err(Failure::from),
    };
    let printed = printed.and_then(|()| Ok(out.flush()?));
    export.sets(&sets, &systems)?;
    if let Some(plot) = plot {
        let mut lines = plot.start()?;
        lines.write(&plot::draw(options, &groups, &systems))?;
        lines.flush()?;
    }
    printed
}

/// The systems that there will be.
fn kinds(options: &Options) -> Vec<Kind> {
    let baseline = (options.baseline != Baseline::None).then_some(Kind::Baseline);
    let second = options.second_model.as_ref().map(|_| Kind::Second);
    [Some(Kind::Model), baseline, second].into_iter().flatten().collect()
}

fn say_what_is_odd(common: &Common, options: &Options, sets: &[Set]) {
    for set in sets {
        let relevant = |q: &&sets::Query| q.judged.values().any(|l| options.judging().relevant(*l));
        let without = set.queries.len() - set.queries.iter().filter(relevant).count();
        let place = documents::place_of(&set.path);
        if without > 0 {
            // nDCG knows the labels below it.
            let these = if options.relevant_from > 1 { " in map, mrr, recall and precision" } else { "" };
            let text = format!(
                "{place}: {} of {} queries have no relevant document and count 0{these}",
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
