//! The CPU executor: walks a plan with the kernels of [`super::simd`].

mod memory;
mod network;
mod streamed;

use std::{ops::Range, sync::Arc};

use memory::Frame;
pub use memory::{check_memory, working_bytes};
use network::{Network, Resident};
use streamed::Streamed;

use super::{
    Backend, KeptPrefix, Pace,
    simd::{self, AttentionScratch, Isa, Packed, Sequence, Stash, Threads, Weight},
};
use crate::{
    error::{Error, ErrorKind, Result},
    kernels::head_norm_rope,
    model::{Config, Logits},
    plan::{Batch, Joined, MatrixName, NormName, Prefix, Rows, Slot, Step, forward},
    weights::{BoxFuture, Layer, Loading, ModelFile},
};

/// Rows in a batch, and multiply-adds: for the 0.6B the fewest rows, which take one to three seconds on one thread, so that first scores come
/// early; for small models as many as take about a second.
const BATCH: Range<u64> = if WASM { 256..4096 } else { 1024..4096 };
const BATCH_WORK: u64 = if WASM { 6_000_000_000 } else { 30_000_000_000 };
/// Multiply-adds between two pauses on one thread: some milliseconds on a desktop, less than 200 on a slow phone.
const PIECE: u64 = if WASM { 200_000_000 } else { 1_000_000_000 };
const WASM: bool = cfg!(target_arch = "wasm32");

fn batch_rows(config: &Config) -> usize {
    (BATCH_WORK / config.layer_parameters()).clamp(BATCH.start, BATCH.end) as usize
}

/// Runs plans on the CPU, on all threads it is given.
pub struct Cpu {
    network: Box<dyn Network>,
    isa: Isa,
    threads: Threads,
    frame: Frame,
}

impl Cpu {
    /// Loads a model for `threads` threads, 0 for one a core, and an instruction set.
    ///
    /// # Errors
    /// `bad-model`, `download`, `oom` or `aborted` as met.
    pub async fn load(loading: Loading<'_>, threads: usize, isa: Isa) -> Result<Self> {
        let threads = Threads::new(threads)?;
        let network = Box::new(Resident::load(loading, &|matrix| Weight::new(isa, &threads, matrix)).await?);
        Ok(Self { network, isa, threads, frame: Frame::RESIDENT })
    }

    /// Opens a model whose weights stay in `file`: every batch reads them layer by layer, and about `memory` bytes are taken in all, the tokeniser and
    /// the program included. `answers` are the ids of "no" and "yes".
    ///
    /// # Errors
    /// As [`Self::load`]; `bad-input` if the memory is too little.
    pub async fn stream(file: ModelFile, answers: (u32, u32), threads: usize, isa: Isa, memory: u64) -> Result<Self> {
        let frame = Frame::within(memory, &file, threads)?;
        let network = Box::new(Streamed::open(file, answers).await?);
        Ok(Self { network, isa, threads: Threads::new(threads)?, frame })
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Threads in use.
    pub fn threads(&self) -> usize {
        self.threads.count()
    }

    /// The logits of all sequences of these batches, in one pass.
    async fn run(&self, batches: &[Batch], kept: &mut [KeptPrefix], pace: &dyn Pace) -> Result<Vec<Logits>> {
        let config = self.network.config();
        let joined = Joined::new(batches);
        let plan = forward(config.layers, &joined, self.frame.chunk);
        let mut run = Run::new(self, joined, kept)?;
        for step in &plan {
            run.step(step, pace).await?;
        }
        run.last.chunks_exact(config.hidden).map(|row| self.network.head().judge(row)).collect()
    }

    /// Multiply-adds between two pauses on all threads.
    fn piece(&self) -> u64 {
        PIECE * self.threads.count() as u64
    }

    /// The tasks of a product of `rows` rows with `w`, in pieces.
    fn pieces(&self, w: &Weight, rows: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let tasks = w.tasks();
        let per_task = rows as u64 * w.columns() as u64 * w.rows().div_ceil(tasks) as u64;
        let piece = (self.piece() / per_task.max(1)).clamp(1, tasks as u64) as usize;
        let piece = piece.next_multiple_of(self.threads.count());
        (0..tasks).step_by(piece).map(move |start| start..tasks.min(start + piece))
    }
}

impl Backend for Cpu {
    fn device(&self) -> &str {
        if cfg!(target_arch = "wasm32") { "wasm" } else { "cpu" }
    }

    fn kept_bytes(&self) -> u64 {
        // A batch that fills the memory there is shares its prefix among all its documents.
        if self.frame.rows.is_some() {
            return 0;
        }
        if WASM { 128 << 20 } else { 512 << 20 }
    }

    fn batch_rows(&self, shared: usize) -> usize {
        // A prefix too large to keep is computed in every batch: large batches share it among more documents.
        self.frame.rows.unwrap_or_else(|| batch_rows(self.network.config()).max(2 * shared))
    }

    fn most_rows(&self) -> Option<usize> {
        self.frame.rows
    }

    fn logits_together<'a>(
        &'a self,
        batches: &'a [Batch],
        kept: &'a mut [KeptPrefix],
        pace: &'a dyn Pace,
    ) -> BoxFuture<'a, Result<Vec<Vec<Logits>>>> {
        Box::pin(async move {
            let logits = self.run(batches, kept, pace).await?;
            Ok(Joined::new(batches).by_batch(logits))
        })
    }
}

/// One plan under way: its buffers.
struct Run<'a> {
    cpu: &'a Cpu,
    config: &'a Config,
    batches: Joined<'a>,
    /// One a batch.
    kept: &'a mut [KeptPrefix],
    /// `[T]`
    tokens: Vec<u32>,
    /// `[T]`
    positions: Vec<u32>,
    layer: Option<Arc<Layer<Weight>>>,
    /// `[S]`
    last_rows: Vec<usize>,
    /// `[largest position + 1, D / 2]` cosines and sines.
    angles: [Vec<f32>; 2],
    /// `[T, H]`
    residual: Vec<f32>,
    /// `[S, H]`
    last: Vec<f32>,
    /// `[C, H]`
    normed: Vec<f32>,
    /// `[C, heads * D]`
    query: Vec<f32>,
    /// `[T, kv_heads * D]`
    key: Vec<f32>,
    /// `[T, kv_heads * D]`
    value: Vec<f32>,
    /// `[C, F]`
    gate: Vec<f32>,
    /// The input of the product in hand; of both, where a gate and its value take it in different forms.
    packed: [Packed; 2],
    attention: Stash<AttentionScratch>,
}

/// Where a product goes. To the residual it is added.
#[derive(Clone, Copy)]
enum Output {
    Residual,
    Query,
    Key,
    Value,
}

/// A buffer of zeros, or an error where there is no memory for it.
fn buffer(rows: usize, width: usize) -> Result<Vec<f32>> {
    let refuse = || {
        Error::new(ErrorKind::OutOfMemory, format!("no memory for {rows} rows of {width} numbers"))
            .hint("use fewer or shorter documents a request, or a smaller model")
    };
    let len = rows.checked_mul(width).ok_or_else(refuse)?;
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(len).map_err(|_| refuse())?;
    buffer.resize(len, 0.0);
    Ok(buffer)
}

impl<'a> Run<'a> {
    fn new(cpu: &'a Cpu, batches: Joined<'a>, kept: &'a mut [KeptPrefix]) -> Result<Self> {
        let config = cpu.network.config();
        let (t, s) = (batches.rows(), batches.sequences());
        let chunk = cpu.frame.chunk.min(t.max(s));
        for (batch, kept) in batches.batches().iter().zip(&mut *kept) {
            if batch.prefix == Prefix::Keep {
                kept.layers = vec![<[Vec<f32>; 2]>::default(); config.layers];
            }
        }
        let positions = batches.positions();
        Ok(Self {
            cpu,
            config,
            kept,
            layer: None,
            tokens: batches.tokens(),
            last_rows: batches.last_rows(),
            angles: angles(config, positions.iter().max().map_or(0, |&p| p as usize + 1))?,
            positions,
            batches,
            residual: buffer(t, config.hidden)?,
            last: buffer(s, config.hidden)?,
            normed: buffer(chunk, config.hidden)?,
            query: buffer(chunk, config.q_width())?,
            key: buffer(t, config.kv_width())?,
            value: buffer(t, config.kv_width())?,
            gate: buffer(chunk, config.intermediate)?,
            packed: Default::default(),
            attention: Stash::default(),
        })
    }

    fn layer(&self) -> Arc<Layer<Weight>> {
        self.layer.clone().expect("the plan names a layer before its weights")
    }

    /// Rows of the batch behind the rows of a step.
    fn batch_row(&self, rows: &Rows, i: usize) -> usize {
        match rows {
            Rows::Batch(r) => r.start + i,
            Rows::Last(r) => self.last_rows[r.start + i],
        }
    }

    async fn step(&mut self, step: &Step, pace: &dyn Pace) -> Result<()> {
        match step {
            Step::Embed => self.cpu.network.embed(&self.tokens, &mut self.residual).await?,
            Step::Layer(i) => {
                // Gone before the next one comes: there may be no room for two.
                self.layer = None;
                let cpu = self.cpu;
                let pack = |matrix| Weight::new(cpu.isa, &cpu.threads, matrix);
                self.layer = Some(cpu.network.layer(*i, &pack).await?);
            }
            Step::Norm { norm, rows } => self.norm(*norm, rows),
            Step::MatMul { weight, from, to, rows } => self.matmul(*weight, *from, *to, rows, pace).await?,
            Step::HeadNormRope { slot, rows } => self.head_norm_rope(*slot, rows),
            Step::KeepPrefix(layer) => {
                let width = self.config.kv_width();
                for (i, batch) in self.batches.batches().iter().enumerate().filter(|(_, b)| b.prefix == Prefix::Keep) {
                    let rows = self.batches.prefix_rows(i);
                    for (kept, from) in self.kept[i].layers[*layer].iter_mut().zip([&self.key, &self.value]) {
                        *kept = buffer(batch.shared, width)?;
                        kept.copy_from_slice(&from[rows.start * width..rows.end * width]);
                    }
                }
            }
            Step::Attend { layer, rows } => self.attend(*layer, rows, pace).await?,
            Step::GateUp { rows } => self.gate_up(rows, pace).await?,
            Step::TakeLast => {
                let h = self.config.hidden;
                for (to, &row) in self.last.chunks_exact_mut(h).zip(&self.last_rows) {
                    to.copy_from_slice(&self.residual[row * h..][..h]);
                }
            }
            Step::Finish { rows } => {
                self.norm(NormName::Output, rows);
                let (h, len) = (self.config.hidden, rows.len() * self.config.hidden);
                self.last[rows.start() * h..][..len].copy_from_slice(&self.normed[..len]);
            }
        }
        if !matches!(step, Step::MatMul { .. }) {
            self.packed.iter_mut().for_each(Packed::clear);
        }
        pace.breathe().await
    }

    fn norm(&mut self, norm: NormName, rows: &Rows) {
        let h = self.config.hidden;
        let layer = self.layer();
        let w: &[f32] = match norm {
            NormName::Attn => &layer.attn_norm,
            NormName::Ffn => &layer.ffn_norm,
            NormName::Output => self.cpu.network.output_norm(),
        };
        let residual = if matches!(rows, Rows::Batch(_)) { &self.residual } else { &self.last };
        let x = &residual[rows.start() * h..][..rows.len() * h];
        let (isa, eps) = (self.cpu.isa, self.config.rms_eps);
        self.cpu
            .threads
            .each_piece(&mut self.normed[..rows.len() * h], h, |i, y| isa.rms_norm(eps, &x[i * h..][..h], w, y));
    }

    async fn matmul(&mut self, weight: MatrixName, from: Slot, to: Slot, rows: &Rows, pace: &dyn Pace) -> Result<()> {
        let layer = self.layer();
        let w = weight.of([&layer.q, &layer.k, &layer.v, &layer.o, &layer.down]);
        let to = match to {
            Slot::Residual => Output::Residual,
            Slot::Key => Output::Key,
            Slot::Value => Output::Value,
            Slot::Query => Output::Query,
            Slot::Gate | Slot::Normed => unreachable!("no product alone writes {to:?}"),
        };
        self.pack(0, from, rows, w);
        let cpu = self.cpu;
        for tasks in cpu.pieces(w, rows.len()) {
            let (y, first) = match (to, rows) {
                (Output::Residual, Rows::Last(_)) => (&mut self.last, rows.start()),
                (Output::Residual, Rows::Batch(_)) => (&mut self.residual, rows.start()),
                (Output::Key, _) => (&mut self.key, rows.start()),
                (Output::Value, _) => (&mut self.value, rows.start()),
                (Output::Query, _) => (&mut self.query, 0),
            };
            let y = &mut y[first * w.rows()..][..rows.len() * w.rows()];
            simd::matmul(cpu.isa, &cpu.threads, &self.packed[0], w, tasks, y, matches!(to, Output::Residual));
            pace.breathe().await?;
        }
        Ok(())
    }

    async fn gate_up(&mut self, rows: &Rows, pace: &dyn Pace) -> Result<()> {
        let (layer, cpu) = (self.layer(), self.cpu);
        let (gate, up) = (&layer.gate, &layer.up);
        self.pack(0, Slot::Normed, rows, gate);
        let other = usize::from(!self.packed[0].fits(up));
        self.pack(other, Slot::Normed, rows, up);
        for tasks in cpu.pieces(gate, 2 * rows.len()) {
            let y = &mut self.gate[..rows.len() * gate.rows()];
            simd::gate_up(cpu.isa, &cpu.threads, (&self.packed[0], gate), (&self.packed[other], up), tasks, y);
            pace.breathe().await?;
        }
        Ok(())
    }

    /// Packs the input of a product with `w`, unless it is packed already.
    fn pack(&mut self, to: usize, from: Slot, rows: &Rows, w: &Weight) {
        if self.packed[to].fits(w) {
            return;
        }
        let x = match from {
            Slot::Normed => &self.normed,
            Slot::Query => &self.query,
            Slot::Gate => &self.gate,
            other => unreachable!("no product reads {other:?}"),
        };
        self.packed[to].pack(self.cpu.isa, &self.cpu.threads, &x[..rows.len() * w.columns()], w);
    }

    fn head_norm_rope(&mut self, slot: Slot, rows: &Rows) {
        let layer = self.layer();
        let positions: Vec<usize> = (0..rows.len()).map(|i| self.positions[self.batch_row(rows, i)] as usize).collect();
        let (x, w, width, first) = match slot {
            Slot::Key => (&mut self.key, &layer.k_norm, self.config.kv_width(), rows.start()),
            Slot::Query => (&mut self.query, &layer.q_norm, self.config.q_width(), 0),
            other => unreachable!("{other:?} has no heads"),
        };
        let (isa, eps, half) = (self.cpu.isa, self.config.rms_eps, self.config.head_dim / 2);
        let [cos, sin] = &self.angles;
        self.cpu.threads.each_piece(&mut x[first * width..][..rows.len() * width], width, |i, row| {
            let at = positions[i] * half..(positions[i] + 1) * half;
            isa.head_norm_rope(eps, row, w, [&cos[at.clone()], &sin[at]]);
        });
    }

    async fn attend(&mut self, layer: usize, rows: &Rows, pace: &dyn Pace) -> Result<()> {
        let (width, c, cpu) = (self.config.kv_width(), self.config, self.cpu);
        // Multiply-adds of one query row with one key, for the query heads of one key/value head.
        let unit = (2 * c.q_width() / c.kv_heads) as u64;
        // The rows r whose work, r (first + r) units, makes a piece of one head: many rows, since their keys are laid together for each piece.
        let keys = (PIECE / unit) as f64;
        let tile = cpu.isa.query_tile();
        let most = |first: usize| {
            let half = first as f64 / 2.0;
            (((half * half + keys).sqrt() - half) as usize / tile * tile).max(tile)
        };
        let pieces = self.batches.pieces(rows, most);
        let none: [Vec<f32>; 2] = Default::default();
        // Short pieces go together, all heads at once; of a long one, some heads at a time.
        let mut rest = &pieces[..];
        while !rest.is_empty() {
            let mut work = 0;
            let count = rest.iter().take_while(|(_, p)| {
                let fits = work * (c.kv_heads as u64) < cpu.piece();
                work += unit * (p.rows.len() * (p.first + p.rows.len())) as u64;
                fits
            });
            let (group, others) = rest.split_at(count.count());
            rest = others;
            let sequences: Vec<Sequence> = group
                .iter()
                .map(|(i, p)| {
                    let [prefix_keys, prefix_values] = match (p.shared, self.batches.batches()[*i].prefix) {
                        (0, _) => [&none[0][..], &none[1][..]],
                        (_, Prefix::Kept) => self.kept[*i].layers[layer].each_ref().map(Vec::as_slice),
                        _ => {
                            let rows = self.batches.prefix_rows(*i);
                            [&self.key, &self.value].map(|x| &x[rows.start * width..rows.end * width])
                        }
                    };
                    let own = p.own.start * width..p.own.end * width;
                    Sequence {
                        rows: p.rows.clone(),
                        first: p.first,
                        keys: [prefix_keys, &self.key[own.clone()]],
                        values: [prefix_values, &self.value[own]],
                    }
                })
                .collect();
            let at_once = (cpu.piece() / work).clamp(1, c.kv_heads as u64) as usize;
            let at_once = at_once.next_multiple_of(cpu.threads.count());
            for start in (0..c.kv_heads).step_by(at_once) {
                simd::attend(
                    cpu.isa,
                    &cpu.threads,
                    &mut self.query[..rows.len() * c.q_width()],
                    &sequences,
                    [c.heads, c.kv_heads, c.head_dim],
                    start..c.kv_heads.min(start + at_once),
                    &self.attention,
                );
                pace.breathe().await?;
            }
        }
        Ok(())
    }
}

/// Cosines and sines of all positions and frequencies.
fn angles(config: &Config, positions: usize) -> Result<[Vec<f32>; 2]> {
    let frequencies = head_norm_rope::frequencies(config.rope_theta, config.head_dim);
    let half = frequencies.len();
    let mut cos = buffer(positions, half)?;
    let mut sin = buffer(positions, half)?;
    for (p, (cos, sin)) in cos.chunks_exact_mut(half).zip(sin.chunks_exact_mut(half)).enumerate() {
        for ((c, s), f) in cos.iter_mut().zip(sin).zip(&frequencies) {
            [*c, *s] = head_norm_rope::turn(p, *f);
        }
    }
    Ok([cos, sin])
}
