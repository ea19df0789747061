//! The HTTP API of one model: other rerankers' clients ask it as they ask their own servers. `docs/server.md` says how to run it.
//!
//! A request is read in the words of its dialect (`dialects`), its texts become tokens beside the computing thread (`score`), and wait at the
//! desk (`desk`), where documents of many requests fill one batch (`fill`), fairly (`fair`) and in time (`promise`). The same API as a JavaScript function is `pkg/src/server/`;
//! `tests/dialects` holds requests and replies for both.

mod answers;
mod api;
mod ask;
mod auth;
mod body;
mod bounds;
mod cache;
mod call;
mod cors;
mod desk;
mod dialects;
mod engine;
mod fair;
mod fields;
mod fill;
mod job;
mod json;
mod linger;
mod listen;
mod log;
mod metrics;
mod openapi;
mod options;
mod problem;
mod promise;
mod routes;
mod score;
mod socket;
mod speed;
mod stderr;

pub use api::{Api, Load};
pub use cors::origin;
pub use engine::{Engine, EngineInfo, Model, Spell};
pub use listen::{Limits, Signals, serve};
pub use log::{flush as flush_log, report as log_error};
pub use options::{LogFormat, Options};
