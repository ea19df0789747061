//! Ctrl-C. Scoring ends at its next pause; whatever else is under way (a download, a read from a pipe) loses nothing by
//! ending at once. A second Ctrl-C always ends at once.

use std::{
    io::{IsTerminal, Write},
    process,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use super::exit::INTERRUPTED;
use crate::backend::{Cancel, Pace};

static CANCEL: OnceLock<Cancel> = OnceLock::new();
static PAUSES: AtomicBool = AtomicBool::new(false);

/// Starts to listen; a system that refuses keeps its own way to end programs.
pub(crate) fn listen() {
    let cancel = CANCEL.get_or_init(Cancel::default);
    let _ = ctrlc::set_handler(|| {
        if !PAUSES.load(Ordering::SeqCst) || cancel.cancelled() {
            leave();
        }
        cancel.cancel();
    });
}

/// Runs work that looks at the flag between its pieces and ends itself.
pub(crate) fn pausing<T>(work: impl FnOnce(&Cancel) -> T) -> T {
    let cancel = CANCEL.get_or_init(Cancel::default);
    PAUSES.store(true, Ordering::SeqCst);
    let result = work(cancel);
    PAUSES.store(false, Ordering::SeqCst);
    result
}

fn leave() -> ! {
    let mut stderr = std::io::stderr().lock();
    // A progress bar may stand on this line.
    let start = if stderr.is_terminal() { "\r\x1b[2K" } else { "" };
    let _ = writeln!(stderr, "{start}interrupted");
    process::exit(INTERRUPTED.into());
}
