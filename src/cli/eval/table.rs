//! The report as tables for people, one for each metric.

use std::io::{self, Write};

use super::{
    super::{
        progress::count,
        visible::{fit, one_line, width},
    },
    By, Options,
    report::{Figure, Group, Groups, Kind, System},
};
use crate::rerank::metrics::{Estimate, Gain};

const WIDEST_NAME: usize = 32;
const WIDEST_MODEL: usize = 20;

pub(super) fn write(out: &mut dyn Write, options: &Options, groups: &Groups, systems: &[System]) -> io::Result<()> {
    let rows = rows(options.by, groups);
    for (m, metric) in options.metrics().iter().enumerate() {
        if m > 0 {
            writeln!(out)?;
        }
        let mut lines = vec![header(&title(&metric.to_string()), options, systems)];
        lines.extend(rows.iter().map(|(indent, group)| line(*indent, group, m, options, systems)));
        print(out, &lines)?;
    }
    let gain = if options.gain() == Gain::Linear { "the label" } else { "2^label - 1" };
    let resamples = count(options.resamples.into());
    writeln!(out, "\nIn brackets: 95 % intervals, paired bootstrap of {resamples} draws. nDCG's gain: {gain}.")
}

/// The lines' groups, and whether they belong to the one above.
fn rows(by: By, groups: &Groups) -> Vec<(bool, &Group)> {
    let of_sets = groups.sets.iter().flat_map(|set| {
        let languages = if by == By::Both { &set.languages[..] } else { &[] };
        [(false, set)].into_iter().chain(languages.iter().map(|group| (true, group)))
    });
    let overall = (groups.sets.len() > 1).then_some((false, &groups.overall));
    match by {
        By::Set | By::Both => of_sets.chain(overall).collect(),
        // A mean of sets is none of these languages.
        By::Language => groups.languages.iter().map(|group| (false, group)).collect(),
    }
}

fn header(title: &str, options: &Options, systems: &[System]) -> Vec<String> {
    let mut cells = vec![title.to_owned(), "queries".into()];
    for system in systems {
        cells.push(fit(&one_line(&system.name), WIDEST_MODEL).into_owned());
        cells.extend(difference(system.kind).map(|figure| difference_name(figure).into()));
    }
    cells.extend(options.depth().map(|depth| format!("found@{depth}")));
    cells
}

fn line(indent: bool, group: &Group, metric: usize, options: &Options, systems: &[System]) -> Vec<String> {
    let indent = if indent { "  " } else { "" };
    let name = format!("{indent}{}", fit(&one_line(&group.name), WIDEST_NAME));
    let mut cells = vec![name, count(group.queries as u64)];
    let figure = |figure| group.metrics.get(metric).and_then(|(_, figures)| figures.get(figure));
    for system in systems {
        cells.push(figure(Figure::Of(system.kind)).map_or_else(String::new, |e| format!("{:.4}", e.mean)));
        if let Some(difference) = difference(system.kind) {
            cells.push(figure(difference).map_or_else(String::new, signed));
        }
    }
    cells.extend(options.depth().map(|_| group.retrieval_recall.map_or_else(|| "-".into(), |r| format!("{r:.4}"))));
    cells
}

/// The difference that stands behind a system: the model's behind the baseline, the second model's behind itself.
pub(super) fn difference(kind: Kind) -> Option<Figure> {
    match kind {
        Kind::Model => None,
        Kind::Baseline => Some(Figure::Difference(Kind::Model, Kind::Baseline)),
        Kind::Second => Some(Figure::Difference(Kind::Second, Kind::Model)),
    }
}

/// What a difference is called.
pub(super) fn difference_name(figure: Figure) -> &'static str {
    match figure {
        Figure::Difference(Kind::Model, _) => "model - baseline",
        _ => "second - first",
    }
}

/// A difference with its interval, which one query does not have.
pub(super) fn signed(e: Estimate) -> String {
    match e.interval() {
        None => format!("{:+.4} {:18}", e.mean, ""),
        Some((low, high)) => format!("{:+.4} [{low:+.4}, {high:+.4}]", e.mean),
    }
}

/// The metric as it is usually written.
pub(super) fn title(metric: &str) -> String {
    match metric.split_at(metric.find('@').unwrap_or(metric.len())) {
        ("ndcg", rest) => format!("nDCG{rest}"),
        ("map", rest) => format!("MAP{rest}"),
        ("mrr", rest) => format!("MRR{rest}"),
        _ => metric.to_owned(),
    }
}

/// Names to the left, numbers to the right.
fn print(out: &mut dyn Write, lines: &[Vec<String>]) -> io::Result<()> {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |c: usize| lines.iter().filter_map(|l| l.get(c)).map(|cell| width(cell)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(widest).collect();
    for line in lines {
        let mut text = String::new();
        for (c, (cell, wide)) in line.iter().zip(&widths).enumerate() {
            let gap = " ".repeat(wide - width(cell));
            match c {
                0 => text += &(cell.clone() + &gap),
                _ => text += &format!("  {gap}{cell}"),
            }
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}
