//! Score query-document pairs with the Qwen3-Reranker models, where the user is.
//!
//! One model file and some texts become ranked documents: natively, in a browser and in Node, by one code path. A request walks a
//! straight line: its prompts are spelled ([`text`]), packed without padding with their shared prefix once ([`plan`]), run layer by layer
//! ([`backend`] with the kernels that [`kernels`] describes), judged by two dot products ([`model`]) and ranked ([`rerank`]). Model files come in
//! through [`weights`], which believes none of their numbers.
//!
//! ```no_run
//! use edge_reranker::{backend::Free, rerank::{rank, LoadOptions, RankOptions, Request, Reranker}, weights::{MemorySource, SourceFile}};
//!
//! # fn main() -> edge_reranker::Result<()> {
//! let bytes = std::fs::read("model.gguf").expect("a model file");
//! let files = vec![SourceFile::new("model.gguf", MemorySource(bytes.into()))];
//! let reranker = futures::executor::block_on(Reranker::load(files, LoadOptions::default(), |_, _| Ok(())))?;
//! let request = Request { query: "What is the capital of China?", documents: vec!["Beijing.", "Seoul."], ..Request::default() };
//! let scores = futures::executor::block_on(reranker.score(&request, &Free, &mut |_, _, _, _| {}))?;
//! for ranked in rank(&scores, &RankOptions::default()) {
//!     println!("{:.4} {}", ranked.relevance_score, request.documents[ranked.index]);
//! }
//! # Ok(())
//! # }
//! ```

pub mod backend;
mod error;
pub mod kernels;
#[cfg(feature = "cli")]
pub mod local;
pub mod model;
pub mod plan;
mod random;
pub mod rerank;
#[cfg(feature = "server")]
pub mod server;
pub mod text;
pub mod weights;

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "web")]
mod web;

pub use error::{Error, ErrorKind, Result};
