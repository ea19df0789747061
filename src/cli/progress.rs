//! Notes and progress bars, on standard error only. `--quiet` silences both; bars appear on a terminal only, and only for work that
//! takes longer than a blink.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::visible::visible;

/// Work that is done sooner shows no bar.
const BLINK: Duration = Duration::from_millis(300);

/// Says something that is no result.
pub(crate) fn note(quiet: bool, text: &str) {
    if !quiet {
        eprintln!("note: {}", visible(text));
    }
}

/// What a warning says, without the place that it begins with: it may be the same for thousands of rows.
pub(crate) fn kind(warning: &str) -> &str {
    warning.trim_start_matches(|c: char| c != ' ')
}

/// A size as people read it: `639 MB`.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} bytes"),
        1000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// A number with its thousands apart: `595,776,512`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(d);
    }
    out
}

/// What a bar counts.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// Bytes of a local file.
    Bytes,
    /// Bytes over a network, with speed and time left.
    Download,
    /// Documents of a request.
    Documents,
    /// Tensors of a model.
    Tensors,
    /// Rows of a file whose length is not known.
    Rows,
}

impl Unit {
    fn template(self) -> &'static str {
        match self {
            Self::Bytes => "{msg} [{bar:24}] {bytes} of {total_bytes}",
            Self::Download => "{msg} [{bar:24}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
            Self::Documents => "{msg} [{bar:24}] {human_pos} of {human_len}, {eta} left",
            Self::Tensors => "{msg} [{bar:24}] {human_pos} of {human_len} tensors, {eta} left",
            Self::Rows => "{msg} {human_pos} rows, {per_sec}",
        }
    }
}

/// A bar, or nothing where nobody would see it.
pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
}

impl Progress {
    /// A bar up to `total`; `shown` is false for quiet runs.
    pub(crate) fn new(shown: bool, unit: Unit, message: impl Into<String>, total: Option<u64>) -> Self {
        // Hidden until it is worth looking at; an indicatif bar on anything but a terminal stays so.
        let bar = if shown {
            ProgressBar::with_draw_target(total, indicatif::ProgressDrawTarget::stderr())
        } else {
            ProgressBar::hidden()
        };
        let style = ProgressStyle::with_template(unit.template()).expect("a template of ours").progress_chars("=> ");
        bar.set_style(style);
        bar.set_message(visible(&message.into()).into_owned());
        Self { bar, started: Instant::now() }
    }

    /// Sets how much was done before this run: it counts for the bar, not for its speed.
    pub(crate) fn start(&self, done: u64) {
        self.bar.set_position(done);
        self.bar.reset_eta();
    }

    /// Sets how much there is to do.
    pub(crate) fn total(&self, total: u64) {
        self.bar.set_length(total);
    }

    /// Sets how much is done.
    pub(crate) fn set(&self, done: u64) {
        if self.started.elapsed() >= BLINK {
            self.bar.set_position(done);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
