//! Work as plain data: a packed batch, and the steps that turn it into one hidden row for every document.
//!
//! T rows of tokens in the batch, S sequences to be judged, C rows in a chunk; H hidden, D head size, F feed-forward, L layers.

mod batch;
mod forward;
mod joined;
mod shares;
mod step;

pub use batch::{Batch, Before, Piece, Prefix, Span, pack};
pub use forward::{Size, forward};
pub use joined::{Joined, Tile};
pub use shares::{Share, passes, shares};
pub use step::{MatrixName, NormName, Rows, Slot, Step};
