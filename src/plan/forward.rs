//! Qwen3 on one screen.
//!
//! Layer by layer over the whole packed batch; only one layer's keys and values are alive. Within a layer rows go through in chunks,
//! so that the wide buffers are small however long the batch is. In the last layer every row still gives its key and
//! value, but only the last row of each sequence asks, passes the feed-forward layer and is judged.

use std::ops::Range;

use super::{
    Batch, Joined, Prefix,
    step::{MatrixName as M, NormName, Rows, Slot, Step},
};

/// What a plan depends on.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// T
    pub rows: usize,
    /// S
    pub sequences: usize,
    /// Whether a prefix is to be kept.
    pub keeps: bool,
}

impl From<&Batch> for Size {
    fn from(b: &Batch) -> Self {
        Self { rows: b.tokens.len(), sequences: b.spans.len(), keeps: b.prefix == Prefix::Keep }
    }
}

impl From<&Joined<'_>> for Size {
    fn from(j: &Joined<'_>) -> Self {
        Self { rows: j.rows(), sequences: j.sequences(), keeps: j.keeps() }
    }
}

/// Plans the forward pass of a batch, or of several together, through `layers` layers in chunks of at most `chunk` rows.
pub fn forward(layers: usize, size: impl Into<Size>, chunk: usize) -> Vec<Step> {
    let Size { rows, sequences, keeps } = size.into();
    let all = || chunks(rows, chunk).map(Rows::Batch);
    let last = || chunks(sequences, chunk).map(Rows::Last);
    let mut plan = vec![Step::Embed];
    for layer in 0..layers {
        plan.push(Step::Layer(layer));
        for rows in all() {
            plan.push(Step::Norm { norm: NormName::Attn, rows: rows.clone() });
            plan.push(matmul(M::K, Slot::Normed, Slot::Key, &rows));
            plan.push(matmul(M::V, Slot::Normed, Slot::Value, &rows));
            plan.push(Step::HeadNormRope { slot: Slot::Key, rows });
        }
        if keeps {
            plan.push(Step::KeepPrefix(layer));
        }
        if layer + 1 < layers {
            // One chunk is still normed from before its keys and values.
            let normed = rows <= chunk;
            all().for_each(|rows| mix(&mut plan, layer, rows, normed));
        } else {
            plan.push(Step::TakeLast);
            last().for_each(|rows| mix(&mut plan, layer, rows, false));
        }
    }
    plan.extend(last().map(|rows| Step::Finish { rows }));
    plan
}

/// Attention and the feed-forward layer of some rows.
fn mix(plan: &mut Vec<Step>, layer: usize, rows: Rows, normed: bool) {
    if !normed {
        plan.push(Step::Norm { norm: NormName::Attn, rows: rows.clone() });
    }
    plan.push(matmul(M::Q, Slot::Normed, Slot::Query, &rows));
    plan.push(Step::HeadNormRope { slot: Slot::Query, rows: rows.clone() });
    plan.push(Step::Attend { layer, rows: rows.clone() });
    plan.push(matmul(M::O, Slot::Query, Slot::Residual, &rows));
    plan.push(Step::Norm { norm: NormName::Ffn, rows: rows.clone() });
    plan.push(Step::GateUp { rows: rows.clone() });
    plan.push(matmul(M::Down, Slot::Gate, Slot::Residual, &rows));
}

fn matmul(weight: M, from: Slot, to: Slot, rows: &Rows) -> Step {
    Step::MatMul { weight, from, to, rows: rows.clone() }
}

fn chunks(n: usize, chunk: usize) -> impl Iterator<Item = Range<usize>> {
    (0..n).step_by(chunk).map(move |start| start..n.min(start + chunk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Before, pack};

    #[test]
    fn only_last_rows_pass_the_last_feed_forward_layer() {
        let [batch] = &pack(&[1, 2], &[&[3, 4], &[5]], 100, 100, Before::Nothing)[..] else { panic!("one batch") };
        let plan = forward(3, batch, 4);
        let rows = |weight: M| {
            let steps = plan.iter().filter(|s| matches!(s, Step::MatMul { weight: w, .. } if *w == weight));
            steps.map(|s| if let Step::MatMul { rows, .. } = s { rows.len() } else { 0 }).collect::<Vec<_>>()
        };
        assert_eq!(rows(M::K), [4, 1, 4, 1, 4, 1]);
        assert_eq!(rows(M::Down), [4, 1, 4, 1, 2]);
    }
}
