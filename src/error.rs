//! One error type for every surface: a stable kind, where it happened, what was found and what to do.

use std::fmt;

/// What kind of failure this is. [`ErrorKind::code`] is stable and the same in Rust, JavaScript, and HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// This build or machine cannot do what was asked.
    Unsupported,
    /// The device asked for is not there.
    NoDevice,
    /// The device was there and is gone: its driver restarted, it was unplugged, or the system took it away.
    DeviceLost,
    /// An allocation was refused.
    OutOfMemory,
    /// A file or address could not be read.
    Download,
    /// A file's content does not match its digest or length.
    Integrity,
    /// The model or tokeniser file is wrong, truncated, hostile or of an unknown kind.
    BadModel,
    /// The request is wrong: text, numbers, options.
    BadInput,
    /// The query leaves no room for a document within the maximum length.
    TooLong,
    /// The caller cancelled.
    Aborted,
}

impl ErrorKind {
    const ALL: [Self; 10] = [
        Self::Unsupported,
        Self::NoDevice,
        Self::DeviceLost,
        Self::OutOfMemory,
        Self::Download,
        Self::Integrity,
        Self::BadModel,
        Self::BadInput,
        Self::TooLong,
        Self::Aborted,
    ];

    /// The kind of a stable code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.code() == code)
    }

    /// The stable code that users match on.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::NoDevice => "webgpu-unavailable",
            Self::DeviceLost => "device-lost",
            Self::OutOfMemory => "oom",
            Self::Download => "download",
            Self::Integrity => "integrity",
            Self::BadModel => "bad-model",
            Self::BadInput => "bad-input",
            Self::TooLong => "too-long",
            Self::Aborted => "aborted",
        }
    }
}

/// An error that says where, what and what to do.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    /// Outermost first: a file, a tensor, a field.
    place: Vec<String>,
    what: String,
    hint: Option<String>,
    lasting: bool,
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`; `what` says what was found and, where it helps, what was expected.
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, place: Vec::new(), what: what.into(), hint: None, lasting: false }
    }

    pub(crate) fn bad_model(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadModel, what)
    }

    pub(crate) fn bad_input(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadInput, what)
    }

    pub(crate) fn aborted() -> Self {
        Self::new(ErrorKind::Aborted, "the request was cancelled")
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names the place, from the inside out: call it again with the enclosing place.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place.insert(0, place.into());
        self
    }

    /// Says that trying again changes nothing, in a kind that otherwise passes: an id that no host knows.
    #[must_use]
    pub fn lasting(mut self) -> Self {
        self.lasting = true;
        self
    }

    /// True where the same may succeed later: a host that cannot be reached, memory or a device that others hold.
    pub fn may_pass(&self) -> bool {
        !self.lasting && matches!(self.kind, ErrorKind::Download | ErrorKind::DeviceLost | ErrorKind::OutOfMemory)
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Shorthand for `kind().code()`.
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Names the place of an error on its way out.
pub(crate) trait Place<T> {
    fn at(self, place: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Place<T> for Result<T> {
    fn at(self, place: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| e.at(place()))
    }
}
