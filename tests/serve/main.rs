//! The HTTP server: its dialects, what happens under load and over time, and the binary itself.
#![cfg(feature = "server")]
#![allow(missing_docs)]

mod behaviour;
mod binary;
mod connections;
mod dialects;
mod fake;
