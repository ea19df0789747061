//! What a reranker is measured against, and what finds candidates: BM25 over words.
//!
//! [`Analyzer`] makes terms of a text, [`Bm25`] scores them (k1 = 1.2, b = 0.75).

mod analyzer;
mod bm25;

pub use analyzer::Analyzer;
pub use bm25::Bm25;
