//! Ctrl-C. Scoring ends at its next pause; whatever else is under way (a download, a read from a pipe) loses nothing by
//! ending at once. A second Ctrl-C always ends at once.

use std::{
    fs,
    io::{IsTerminal, Write},
    path::PathBuf,
    process,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::exit::INTERRUPTED;
use crate::backend::{Cancel, Pace};

static CANCEL: OnceLock<Cancel> = OnceLock::new();
static PAUSES: AtomicBool = AtomicBool::new(false);
/// A file that is of no use unless the run ends well.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

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

/// A file under way: removed when this is dropped, and when an interrupt ends the run before that.
pub(crate) struct Unfinished;

impl Unfinished {
    pub(crate) fn new(path: PathBuf) -> Self {
        *UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner) = Some(path);
        Self
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        remove_unfinished();
    }
}

/// One that has got its final name is no longer there: that is well.
fn remove_unfinished() {
    if let Some(path) = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = fs::remove_file(path);
    }
}

fn leave() -> ! {
    remove_unfinished();
    let mut stderr = std::io::stderr().lock();
    // A progress bar may stand on this line.
    let start = if stderr.is_terminal() { "\r\x1b[2K" } else { "" };
    let _ = writeln!(stderr, "{start}interrupted");
    process::exit(INTERRUPTED.into());
}
