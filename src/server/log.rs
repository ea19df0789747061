//! One line a request on standard error: for people, or as JSON. No line holds a query or a document.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::{options::LogFormat, stderr::STDERR};

/// How long a server that ends waits for whoever reads its log.
const LAST_LINES: Duration = Duration::from_secs(2);
const LOST: &str = "lines of the log were lost, since nobody read them";

/// What is said of a request.
#[derive(Serialize)]
pub(super) struct Record<'a> {
    pub(super) request_id: &'a str,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dialect: Option<&'a str>,
    #[serde(flatten)]
    pub(super) work: Work,
    pub(super) total_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<&'a str>,
}

/// What was done for it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Work {
    pub(super) documents: usize,
    /// Of all prompts.
    pub(super) tokens: usize,
    /// Of documents, that went through the model for it.
    pub(super) computed_tokens: usize,
    /// Documents whose score was known.
    pub(super) cached: usize,
    pub(super) queue_ms: f64,
    pub(super) compute_ms: f64,
}

#[derive(Serialize)]
struct Line<'a, T> {
    time: &'a str,
    level: &'a str,
    #[serde(flatten)]
    what: T,
}

#[derive(Serialize)]
struct Said<'a> {
    message: &'a str,
}

#[derive(Serialize)]
struct Told<'a> {
    message: &'a str,
    error: &'a str,
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[derive(Clone, Copy)]
pub(super) struct Log(pub(super) LogFormat);

impl Log {
    /// A request was answered.
    pub(super) fn request(self, record: &Record<'_>) {
        // What is refused for lack of room or time is no failure of the server's parts.
        let level = match record.status {
            _ if record.error.is_some() => "error",
            429 | 503 | 504 => "warn",
            _ => "info",
        };
        match self.0 {
            LogFormat::Json => self.say(json(level, record)),
            LogFormat::Errors if record.error.is_none() => {}
            LogFormat::Text | LogFormat::Errors => {
                let Record { request_id, method, path, status, work, total_ms, .. } = record;
                let Work { documents, tokens, cached, queue_ms, .. } = work;
                let dialect = record.dialect.unwrap_or("-");
                let error = record.error.map_or(String::new(), |e| format!(": {e}"));
                let line = format!(
                    "{status} {method} {path} {total_ms:.1} ms, {documents} documents, {tokens} tokens, {cached} cached, \
                     {queue_ms:.1} ms in the queue, {dialect}, {request_id}{error}"
                );
                self.say(text(&line));
            }
        }
    }

    /// Something failed that no client is told of.
    pub(super) fn error(self, message: &str, error: &dyn std::fmt::Display) {
        match self.0 {
            LogFormat::Json => self.say(json("error", &Told { message, error: &error.to_string() })),
            _ => self.say(text(&format!("error: {message}: {error}"))),
        }
    }

    fn say(self, line: String) {
        match self.0 {
            LogFormat::Json => STDERR.say(line, |n| json("warn", &Said { message: &format!("{LOST}: {n}") })),
            _ => STDERR.say(line, |n| text(&format!("{LOST}: {n}"))),
        }
    }
}

fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

fn text(line: &str) -> String {
    let clean: String = line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    format!("{} {clean}", now())
}

fn json(level: &str, what: &impl Serialize) -> String {
    let line = Line { time: &now(), level, what };
    serde_json::to_string(&line).expect("names are strings")
}

/// Logs a failure of the process, in this format.
pub fn report(format: LogFormat, message: &str, error: &dyn std::fmt::Display) {
    Log(format).error(message, error);
}

/// Waits for the lines that are not written yet, for two seconds at most. False if nobody reads them.
pub fn flush() -> bool {
    STDERR.flush(LAST_LINES)
}
