//! The words of a plan.

use std::ops::Range;

/// The buffers that steps read and write, all `f32` and row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slot {
    /// `[T, H]` or `[S, H]` the residual stream of the rows in hand.
    Residual,
    /// `[C, H]`
    Normed,
    /// `[C, heads * D]` queries, then what attention makes of them.
    Query,
    /// `[T, kv_heads * D]`
    Key,
    /// `[T, kv_heads * D]`
    Value,
    /// `[C, F]`
    Gate,
}

/// The rows that a step works on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Rows {
    /// Rows of the batch.
    Batch(Range<usize>),
    /// Last rows: entries `range` of the list of last rows. Their residual stream is a buffer of its own.
    Last(Range<usize>),
}

impl Rows {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Batch(r) | Self::Last(r) => r.len(),
        }
    }

    /// True for no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first, in its own list.
    pub fn start(&self) -> usize {
        match self {
            Self::Batch(r) | Self::Last(r) => r.start,
        }
    }
}

/// A weight matrix of the layer in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum MatrixName {
    Q,
    K,
    V,
    O,
    Down,
}

impl MatrixName {
    /// The one that this names, of a layer's q, k, v, o and down.
    pub fn of<T>(self, [q, k, v, o, down]: [T; 5]) -> T {
        match self {
            Self::Q => q,
            Self::K => k,
            Self::V => v,
            Self::O => o,
            Self::Down => down,
        }
    }
}

/// A norm's weight vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum NormName {
    Attn,
    Ffn,
    Output,
}

/// One piece of work. Scratch slots (`Normed`, `Query`, `Gate`) hold the rows in hand from their row 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Residual of all rows = their tokens' embeddings.
    Embed,
    /// The weights of layer `.0` are needed from here on, no others.
    Layer(usize),
    /// Normed = RMSNorm(residual of `rows`).
    Norm {
        /// Which weights.
        norm: NormName,
        /// Which rows.
        rows: Rows,
    },
    /// `to = from W^T`, or `to += from W^T` where `to` is the residual.
    MatMul {
        /// W
        weight: MatrixName,
        /// Input slot.
        from: Slot,
        /// Output slot.
        to: Slot,
        /// Which rows.
        rows: Rows,
    },
    /// RMSNorm on every head of `slot` (queries or keys), then the rotary position embedding.
    HeadNormRope {
        /// `Query` or `Key`.
        slot: Slot,
        /// Which rows.
        rows: Rows,
    },
    /// The keys and values of the shared prefix are set aside for later batches.
    KeepPrefix(usize),
    /// Query = causal attention of `rows` over their own sequence and the shared prefix.
    Attend {
        /// The layer, to find a kept prefix by.
        layer: usize,
        /// Which rows.
        rows: Rows,
    },
    /// Gate = silu(Normed Wgate^T) * (Normed Wup^T).
    GateUp {
        /// Which rows.
        rows: Rows,
    },
    /// From here on only the last row of each sequence is worked on: their residual is copied out.
    TakeLast,
    /// Residual of the last rows = RMSNorm(itself): the plan's result.
    Finish {
        /// Which rows.
        rows: Rows,
    },
}
