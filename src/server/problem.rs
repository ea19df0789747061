//! Failures as HTTP answers. What a client may read is in the message; what only the operator may know goes to the log.

use serde_json::{Value, json};

use crate::error::{Error, ErrorKind};

/// Why a request is not answered with scores.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) status: u16,
    /// Names the kind of failure.
    pub(super) code: &'static str,
    pub(super) message: String,
    /// The field that is wrong.
    pub(super) param: Option<String>,
    /// Of the answer.
    pub(super) headers: Vec<(&'static str, String)>,
    /// For the log.
    pub(super) cause: Option<String>,
}

impl Problem {
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), param: None, headers: Vec::new(), cause: None }
    }

    pub(super) fn param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    pub(super) fn cause(mut self, cause: impl ToString) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// Ask again in so many seconds.
    pub(super) fn busy(status: u16, code: &'static str, message: &str, seconds: u64) -> Self {
        Self::new(status, code, message).header("retry-after", seconds)
    }

    /// What an error of the engine is to a client: those that speak of the request are the client's to read.
    pub(super) fn of(error: &Error, retry_after: u64) -> Self {
        let code = error.code();
        let lost = "The model is not at hand at the moment: ask again soon.";
        match error.kind() {
            ErrorKind::BadInput | ErrorKind::TooLong | ErrorKind::Unsupported => {
                Self::new(400, code, error.to_string())
            }
            ErrorKind::Aborted => Self::new(499, code, "The client went away."),
            ErrorKind::DeviceLost | ErrorKind::Download | ErrorKind::Integrity => {
                Self::busy(503, code, lost, retry_after).cause(error)
            }
            ErrorKind::OutOfMemory => {
                Self::new(500, code, "The engine ran out of memory: send fewer or shorter documents.").cause(error)
            }
            _ => Self::internal(error),
        }
    }

    pub(super) fn internal(cause: impl ToString) -> Self {
        Self::new(500, "internal", "The server failed to answer: its log has the reason.").cause(cause)
    }

    fn kind(&self) -> &'static str {
        match self.status {
            400 | 405 | 415 | 422 => "invalid_request_error",
            401 => "authentication_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            499 => "client_closed_request",
            503 => "unavailable_error",
            504 => "timeout_error",
            _ => "server_error",
        }
    }

    /// The shape that most clients read one field or another of.
    pub(super) fn body(&self) -> Value {
        let Self { message, param, code, .. } = self;
        json!({
            "error": { "message": message, "type": self.kind(), "param": param, "code": code },
            "message": message,
            "detail": message,
        })
    }
}

pub(super) fn bad(param: &str, message: impl Into<String>) -> Problem {
    Problem::new(400, "bad-input", message).param(param)
}

pub(super) fn too_large(message: impl Into<String>) -> Problem {
    Problem::new(413, "too-large", message)
}
