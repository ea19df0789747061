//! Work on its way to the GPU: jobs are collected and submitted in portions that take a fraction of a second.
//!
//! A submission cannot be stopped and nothing else is drawn meanwhile, so none is planned to take longer than [`SUBMISSION`]. How
//! much work that is gets measured all the time. One submission waits while another runs, so that the GPU is never idle.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use web_time::{Duration, Instant};

use super::{device::Device, kernel::Kernel, memory::Buffer, params::WORDS};
use crate::{backend::Pace, error::Result, weights::BoxFuture};

/// How long a submission should take.
pub(super) const SUBMISSION: Duration = Duration::from_millis(30);
/// Submissions under way at once.
const IN_FLIGHT: usize = 2;
/// Jobs in a submission, each with its slot of parameters.
const JOBS: usize = 256;
/// Bytes of a slot: WebGPU's alignment of dynamic offsets.
const SLOT: u64 = 256;
/// Multiply-adds of the very first submission.
const FIRST_BUDGET: u64 = 20_000_000;
/// Bounds of the budget.
const BUDGET: [u64; 2] = [2_000_000, 1 << 44];

/// One dispatch.
pub(super) struct Job {
    name: Arc<str>,
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) buffers: wgpu::BindGroup,
    pub(super) params: [u32; WORDS],
    pub(super) grid: [u32; 2],
    /// About how many multiply-adds.
    pub(super) cost: u64,
}

impl Job {
    pub(super) fn new(
        device: &Device,
        kernel: &Kernel,
        buffers: &[&Buffer],
        params: [u32; WORDS],
        grid: [u32; 2],
        cost: u64,
    ) -> Self {
        let (name, pipeline) = (kernel.name.clone(), kernel.pipeline.clone());
        Self { name, pipeline, buffers: kernel.bind(device, buffers), params, grid, cost }
    }
}

/// A copy between buffers.
pub(super) struct Copy {
    pub(super) from: wgpu::Buffer,
    pub(super) from_offset: u64,
    pub(super) to: wgpu::Buffer,
    pub(super) to_offset: u64,
    pub(super) bytes: u64,
}

enum Work {
    Job(Job),
    Copy(Copy),
}

/// What outlives a queue: the parameters' ring and how much work a submission should hold.
pub(super) struct Portions {
    ring: Buffer,
    slots: wgpu::BindGroup,
    /// Held from writing the ring to submitting what reads it.
    turn: Mutex<()>,
    budget: AtomicU64,
    timings: Option<Mutex<BTreeMap<Arc<str>, Timing>>>,
}

/// What one kernel took so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// Dispatches.
    pub calls: u64,
    /// From a dispatch alone in its submission to its end.
    pub time: Duration,
    /// Multiply-adds, as planned.
    pub cost: u64,
}

impl Portions {
    /// With `profile` every dispatch is submitted, waited for and timed alone.
    pub(super) fn new(device: &Device, params: &wgpu::BindGroupLayout, profile: bool) -> Self {
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let ring = Buffer::new(device, "params", JOBS as u64 * SLOT, usage);
        let size = wgpu::BufferSize::new(4 * WORDS as u64);
        let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: &ring.raw, offset: 0, size });
        let slots = device.raw.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("params"),
            layout: params,
            entries: &[wgpu::BindGroupEntry { binding: 0, resource }],
        });
        let timings = profile.then(Mutex::default);
        Self { ring, slots, turn: Mutex::default(), budget: AtomicU64::new(FIRST_BUDGET), timings }
    }

    /// What every kernel took so far, if that is measured.
    pub(super) fn timings(&self) -> BTreeMap<Arc<str>, Timing> {
        let timings = self.timings.as_ref().map(|t| t.lock().unwrap_or_else(PoisonError::into_inner).clone());
        timings.unwrap_or_default()
    }

    /// Multiply-adds that a submission may hold.
    pub(super) fn budget(&self) -> u64 {
        self.budget.load(Ordering::Relaxed)
    }

    /// Starts from a known speed, in multiply-adds a second.
    pub(super) fn expect(&self, rate: f64) {
        let budget = (rate * SUBMISSION.as_secs_f64()) as u64;
        self.budget.store(budget.clamp(BUDGET[0], BUDGET[1]), Ordering::Relaxed);
    }

    /// Learns that `cost` multiply-adds took `time`.
    fn learn(&self, cost: u64, time: Duration) {
        let budget = self.budget();
        // A small portion that took no time says little: it is all overhead.
        if cost < budget / 2 && time < SUBMISSION {
            return;
        }
        let ratio = SUBMISSION.as_secs_f64() / time.as_secs_f64().max(1e-4);
        let learned = (cost as f64 * ratio.clamp(0.25, 4.0)) as u64;
        self.budget.store(learned.clamp(BUDGET[0], BUDGET[1]), Ordering::Relaxed);
    }
}

/// Collects work and submits it.
pub(super) struct Queue<'a> {
    device: &'a Device,
    portions: &'a Portions,
    pace: &'a dyn Pace,
    waiting: Vec<Work>,
    cost: u64,
    in_flight: VecDeque<(BoxFuture<'static, ()>, u64)>,
    /// Errors of the device before this queue.
    errors: u64,
    /// When the GPU began with the oldest submission under way.
    since: Instant,
}

impl<'a> Queue<'a> {
    pub(super) fn new(device: &'a Device, portions: &'a Portions, pace: &'a dyn Pace) -> Self {
        let (waiting, in_flight, errors) = (Vec::new(), VecDeque::new(), device.errors());
        Self { device, portions, pace, waiting, cost: 0, in_flight, errors, since: Instant::now() }
    }

    pub(super) fn budget(&self) -> u64 {
        self.portions.budget()
    }

    pub(super) async fn breathe(&mut self) -> Result<()> {
        self.pace.breathe().await
    }

    pub(super) async fn job(&mut self, job: Job) -> Result<()> {
        if self.waiting.len() + 1 > JOBS || (self.cost > 0 && self.cost + job.cost > self.budget()) {
            self.submit().await?;
        }
        self.cost += job.cost;
        if let Some(timings) = &self.portions.timings {
            return self.alone(job, timings).await;
        }
        self.waiting.push(Work::Job(job));
        Ok(())
    }

    /// Runs a job alone and adds to its kernel's timing.
    async fn alone(&mut self, job: Job, timings: &Mutex<BTreeMap<Arc<str>, Timing>>) -> Result<()> {
        let (name, cost) = (job.name.clone(), job.cost);
        self.submit().await?;
        while !self.in_flight.is_empty() {
            self.wait().await;
        }
        self.waiting.push(Work::Job(job));
        let started = Instant::now();
        self.submit().await?;
        while !self.in_flight.is_empty() {
            self.wait().await;
        }
        let time = started.elapsed();
        let mut timings = timings.lock().unwrap_or_else(PoisonError::into_inner);
        let timing = timings.entry(name).or_default();
        timing.calls += 1;
        timing.cost += cost;
        timing.time += time;
        Ok(())
    }

    pub(super) fn copy(&mut self, copy: Copy) {
        self.waiting.push(Work::Copy(copy));
    }

    /// Submits what waits, and waits itself until few enough submissions are under way.
    async fn submit(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let (commands, params) = self.encode();
        if self.in_flight.is_empty() {
            self.since = Instant::now();
        }
        let done = {
            // What is written comes before the next submission, whoever's that is: nobody else may come between.
            let _turn = self.portions.turn.lock().unwrap_or_else(PoisonError::into_inner);
            self.device.queue.write_buffer(&self.portions.ring.raw, 0, &params);
            self.device.submit(Some(commands))
        };
        self.in_flight.push_back((Box::pin(done), self.cost));
        self.cost = 0;
        while self.in_flight.len() >= IN_FLIGHT {
            self.wait().await;
        }
        self.device.check_since(self.errors)?;
        self.pace.breathe().await
    }

    async fn wait(&mut self) {
        if let Some((done, cost)) = self.in_flight.pop_front() {
            done.await;
            self.portions.learn(cost, self.since.elapsed());
            self.since = Instant::now();
        }
    }

    /// The commands, and the parameters of their jobs.
    fn encode(&mut self) -> (wgpu::CommandBuffer, Vec<u8>) {
        let mut params = Vec::new();
        let mut encoder = self.device.raw.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass: Option<wgpu::ComputePass<'static>> = None;
        for work in self.waiting.drain(..) {
            match work {
                Work::Job(job) => {
                    let pass = pass.get_or_insert_with(|| {
                        encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()).forget_lifetime()
                    });
                    pass.set_pipeline(&job.pipeline);
                    pass.set_bind_group(0, &self.portions.slots, &[params.len() as u32]);
                    pass.set_bind_group(1, &job.buffers, &[]);
                    pass.dispatch_workgroups(job.grid[0], job.grid[1], 1);
                    params.extend(job.params.iter().flat_map(|p| p.to_le_bytes()));
                    params.resize(params.len().next_multiple_of(SLOT as usize), 0);
                }
                Work::Copy(c) => {
                    pass = None;
                    encoder.copy_buffer_to_buffer(&c.from, c.from_offset, &c.to, c.to_offset, c.bytes);
                }
            }
        }
        drop(pass);
        (encoder.finish(), params)
    }

    /// Submits the rest and waits for all of it.
    pub(super) async fn finish(mut self) -> Result<()> {
        self.submit().await?;
        while !self.in_flight.is_empty() {
            self.wait().await;
        }
        self.device.check_since(self.errors)
    }
}
