//! The CPU kernels.
//!
//! **One body, several instruction sets.** `body.rs` holds each kernel once, as plain Rust over fixed-size arrays that the
//! compiler turns into vector registers; `arch.rs` compiles it for every instruction set, and an [`Isa`] value exists only where its
//! instructions do. Products of quantised weights need instructions that the compiler does not find by itself: they are in `int8/`.
//!
//! **The matrix product of floats.** Goto and van de Geijn's scheme (2008). Rows of x are packed `MR` at a time into panels `[K][MR]`,
//! rows of W are unpacked from their blocks and packed `NR` at a time into panels `[K][NR]`; a register tile of `MR x NR` sums walks down both. Each
//! weight is unpacked once per product and used for all rows of x. The inputs are walked in slices of `DEPTH`, so that
//! a slice of both panels stays in the first-level cache.
//!
//! **The same result whatever the company.** Every output element is a sum in an order that depends on the inputs' length alone:
//! not on the number of rows, the place in a tile, or the thread. So a batch of n equals n singles to the last bit.
//!
mod arch;
mod attention;
mod body;
mod ceiling;
mod int8;
mod product;
mod stash;
mod threads;

pub use arch::Isa;
pub use attention::{Scratch as AttentionScratch, Sequence, attend};
pub use ceiling::{Ceiling, ceiling};
pub use product::{Factors, Packed, Weight, gate_up, matmul};
pub use stash::Stash;
pub use threads::Threads;

/// A buffer that several threads write at once, each to its own columns.
///
/// The product's tasks own disjoint column ranges of the same rows, which no safe slice can express.
struct Stripes<'a> {
    start: *mut f32,
    len: usize,
    stride: usize,
    _buffer: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: a `Stripes` is only a pointer into a buffer that is borrowed exclusively for `'a`; all access goes through
// `row`, whose callers keep their columns apart.
unsafe impl Send for Stripes<'_> {}
// SAFETY: as above.
unsafe impl Sync for Stripes<'_> {}

impl<'a> Stripes<'a> {
    /// Rows of `stride` columns.
    fn new(buffer: &'a mut [f32], stride: usize) -> Self {
        assert!(stride > 0 && buffer.len().is_multiple_of(stride), "whole rows");
        Self { start: buffer.as_mut_ptr(), len: buffer.len(), stride, _buffer: std::marker::PhantomData }
    }

    /// Columns `from..from + len` of row `r`.
    ///
    /// # Safety
    /// While the slice lives, nobody else may hold these columns of this row.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    unsafe fn row(&self, r: usize, from: usize, len: usize) -> &mut [f32] {
        let start = r * self.stride + from;
        assert!(from + len <= self.stride && start + len <= self.len, "a stripe inside its buffer");
        // SAFETY: in range by the assertion; exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}

/// Where a task of the matrix product writes.
struct Target<'a> {
    stripes: &'a Stripes<'a>,
    /// First column.
    column: usize,
    /// Number of columns.
    columns: usize,
    /// Number of rows.
    rows: usize,
    /// Add to what is there.
    add: bool,
}

/// One task of attention: some queries of one head.
struct HeadTask<'a> {
    /// `[total, D]` keys of the head's key/value head, and a register tile's height of further rows.
    keys: &'a [f32],
    /// `[total, D]` values, likewise.
    values: &'a [f32],
    /// Position of the first query.
    first: usize,
    /// Number of queries.
    rows: usize,
    head_dim: usize,
    /// Queries in, results out.
    queries: &'a Stripes<'a>,
    /// First row in `queries`.
    row: usize,
    /// First column of the head.
    column: usize,
}
