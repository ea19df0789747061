//! How the API is set up.

use std::time::Duration;

/// Limits, keys and origins. [`Options::default`] is what the command line gives without options, apart from the cache, which is off.
#[derive(Clone, Debug)]
pub struct Options {
    /// Keys that let in; none lets everybody in.
    pub api_keys: Vec<String>,
    /// Origins whose pages may ask, `*` for all.
    pub cors: Vec<String>,
    /// The path before all others, such as `/api`.
    pub base_path: String,
    /// Documents in a request.
    pub max_documents: usize,
    /// Bytes of a request's body. An instruction counts once for each different query.
    pub max_body: usize,
    /// Bytes of the bodies of all requests under way, and of their answers until these are sent. Beside them and what they ask for the server holds little.
    pub max_bodies: usize,
    /// Tokens that a request may compute: the shared part of each query's prompts once, and the rest of each.
    pub max_tokens: Option<usize>,
    /// Tokens of one prompt; documents are cut.
    pub max_length: Option<usize>,
    /// Different queries in a request.
    pub max_queries: Option<usize>,
    /// Requests that may wait while one computes.
    pub max_queue: usize,
    /// Tokens that go through the model together; what the backend finds best, if none.
    pub batch_tokens: Option<usize>,
    /// From a request to its answer; clients may ask for less. What cannot end by then is refused.
    pub timeout: Option<Duration>,
    /// How long a request waits for the model to be loaded.
    pub load_wait: Duration,
    /// Seconds that clients are told to wait, unless it is known how long it will be.
    pub retry_after: u64,
    /// Scores that are remembered.
    pub cache: usize,
    /// What is logged.
    pub log: LogFormat,
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Errors alone, for people.
    #[default]
    Errors,
    /// A line a request, for people.
    Text,
    /// A JSON object a request.
    Json,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            api_keys: Vec::new(),
            cors: Vec::new(),
            base_path: String::new(),
            max_documents: 1000,
            max_body: 8 << 20,
            max_bodies: 64 << 20,
            max_tokens: None,
            max_length: None,
            max_queries: None,
            max_queue: 64,
            batch_tokens: None,
            timeout: None,
            load_wait: Duration::from_secs(3),
            retry_after: 5,
            cache: 0,
            log: LogFormat::default(),
        }
    }
}
