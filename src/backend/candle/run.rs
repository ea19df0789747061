//! Walks a plan with candle's tensors.

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor};

use super::{
    Kept, failed,
    memory::chunk,
    network::{Layer, Network},
    ops::{self, TILE_ROWS, Tiles},
    place::Fences,
};
use crate::{
    backend::Pace,
    error,
    model::Logits,
    plan::{Batch, Joined, MatrixName, NormName, Rows, Slot, Step, forward},
};

/// The logits of every sequence of `batches`, in one pass; `kept` is one of each.
///
/// # Errors
/// `bad-input`, `oom`, `device-lost`, `aborted`, or `bad-model` for a logit that is no number.
pub(super) async fn run(
    network: &Network,
    batches: &[Batch],
    kept: Vec<&mut Kept>,
    pace: &dyn Pace,
) -> error::Result<Vec<Vec<Logits>>> {
    let joined = Joined::new(batches);
    let residual = network.embed(&joined.tokens())?;
    let mut run = Run::new(network, &joined, kept, residual).map_err(failed)?;
    for step in forward(network.layers.len(), &joined, chunk(joined.rows())) {
        run.step(&step).map_err(failed)?;
        if matches!(step, Step::Layer(_)) {
            pace.breathe().await?;
        }
    }
    let logits = run.results.chunks_exact(network.config.hidden).map(|row| network.head.judge(row));
    Ok(joined.by_batch(logits.collect::<error::Result<_>>()?))
}

/// What is on the device of the layer in hand.
struct Here {
    at: usize,
    device: Device,
    /// `[T, D]` and `[S, D]` the turns of the rows of the batch, and of its last rows.
    turns: [Tensor; 2],
    /// `[S]` the last rows.
    last_rows: Tensor,
    /// `[P + T, kv_heads * D]` keys and values: of the P rows of kept prefixes, then of the batches.
    keys: Tensor,
    values: Tensor,
    tiles: HashMap<Rows, Tiles>,
}

struct Run<'a> {
    network: &'a Network,
    batches: &'a Joined<'a>,
    /// One a batch.
    kept: Vec<&'a mut Kept>,
    layer: usize,
    here: Here,
    fences: Fences,
    /// `[T, H]` f32.
    residual: Tensor,
    /// `[S, H]` f32: the last rows' from the last layer on.
    last: Option<Tensor>,
    /// A product that is to be added to the residual of these rows: the next norm does it on its way.
    pending: Option<(Rows, Tensor)>,
    /// `[C, H]`, `[C, heads * D]`, `[C, F]`
    scratch: HashMap<Slot, Tensor>,
    /// `[S, H]` what the head judges.
    results: Vec<f32>,
}

impl Here {
    fn new(network: &Network, batches: &Joined, at: usize) -> Result<Self> {
        let (c, device) = (&network.config, &network.devices[at]);
        let (positions, last) = (batches.positions(), batches.last_rows());
        let most = positions.iter().copied().max().unwrap_or(0) as usize;
        let last_positions: Vec<u32> = last.iter().map(|&row| positions[row]).collect();
        let last: Vec<u32> = last.into_iter().map(|row| row as u32).collect();
        let turns =
            |positions: &[u32]| network.turns(at, &Tensor::from_slice(positions, positions.len(), device)?, most);
        let rows = batches.kept_rows() + batches.rows();
        Ok(Self {
            at,
            device: device.clone(),
            turns: [turns(&positions)?, turns(&last_positions)?],
            last_rows: Tensor::from_slice(&last, last.len(), device)?,
            keys: Tensor::zeros((rows, c.kv_width()), network.compute, device)?,
            values: Tensor::zeros((rows, c.kv_width()), network.compute, device)?,
            tiles: HashMap::new(),
        })
    }

    fn turns(&self, rows: &Rows) -> Result<Tensor> {
        self.turns[usize::from(matches!(rows, Rows::Last(_)))].narrow(0, rows.start(), rows.len())
    }
}

impl<'a> Run<'a> {
    fn new(
        network: &'a Network,
        batches: &'a Joined<'a>,
        mut kept: Vec<&'a mut Kept>,
        residual: Tensor,
    ) -> Result<Self> {
        batches.keep().for_each(|(i, _)| kept[i].clear());
        Ok(Self {
            network,
            batches,
            kept,
            layer: 0,
            here: Here::new(network, batches, 0)?,
            fences: Fences::default(),
            residual,
            last: None,
            pending: None,
            scratch: HashMap::new(),
            results: Vec::new(),
        })
    }

    fn layer(&self) -> &'a Layer {
        &self.network.layers[self.layer]
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Embed => Ok(()), // before the run: it has errors of its own
            Step::Layer(i) => self.enter(*i),
            Step::Norm { norm, rows } => self.norm(*norm, rows),
            Step::MatMul { weight, from, to, rows } => self.matmul(*weight, *from, *to, rows),
            Step::HeadNormRope { slot, rows } => self.head_norm_rope(*slot, rows),
            Step::KeepPrefix(_) => {
                for (i, rows) in self.batches.keep() {
                    let copy = |t: &Tensor| t.narrow(0, rows.start, rows.len())?.force_contiguous();
                    self.kept[i].push([copy(&self.here.keys)?, copy(&self.here.values)?]);
                }
                Ok(())
            }
            Step::Attend { rows, .. } => self.attend(rows),
            Step::GateUp { rows: _ } => {
                let (layer, x) = (self.layer(), self.slot(Slot::Normed));
                let gate = ops::swiglu(&layer.gate.apply(x)?, &layer.up.apply(x)?)?;
                self.scratch.insert(Slot::Gate, gate);
                Ok(())
            }
            Step::TakeLast => {
                self.settle()?;
                self.last = Some(self.residual.index_select(&self.here.last_rows, 0)?);
                Ok(())
            }
            Step::Finish { rows } => {
                self.settle()?;
                let x = self.residual(rows)?;
                let y = ops::rms_norm(&x, &self.network.output_norm, self.network.config.rms_eps, DType::F32)?;
                self.results.extend(y.flatten_all()?.to_vec1::<f32>()?);
                Ok(())
            }
        }
    }

    /// Goes on to layer `i`, and with it to its device.
    fn enter(&mut self, i: usize) -> Result<()> {
        self.fences.pass(&self.here.device)?;
        self.layer = i;
        let at = self.layer().at;
        if at != self.here.at {
            self.settle()?;
            self.scratch.clear();
            self.here = Here::new(self.network, self.batches, at)?;
            // Through the host, which waits for the one device before the other begins.
            self.residual = self.residual.to_device(&Device::Cpu)?.to_device(&self.here.device)?;
        }
        for (batch, row) in self.batches.kept() {
            let [keys, values] = &self.kept[batch][i];
            self.here.keys.slice_set(keys, 0, row)?;
            self.here.values.slice_set(values, 0, row)?;
        }
        Ok(())
    }

    fn slot(&self, slot: Slot) -> &Tensor {
        self.scratch.get(&slot).expect("a plan writes a slot before it reads it")
    }

    /// The residual stream of `rows`, a part of the whole.
    fn residual(&self, rows: &Rows) -> Result<Tensor> {
        let all = match rows {
            Rows::Batch(_) => &self.residual,
            Rows::Last(_) => self.last.as_ref().expect("a plan takes the last rows before it names them"),
        };
        all.narrow(0, rows.start(), rows.len())
    }

    /// Adds what is still to be added.
    fn settle(&mut self) -> Result<()> {
        match self.pending.take() {
            Some((rows, more)) => ops::add(&self.residual(&rows)?, &more),
            None => Ok(()),
        }
    }

    fn norm(&mut self, norm: NormName, rows: &Rows) -> Result<()> {
        let layer = self.layer();
        let w = match norm {
            NormName::Attn => &layer.attn_norm,
            NormName::Ffn => &layer.ffn_norm,
            NormName::Output => &self.network.output_norm,
        };
        let eps = self.network.config.rms_eps;
        let normed = match self.pending.take() {
            Some((pending, more)) if pending == *rows => ops::add_rms_norm(&self.residual(rows)?, &more, w, eps)?,
            other => {
                self.pending = other;
                self.settle()?;
                ops::rms_norm(&self.residual(rows)?, w, eps, self.network.compute)?
            }
        };
        self.scratch.insert(Slot::Normed, normed);
        Ok(())
    }

    fn matmul(&mut self, weight: MatrixName, from: Slot, to: Slot, rows: &Rows) -> Result<()> {
        let layer = self.layer();
        let w = weight.of([&layer.q, &layer.k, &layer.v, &layer.o, &layer.down]);
        let y = w.apply(self.slot(from))?;
        let row = self.batches.kept_rows() + rows.start();
        match to {
            Slot::Key => self.here.keys.slice_set(&y, 0, row),
            Slot::Value => self.here.values.slice_set(&y, 0, row),
            Slot::Residual => {
                self.settle()?;
                self.pending = Some((rows.clone(), y));
                Ok(())
            }
            slot => {
                self.scratch.insert(slot, y);
                Ok(())
            }
        }
    }

    fn head_norm_rope(&mut self, slot: Slot, rows: &Rows) -> Result<()> {
        let (layer, eps, turns) = (self.layer(), self.network.config.rms_eps, self.here.turns(rows)?);
        if slot == Slot::Key {
            let keys = self.here.keys.narrow(0, self.batches.kept_rows() + rows.start(), rows.len())?;
            return ops::head_norm_rope(&keys, &layer.k_norm, &turns, eps);
        }
        ops::head_norm_rope(self.slot(slot), &layer.q_norm, &turns, eps)
    }

    fn attend(&mut self, rows: &Rows) -> Result<()> {
        let c = &self.network.config;
        if !self.here.tiles.contains_key(rows) {
            let most = (TILE_ROWS * c.kv_heads / c.heads).max(1);
            let tiles = Tiles::new(self.batches.tiles(rows, most), &self.here.device)?;
            self.here.tiles.insert(rows.clone(), tiles);
        }
        let qkv = [self.slot(Slot::Query), &self.here.keys, &self.here.values];
        let out = ops::attend(qkv, &self.here.tiles[rows], c.head_dim, self.network.plain)?;
        self.scratch.insert(Slot::Query, out);
        Ok(())
    }
}
