//! How a run ends: exit codes, and errors as the user sees them.

use std::{io, process::ExitCode};

use super::visible::visible;
use crate::error::{Error, ErrorKind};

/// Why a run ended before its work was done.
pub(crate) enum Failure {
    /// An error to report.
    Refused(Error),
    /// Whoever read standard output stopped reading: nothing to report.
    Unread,
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Self::Refused(e)
    }
}

/// Only writing to standard output fails with a bare `io::Error`; all else is an [`Error`] with its place.
impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::BrokenPipe => Self::Unread,
            _ => {
                Self::Refused(Error::new(ErrorKind::Download, format!("cannot be written: {e}")).at("standard output"))
            }
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(e: serde_json::Error) -> Self {
        io::Error::from(e).into()
    }
}

impl From<csv::Error> for Failure {
    fn from(e: csv::Error) -> Self {
        match e.into_kind() {
            csv::ErrorKind::Io(e) => e.into(),
            other => io::Error::other(format!("{other:?}")).into(),
        }
    }
}

/// What a verb ends with.
pub(crate) type Outcome = Result<(), Failure>;

/// The exit code of an interrupted run, as shells count: 128 and the signal's number.
pub(crate) const INTERRUPTED: u8 = 130;

/// The exit code for each kind of error, as the help text lists them.
pub(crate) fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::BadInput | ErrorKind::TooLong => 2,
        ErrorKind::NoDevice | ErrorKind::DeviceLost | ErrorKind::Unsupported => 3,
        ErrorKind::BadModel | ErrorKind::Integrity => 4,
        ErrorKind::Aborted => INTERRUPTED,
        ErrorKind::Download | ErrorKind::OutOfMemory => 1,
    }
}

/// Reports what there is to report.
pub(crate) fn end(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) | Err(Failure::Unread) => ExitCode::SUCCESS,
        Err(Failure::Refused(e)) => {
            match e.kind() {
                ErrorKind::Aborted => eprintln!("interrupted"),
                _ => eprintln!("error: {}", visible(&e.to_string())),
            }
            code(e.kind()).into()
        }
    }
}
