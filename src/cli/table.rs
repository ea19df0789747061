//! A ranking as a table for people: rank, score, a bar, a name if there are any, and as much text as the terminal is wide.

use std::io::{self, IsTerminal, Write};

use super::visible::{fit, one_line, visible, width};

/// Columns where no terminal says how many it has.
const DEFAULT_COLUMNS: usize = 100;
const FEWEST_COLUMNS: usize = 40;
const BAR: usize = 10;
const WIDEST_NAME: usize = 24;
const EIGHTHS: [&str; 8] = ["", "\u{258f}", "\u{258e}", "\u{258d}", "\u{258c}", "\u{258b}", "\u{258a}", "\u{2589}"];

/// One line of the table.
pub(crate) struct Row<'a> {
    /// The number to print: a probability or a logit difference.
    pub(crate) score: f32,
    /// The length of the bar, 0 to 1.
    pub(crate) probability: f32,
    /// The document's own name, or its index.
    pub(crate) name: String,
    pub(crate) text: &'a str,
    /// The document's end was cut before scoring.
    pub(crate) truncated: bool,
}

/// The width of the terminal on standard output.
pub(crate) fn columns() -> usize {
    let terminal = terminal_size::terminal_size_of(io::stdout()).map(|(w, _)| usize::from(w.0));
    let variable = || std::env::var("COLUMNS").ok()?.parse().ok();
    let known = if io::stdout().is_terminal() { terminal } else { variable() };
    known.unwrap_or(DEFAULT_COLUMNS).max(FEWEST_COLUMNS)
}

/// Writes the table; with `whole`, every text in full below its line.
pub(crate) fn write(out: &mut dyn Write, rows: &[Row], named: &str, columns: usize, whole: bool) -> io::Result<()> {
    let names: Vec<String> = rows.iter().map(|r| fit(&one_line(&r.name), WIDEST_NAME).into_owned()).collect();
    let name_width = names.iter().map(|n| width(n)).chain([named.len()]).max().unwrap_or(0);
    let rank_width = rows.len().to_string().len().max(1);
    let score_width = rows.iter().map(|r| format!("{:.4}", r.score).len()).chain(["score".len()]).max().unwrap_or(0);
    let fixed = rank_width + score_width + BAR + name_width + 4 * 2;
    writeln!(out, "{:>rank_width$}  {:<score_width$}  {:BAR$}  {named:<name_width$}  document", "#", "score", "")?;
    for (i, (row, name)) in rows.iter().zip(&names).enumerate() {
        let cut = if row.truncated { "[cut] " } else { "" };
        let text = format!("{cut}{}", if whole { String::new() } else { one_line(row.text) });
        let text = fit(text.trim_end(), columns.saturating_sub(fixed));
        let gap = " ".repeat(name_width - width(name));
        let line = format!(
            "{:>rank_width$}  {:>score_width$.4}  {}  {name}{gap}  {text}",
            i + 1,
            row.score,
            bar(row.probability)
        );
        writeln!(out, "{}", line.trim_end())?;
        if whole {
            for line in row.text.lines() {
                writeln!(out, "{}{}", " ".repeat(rank_width + 2), visible(line))?;
            }
        }
    }
    Ok(())
}

/// A bar of `BAR` columns, in eighths of a column.
fn bar(part: f32) -> String {
    let eighths = (part.clamp(0.0, 1.0) * (BAR * 8) as f32).round() as usize;
    let (full, rest) = (eighths / 8, eighths % 8);
    let drawn = "\u{2588}".repeat(full) + EIGHTHS[rest];
    let used = full + usize::from(rest > 0);
    drawn + &" ".repeat(BAR - used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_the_terminal_whatever_the_text() {
        let wide = "\u{4e2d}\u{6587} ".repeat(100);
        let hostile = "\u{1b}]0;title\u{7}\u{1b}[31mred\nsecond line".repeat(9);
        let texts = [wide.as_str(), &hostile, "short", ""];
        let rows: Vec<Row> = texts
            .iter()
            .enumerate()
            .map(|(i, text)| Row {
                score: -12.5 + i as f32,
                probability: i as f32 / 3.0,
                name: format!("id-{i}"),
                text,
                truncated: i == 0,
            })
            .collect();
        for columns in [FEWEST_COLUMNS, 80, 200] {
            let mut out = Vec::new();
            write(&mut out, &rows, "id", columns, false).unwrap();
            let out = String::from_utf8(out).unwrap();
            assert_eq!(out.lines().count(), 5, "{out}");
            assert!(out.lines().all(|l| width(l) <= columns), "{out}");
            assert!(!out.contains('\u{1b}') && out.contains("[cut]") && out.contains("-12.5000"), "{out}");
        }
    }

    #[test]
    fn bars_have_one_width() {
        assert_eq!(bar(0.0), " ".repeat(BAR));
        assert_eq!(bar(1.0), "\u{2588}".repeat(BAR));
        for i in 0..=100 {
            assert_eq!(bar(i as f32 / 100.0).chars().count(), BAR);
        }
    }
}
