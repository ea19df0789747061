//! Text to token ids. The `tokenizers` crate does the work; here stands what a reranker needs beside it: user text that can never
//! become a control token, prompts cut at the right end, and the prefix that all documents of a query share.

mod arrays;
mod spell;
mod tokenizer;

pub use arrays::GgufTokens;
pub(crate) use spell::{Asked, Prompt, Speller, Spelling};
pub use tokenizer::Tokenizer;
