//! The first metric of every set as a picture: a dot for each system, with the interval of its mean, and in figures how much the systems differ. Intervals of
//! two systems may overlap where the paired difference is sure.

use std::fmt::Write;

use super::{
    Options,
    report::{Figure, Group, Groups, System},
    table::{difference, difference_name, signed, title},
};
use crate::{
    cli::visible::{fit, one_line, width},
    rerank::metrics::Estimate,
};

/// Without the differences.
const PANEL: f64 = 860.0;
const TOP: f64 = 64.0;
const RIGHT: f64 = 24.0;
/// The width of a column of differences.
const COLUMN: f64 = 196.0;
const BOTTOM: f64 = 46.0;
/// Height for each system of a set, and between sets.
const STEP: f64 = 9.0;
const BETWEEN: f64 = 11.0;
/// About the width of a letter.
const LETTER: f64 = 6.9;
const WIDEST_NAME: usize = 36;

const STYLE: &str = "\
:root { color-scheme: light dark; --page: #fff; --ink: #1f2328; --soft: #59636e; --grid: #d8dee4; --s0: #0969da; --s1: #bc4c00; --s2: #1a7f37; }
@media (prefers-color-scheme: dark) { :root { --page: #0d1117; --ink: #f0f6fc; --soft: #9198a1; --grid: #2a313a; --s0: #58a6ff; --s1: #f0883e; --s2: #56d364; } }
.page { fill: var(--page); } text { font: 12px system-ui, sans-serif; fill: var(--soft); } .title { font-size: 14px; font-weight: 600; fill: var(--ink); }
.name { fill: var(--ink); } .end { text-anchor: end; } .mid { text-anchor: middle; } .grid { stroke: var(--grid); } .mean { font-weight: 600; }
.s0 { stroke: var(--s0); fill: var(--s0); } .s1 { stroke: var(--s1); fill: var(--s1); } .s2 { stroke: var(--s2); fill: var(--s2); }
.range { stroke-width: 2; opacity: .55; }";

/// The picture of the first metric.
pub(super) fn draw(options: &Options, groups: &Groups, systems: &[System]) -> String {
    let overall = (groups.sets.len() > 1).then_some(&groups.overall);
    let rows: Vec<&Group> = groups.sets.iter().chain(overall).collect();
    let of = |group: &Group, system: &System| group.metrics.first().and_then(|(_, f)| f.get(Figure::Of(system.kind)));
    let names: Vec<String> = rows.iter().map(|g| fit(&one_line(&g.name), WIDEST_NAME).into_owned()).collect();
    let left = 28.0 + LETTER * names.iter().map(|n| width(n)).max().unwrap_or(0) as f64;
    let lowest = rows.iter().flat_map(|g| systems.iter().filter_map(|s| of(g, s))).map(lowest_of).fold(1.0, f64::min);
    let from = (lowest * 10.0).floor().clamp(0.0, 9.0) / 10.0;
    let x = |value: f64| left + (value - from) / (1.0 - from) * (PANEL - RIGHT - left);
    let row_height = STEP * systems.len() as f64 + BETWEEN;
    let bottom = TOP + row_height * rows.len() as f64;
    let height = bottom + BOTTOM;
    let metric = options.metrics().first().map(|m| title(&m.to_string())).unwrap_or_default();

    let differences: Vec<Figure> = systems.iter().filter_map(|s| difference(s.kind)).collect();
    let total = PANEL + COLUMN * differences.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {total} {height:.0}\" width=\"{total}\" height=\"{height:.0}\" role=\"img\" \
         aria-label=\"{metric} by set\">\n<style>\n{STYLE}\n</style>\n<rect class=\"page\" width=\"{total}\" height=\"{height:.0}\"/>\n"
    );
    let _ = writeln!(svg, "<text x=\"16\" y=\"24\" class=\"title\">{metric} by set, with 95 % intervals</text>");
    legend(&mut svg, systems);
    let column = |d: usize| PANEL + COLUMN * (d + 1) as f64 - RIGHT;
    for (d, figure) in differences.iter().enumerate() {
        let name = difference_name(*figure);
        let _ = writeln!(svg, "<text class=\"name end\" x=\"{:.1}\" y=\"48\">{name}</text>", column(d));
    }
    for tenth in (from * 10.0).round() as u32..=10 {
        let at = x(f64::from(tenth) / 10.0);
        let _ = writeln!(svg, "<path class=\"grid\" d=\"M{at:.1} {TOP:.1}V{bottom:.1}\"/>");
        let _ = writeln!(
            svg,
            "<text class=\"mid\" x=\"{at:.1}\" y=\"{:.1}\">{:.1}</text>",
            bottom + 16.0,
            f64::from(tenth) / 10.0
        );
    }
    let _ = writeln!(
        svg,
        "<text class=\"mid\" x=\"{:.1}\" y=\"{:.1}\">{metric}</text>",
        (x(from) + x(1.0)) / 2.0,
        bottom + 34.0
    );
    for (r, (group, name)) in rows.iter().zip(&names).enumerate() {
        let top = TOP + row_height * r as f64;
        let is_mean = if r == groups.sets.len() { " mean" } else { "" };
        let middle = top + row_height / 2.0 + 4.0;
        let _ = writeln!(
            svg,
            "<text class=\"name end{is_mean}\" x=\"{:.1}\" y=\"{middle:.1}\">{}</text>",
            left - 10.0,
            escaped(name)
        );
        for (s, system) in systems.iter().enumerate() {
            let Some(e) = of(group, system) else { continue };
            let y = top + BETWEEN / 2.0 + STEP * (s as f64 + 0.5);
            let said = format!("{name}, {}: {}", one_line(&system.name), told(e));
            let range = e.interval().map_or_else(String::new, |(low, high)| {
                format!("<path class=\"range\" d=\"M{:.1} {y:.1}H{:.1}\"/>", x(low), x(high))
            });
            let _ = writeln!(
                svg,
                "<g class=\"s{s}\"><title>{}</title>{range}<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"3.5\"/></g>",
                escaped(&said),
                x(e.mean)
            );
        }
        for (d, figure) in differences.iter().enumerate() {
            let Some(e) = group.metrics.first().and_then(|(_, f)| f.get(*figure)) else { continue };
            let at = column(d);
            let _ = writeln!(
                svg,
                "<text class=\"end{is_mean}\" x=\"{at:.1}\" y=\"{middle:.1}\">{}</text>",
                signed(e).trim_end()
            );
        }
    }
    svg + "</svg>\n"
}

fn legend(svg: &mut String, systems: &[System]) {
    let mut at = 16.0;
    for (s, system) in systems.iter().enumerate() {
        let name = fit(&one_line(&system.name), WIDEST_NAME).into_owned();
        let _ = writeln!(svg, "<circle class=\"s{s}\" cx=\"{:.1}\" cy=\"44\" r=\"3.5\"/>", at + 4.0);
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"48\">{}</text>", at + 13.0, escaped(&name));
        at += 36.0 + LETTER * width(&name) as f64;
    }
}

fn lowest_of(e: Estimate) -> f64 {
    e.low.unwrap_or(e.mean)
}

fn told(e: Estimate) -> String {
    let interval = e.interval().map_or_else(String::new, |(low, high)| format!(" ({low:.4} to {high:.4})"));
    format!("{:.4}{interval}", e.mean)
}

/// Text inside an element.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
