//! Batches under way on the GPU, in one pass: the plan's steps become jobs.

use std::collections::HashMap;

use super::{
    Gpu,
    device::out_of_memory,
    memory::Buffer,
    params,
    product::{Mode, Product},
    queue::{Copy, Job, Queue},
    scratch::{Place, Scratch, Sizes},
    shader::Arithmetic,
    weights::{LayerWeights, Weights},
};
use crate::{
    backend::{KeptPrefix, Pace},
    error::Result,
    kernels::head_norm_rope,
    model::{Config, Logits},
    plan::{Batch, Joined, NormName, Rows, Slot, Step, Tile, forward},
};

/// Rows in a chunk: the wide buffers are no longer than this.
pub(super) const CHUNK: usize = 2048;
/// Multiply-adds that moving one vector of four costs about as much as, for planning.
const MOVE: u64 = 16;
/// Multiply-adds of a product that one of attention costs about as much as.
const ATTEND: u64 = 3;

/// The keys and values of a shared prefix on the GPU.
#[derive(Default)]
pub(crate) struct Kept {
    layers: Vec<[Buffer; 2]>,
}

pub(super) struct Run<'a> {
    gpu: &'a Gpu,
    config: &'a Config,
    batches: Joined<'a>,
    /// One a batch.
    kept: &'a mut [KeptPrefix],
    /// `[T]`
    tokens: Vec<u32>,
    /// `[T]`
    positions: Vec<u32>,
    /// `[S]`
    last_rows: Vec<usize>,
    scratch: &'a mut Scratch,
    queue: Queue<'a>,
    layer: usize,
    /// Where the tiles of some rows are, and how many.
    tiles: HashMap<Rows, (usize, usize)>,
    /// What `Place::Scales` belongs to: rows of this place, in bytes in blocks of this many, or as they are for 0.
    bytes: Option<(Place, u32)>,
}

impl<'a> Run<'a> {
    /// The logits of every batch.
    pub(super) async fn logits(
        gpu: &'a Gpu,
        batches: &'a [Batch],
        kept: &'a mut [KeptPrefix],
        scratch: &'a mut Scratch,
        pace: &'a dyn Pace,
    ) -> Result<Vec<Vec<Logits>>> {
        let (config, batches) = (&gpu.config, Joined::new(batches));
        let plan = forward(config.layers, &batches, CHUNK);
        let mut run = Self {
            gpu,
            config,
            kept,
            tokens: batches.tokens(),
            positions: batches.positions(),
            last_rows: batches.last_rows(),
            batches,
            scratch,
            queue: Queue::new(&gpu.device, &gpu.portions, pace),
            layer: 0,
            tiles: HashMap::new(),
            bytes: None,
        };
        run.prepare(&plan).await?;
        for step in &plan {
            run.step(step).await?;
        }
        run.finish().await
    }

    /// Makes room and uploads what the batches are.
    async fn prepare(&mut self, plan: &[Step]) -> Result<()> {
        let gpu = self.gpu;
        let tiles = self.lay_tiles(plan);
        let (t, s) = (self.tokens.len(), self.last_rows.len());
        let sizes = Sizes {
            rows: t,
            kept: self.batches.kept_rows(),
            sequences: s,
            chunk: CHUNK.min(t.max(s)),
            positions: self.positions.iter().max().map_or(0, |&p| p as usize + 1),
            tiles: tiles.len(),
        };
        let half = self.config.head_dim / 2;
        if self.scratch.fit(&gpu.device, &gpu.shape, half, sizes).await? {
            gpu.forget();
        }
        for (i, rows) in self.batches.keep() {
            let bytes = (4 * rows.len() * gpu.shape.kv) as u64;
            let make = || {
                let one = |_| Buffer::storage(&gpu.device, "prefix", bytes);
                (0..self.config.layers).map(|_| [0, 1].map(one)).collect()
            };
            let kept = self.kept[i].gpu.get_or_insert_default();
            kept.layers = Vec::new();
            kept.layers = gpu.device.guarded(make).await?;
        }
        let last = self.last_rows.iter().map(|&row| self.positions[row]);
        let positions: Vec<u8> = self.positions.iter().copied().chain(last).flat_map(u32::to_le_bytes).collect();
        self.write(Place::Positions, &positions);
        let tiles: Vec<u8> = tiles.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
        self.write(Place::Tiles, &tiles);
        if self.scratch.angles >= sizes.positions {
            return Ok(());
        }
        let frequencies = head_norm_rope::frequencies(self.config.rope_theta, self.config.head_dim);
        let turns = (0..sizes.positions).flat_map(|p| frequencies.iter().map(move |f| head_norm_rope::turn(p, *f)));
        let angles: Vec<u8> = turns.flatten().flat_map(f32::to_le_bytes).collect();
        self.write(Place::Angles, &angles);
        self.scratch.angles = sizes.positions;
        Ok(())
    }

    fn write(&self, place: Place, bytes: &[u8]) {
        self.gpu.device.queue.write_buffer(&self.scratch.get(place).raw, 0, bytes);
    }

    /// The tiles of all attention steps.
    fn lay_tiles(&mut self, plan: &[Step]) -> Vec<[u32; 6]> {
        let mut tiles = Vec::new();
        for step in plan {
            let Step::Attend { rows, .. } = step else { continue };
            if self.tiles.contains_key(rows) {
                continue;
            }
            let first = tiles.len();
            tiles.extend(self.batches.tiles(rows, self.gpu.tile_rows).into_iter().map(Tile::words));
            self.tiles.insert(rows.clone(), (first, tiles.len() - first));
        }
        tiles
    }

    fn layer(&self) -> &'a LayerWeights {
        &self.gpu.layers[self.layer]
    }

    async fn step(&mut self, step: &Step) -> Result<()> {
        let shape = &self.gpu.shape;
        match step {
            Step::Embed => self.embed().await?,
            Step::Layer(i) => self.enter(*i),
            Step::Norm { norm, rows } => {
                let w = match norm {
                    NormName::Attn => &self.layer().attn_norm,
                    NormName::Ffn => &self.layer().ffn_norm,
                    NormName::Output => &self.gpu.output_norm,
                };
                self.norm(w, rows).await?;
            }
            Step::MatMul { weight, from, to, rows } => {
                let layer = self.layer();
                let w = weight.of([&layer.q, &layer.k, &layer.v, &layer.o, &layer.down]);
                let (to, y_row, mode) = match to {
                    Slot::Residual => (residual(rows), rows.start(), Mode::Add),
                    Slot::Key => (Place::Key, self.batches.kept_rows() + rows.start(), Mode::Store),
                    Slot::Value => (Place::Value, self.batches.kept_rows() + rows.start(), Mode::Store),
                    to => (place(*to), 0, Mode::Store),
                };
                self.product(w, place(*from), to, rows.len(), y_row, mode).await?;
            }
            Step::GateUp { rows } => {
                let w = &self.layer().gate_up;
                self.product(w, Place::Normed, Place::Gate, rows.len(), 0, Mode::Gated).await?;
            }
            Step::HeadNormRope { slot, rows } => self.head_norm_rope(*slot, rows).await?,
            Step::KeepPrefix(layer) => {
                let row = (4 * shape.kv) as u64;
                for (i, rows) in self.batches.keep() {
                    let (from, bytes) = (rows.start as u64 * row, rows.len() as u64 * row);
                    for (to, place) in self.kept[i].gpu_layer(*layer).iter().zip([Place::Key, Place::Value]) {
                        self.queue.copy(copy(self.scratch.get(place), from, to, 0, bytes));
                    }
                }
            }
            Step::Attend { rows, .. } => self.attend(rows).await?,
            Step::TakeLast => {
                let bytes = (4 * shape.hidden) as u64;
                for (i, &row) in self.last_rows.iter().enumerate() {
                    let (from, to) = (self.scratch.get(Place::Residual), self.scratch.get(Place::Last));
                    self.queue.copy(copy(from, row as u64 * bytes, to, i as u64 * bytes, bytes));
                }
            }
            Step::Finish { rows } => {
                self.norm(&self.gpu.output_norm, rows).await?;
                let bytes = (4 * shape.hidden) as u64;
                let (from, to) = (self.scratch.get(Place::Normed), self.scratch.get(Place::Last));
                let n = rows.len() as u64 * bytes;
                self.queue.copy(copy(from, 0, to, rows.start() as u64 * bytes, n));
            }
        }
        Ok(())
    }

    /// Goes on to layer `i`: the kept prefixes' keys and values of that layer go before those of the rows.
    fn enter(&mut self, i: usize) {
        self.layer = i;
        let row = (4 * self.gpu.shape.kv) as u64;
        for (batch, first) in self.batches.kept() {
            let bytes = self.batches.batches()[batch].shared as u64 * row;
            for (from, place) in self.kept[batch].gpu_layer(i).iter().zip([Place::Key, Place::Value]) {
                self.queue.copy(copy(from, 0, self.scratch.get(place), first as u64 * row, bytes));
            }
        }
    }

    /// Embedding rows stay with the processor: no GPU need bind a matrix of vocabulary size.
    async fn embed(&mut self) -> Result<()> {
        /// Rows unpacked at once.
        const PIECE: usize = 256;
        let (hidden, padded) = (self.config.hidden, self.gpu.shape.hidden);
        let mut rows = vec![0.0; PIECE * hidden];
        for (i, tokens) in self.tokens.chunks(PIECE).enumerate() {
            self.gpu.embedding.embed(tokens, &mut rows[..tokens.len() * hidden])?;
            let mut bytes = Vec::with_capacity(4 * tokens.len() * padded);
            for row in rows.chunks_exact(hidden).take(tokens.len()) {
                bytes.extend(row.iter().flat_map(|v| v.to_le_bytes()));
                bytes.resize(bytes.len() + 4 * (padded - hidden), 0);
            }
            let at = (4 * i * PIECE * padded) as u64;
            self.gpu.device.queue.write_buffer(&self.scratch.get(Place::Residual).raw, at, &bytes);
            // Written data waits in memory until something is submitted.
            self.gpu.device.submit(None).await;
            self.queue.breathe().await?;
        }
        Ok(())
    }

    async fn norm(&mut self, w: &Buffer, rows: &Rows) -> Result<()> {
        let (gpu, hidden) = (self.gpu, self.gpu.shape.hidden);
        let buffers = [self.scratch.get(residual(rows)), w, self.scratch.get(Place::Normed)];
        let params = params::RmsNorm {
            width4: hidden as u32 / 4,
            x_row: rows.start() as u32,
            width: self.config.hidden as f32,
            eps: self.config.rms_eps,
        };
        let cost = (rows.len() * hidden / 4) as u64 * MOVE;
        let job = Job::new(&gpu.device, &gpu.kernels.norm, &buffers, params.words(), [rows.len() as u32, 1], cost);
        self.written(Place::Normed);
        self.queue.job(job).await
    }

    /// Forgets the bytes of a place that gets new rows.
    fn written(&mut self, place: Place) {
        self.bytes = self.bytes.filter(|(p, _)| *p != place);
    }

    async fn product(
        &mut self,
        w: &Weights,
        from: Place,
        to: Place,
        rows: usize,
        y_row: usize,
        mode: Mode,
    ) -> Result<()> {
        let gpu = self.gpu;
        let (variant, kernel) = &gpu.kernels.products[&w.store];
        let bytes = variant.arithmetic == Arithmetic::I8;
        match variant.arithmetic {
            Arithmetic::I8 => self.quantize(from, rows, w).await?,
            Arithmetic::F16 => self.row_max(from, rows, w).await?,
            Arithmetic::F32 => {}
        }
        let place = |p| self.scratch.get(p);
        let product = Product {
            x: place(if bytes { Place::Bytes } else { from }),
            x_scales: place(if variant.arithmetic == Arithmetic::F32 { Place::Nothing } else { Place::Scales }),
            weights: w,
            nothing: place(Place::Nothing),
            y: place(to),
            rows,
            y_row,
            mode,
        };
        for job in product.jobs(&gpu.device, kernel, *variant, self.queue.budget()) {
            self.queue.job(job).await?;
        }
        self.written(to);
        Ok(())
    }

    async fn quantize(&mut self, from: Place, rows: usize, w: &Weights) -> Result<()> {
        let (gpu, block) = (self.gpu, w.store.block());
        if self.bytes == Some((from, block)) {
            return Ok(());
        }
        let blocks = rows * w.inputs / block as usize;
        let place = |p| self.scratch.get(p);
        let buffers = [place(from), place(Place::Bytes), place(Place::Scales)];
        let cost = (rows * w.inputs / 4) as u64 * MOVE;
        let grid = [blocks.div_ceil(64) as u32, 1];
        let params = params::Quantize { blocks: blocks as u32 }.words();
        let job = Job::new(&gpu.device, &gpu.kernels.quantize[&block], &buffers, params, grid, cost);
        self.bytes = Some((from, block));
        self.queue.job(job).await
    }

    /// The scales of rows that become halves.
    async fn row_max(&mut self, from: Place, rows: usize, w: &Weights) -> Result<()> {
        let gpu = self.gpu;
        if self.bytes == Some((from, 0)) {
            return Ok(());
        }
        let buffers = [self.scratch.get(from), self.scratch.get(Place::Scales)];
        let params = params::RowMax { width4: w.inputs as u32 / 4 }.words();
        let cost = (rows * w.inputs / 4) as u64 * MOVE;
        let job = Job::new(&gpu.device, &gpu.kernels.row_max, &buffers, params, [rows as u32, 1], cost);
        self.bytes = Some((from, 0));
        self.queue.job(job).await
    }

    async fn head_norm_rope(&mut self, slot: Slot, rows: &Rows) -> Result<()> {
        let (gpu, c, shape) = (self.gpu, self.config, &self.gpu.shape);
        let (place, w, heads, stride, first) = match slot {
            Slot::Key => {
                (Place::Key, &self.layer().k_norm, c.kv_heads, shape.kv, self.batches.kept_rows() + rows.start())
            }
            Slot::Query => (Place::Query, &self.layer().q_norm, c.heads, shape.query, 0),
            other => unreachable!("{other:?} has no heads"),
        };
        let position = match rows {
            Rows::Batch(r) => r.start,
            Rows::Last(r) => self.tokens.len() + r.start,
        };
        let get = |p| self.scratch.get(p);
        let buffers = [get(place), w, get(Place::Positions), get(Place::Angles)];
        let params = params::HeadNormRope {
            heads: heads as u32,
            head_dim: c.head_dim as u32,
            stride: stride as u32,
            head_stride: shape.head as u32,
            x_row: first as u32,
            position: position as u32,
            eps: c.rms_eps,
        };
        let cost = (rows.len() * stride / 4) as u64 * MOVE;
        let grid = [rows.len() as u32, heads.div_ceil(4) as u32];
        let job = Job::new(&gpu.device, &gpu.kernels.head_norm_rope, &buffers, params.words(), grid, cost);
        self.written(place);
        self.queue.job(job).await
    }

    async fn attend(&mut self, rows: &Rows) -> Result<()> {
        let (gpu, c, shape) = (self.gpu, self.config, &self.gpu.shape);
        let place = |p| self.scratch.get(p);
        let buffers = [Place::Query, Place::Key, Place::Value, Place::Tiles].map(place);
        let (first, count) = self.tiles[rows];
        // The longest row decides: what a tile costs differs within a step.
        let most = self.most_positions(rows);
        let tile_cost = 2 * ATTEND * (gpu.tile_rows * most) as u64 * shape.query as u64;
        let scale = 1.0 / (c.head_dim as f32).sqrt();
        let at_once = (self.queue.budget() / tile_cost).clamp(1, 65_535) as usize;
        for start in (0..count).step_by(at_once) {
            let n = at_once.min(count - start);
            let params = params::Attend {
                first_tile: (first + start) as u32,
                heads: c.heads as u32,
                kv_heads: c.kv_heads as u32,
                q_stride: shape.query as u32,
                kv_stride: shape.kv as u32,
                scale,
            };
            let grid = [n as u32, (c.heads / gpu.heads_at_once) as u32];
            let job = Job::new(&gpu.device, &gpu.kernels.attend, &buffers, params.words(), grid, n as u64 * tile_cost);
            self.queue.job(job).await?;
        }
        self.written(Place::Query);
        Ok(())
    }

    /// Reads the last rows back and judges them.
    async fn finish(mut self) -> Result<Vec<Vec<Logits>>> {
        let (gpu, hidden) = (self.gpu, self.gpu.shape.hidden);
        let bytes = (4 * self.last_rows.len() * hidden) as u64;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let back = gpu.device.guarded(|| Buffer::new(&gpu.device, "results", bytes, usage)).await?;
        self.queue.copy(copy(self.scratch.get(Place::Last), 0, &back, 0, bytes));
        self.queue.finish().await?;
        let (sender, receiver) = futures::channel::oneshot::channel();
        back.raw.map_async(wgpu::MapMode::Read, .., move |r| drop(sender.send(r)));
        gpu.device.submit(None).await;
        gpu.device.check()?;
        let failed =
            || gpu.device.check().err().unwrap_or_else(|| out_of_memory("the GPU did not give its results back"));
        receiver.await.map_err(|_| failed())?.map_err(|_| failed())?;
        let view = back.raw.get_mapped_range(..).map_err(|_| failed())?;
        let values: Vec<f32> = view.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let logits = values.chunks_exact(hidden).map(|row| gpu.head.judge(&row[..self.config.hidden]));
        Ok(self.batches.by_batch(logits.collect::<Result<_>>()?))
    }

    /// Keys that the furthest of `rows` sees.
    fn most_positions(&self, rows: &Rows) -> usize {
        let most = match rows {
            Rows::Batch(r) => self.positions[r.clone()].iter().copied().max(),
            Rows::Last(r) => self.last_rows[r.clone()].iter().map(|&row| self.positions[row]).max(),
        };
        most.map_or(1, |p| p as usize + 1)
    }
}

impl KeptPrefix {
    /// Keys and values of a layer.
    fn gpu_layer(&self, layer: usize) -> &[Buffer; 2] {
        &self.gpu.as_ref().expect("a plan names a kept prefix where there is one").layers[layer]
    }
}

fn residual(rows: &Rows) -> Place {
    if matches!(rows, Rows::Batch(_)) { Place::Residual } else { Place::Last }
}

fn place(slot: Slot) -> Place {
    match slot {
        Slot::Residual => Place::Residual,
        Slot::Normed => Place::Normed,
        Slot::Query => Place::Query,
        Slot::Key => Place::Key,
        Slot::Value => Place::Value,
        Slot::Gate => Place::Gate,
    }
}

fn copy(from: &Buffer, from_offset: u64, to: &Buffer, to_offset: u64, bytes: u64) -> Copy {
    Copy { from: from.raw.clone(), from_offset, to: to.raw.clone(), to_offset, bytes }
}
