//! Autotune: every variant that fits is tried for a few milliseconds on the model's own weights, the fastest is taken.
//!
//! Never by a vendor's name. What was found is remembered for the process, and as text for whoever wants to keep it longer.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use web_time::{Duration, Instant};

use super::{
    device::Device,
    kernel::{Access, Kernel},
    memory::Buffer,
    product::{Mode, Product},
    queue::{Portions, Queue},
    shader::{Arithmetic, Fetch, Store, VARIANTS, Variant},
    weights::Weights,
};
use crate::{backend::Free, error::Result};

/// A measurement is long enough from here on.
const ENOUGH: Duration = Duration::from_millis(5);
/// Multiply-adds of the first measurement: small, in case the adapter is slow.
const FIRST: u64 = 16_000_000;
/// The most bytes of a buffer that is made for measuring.
const BUFFER: usize = 64 << 20;
/// How often a product is repeated at most.
const MOST_TIMES: u64 = 256;
/// Bounds of the rows of the product that is measured.
const ROWS: [u64; 2] = [64, 1024];
/// No further variant is tried for a store after this long: on a slow adapter compiling alone takes seconds.
const LIMIT: Duration = Duration::from_millis(1500);
/// How many variants get a second and a third measurement.
const FINALISTS: usize = 3;
/// How many times faster a less exact variant must be than one in f32.
const EXACT: f64 = 1.15;
/// A variant this many times slower than the best so far is dropped after its first, small measurement.
const HOPELESS: f64 = 3.0;

/// What was found, by adapter and by store and size.
static FOUND: Mutex<Found> = Mutex::new(Found::new());

type Found = BTreeMap<String, BTreeMap<String, Choice>>;

/// The fastest variant for the largest matrix of a store.
#[derive(Clone, Serialize, Deserialize)]
struct Choice {
    variant: String,
    /// Every variant that was tried, with its speed in GFLOP/s: two for a multiply-add.
    tried: BTreeMap<String, f64>,
}

/// The text that remembers.
#[derive(Serialize, Deserialize)]
struct Text {
    /// Whose kernels these are: another version may have other variants.
    version: String,
    adapters: Found,
}

/// The kernel of every store, chosen.
pub(super) type Products = HashMap<Store, (Variant, Kernel)>;

/// Chooses a variant for every store among `weights`; `alive` may stop it between two variants.
pub(super) async fn choose(
    device: &Device,
    portions: &Portions,
    params: &wgpu::BindGroupLayout,
    weights: &[&Weights],
    alive: &mut dyn FnMut() -> Result<()>,
) -> Result<Products> {
    let mut products = Products::new();
    let mut slowest = f64::INFINITY;
    for w in weights {
        // The largest matrix of its store.
        if products.contains_key(&w.store) || weights.iter().any(|o| o.store == w.store && larger(o, w)) {
            continue;
        }
        let fits = |v: &&Variant| v.fits(w.store, &device.adapter);
        let mut candidates: Vec<Variant> = VARIANTS.iter().filter(fits).copied().collect();
        // The likely ones first, in case there is no time for all: a processor has no use for workgroup memory, a GPU has.
        candidates.sort_by_key(|v| (v.fetch == Fetch::Tile) == device.adapter.software);
        let (variant, kernel, rate) = match known(device, params, w, &candidates).await {
            Some(known) => known,
            None => fastest(device, portions, params, w, &candidates, alive).await?,
        };
        slowest = slowest.min(rate);
        products.insert(w.store, (variant, kernel));
    }
    portions.expect(slowest);
    Ok(products)
}

/// What was found before, with its speed in multiply-adds a second. A driver may refuse today what it took then.
async fn known(
    device: &Device,
    params: &wgpu::BindGroupLayout,
    weights: &Weights,
    candidates: &[Variant],
) -> Option<(Variant, Kernel, f64)> {
    let choice = remembered().get(&adapter_key(device))?.get(&matrix_key(weights))?.clone();
    let variant = *candidates.iter().find(|v| v.name() == choice.variant)?;
    let rate = choice.tried.get(&choice.variant)? * 5e8;
    let kernel = compile(device, params, variant, weights.store).await.ok()?;
    Some((variant, kernel, rate))
}

/// Another driver may have other preferences.
fn adapter_key(device: &Device) -> String {
    format!("{} {}", device.adapter.name, device.adapter.driver).trim().to_owned()
}

fn matrix_key(w: &Weights) -> String {
    format!("{} {}x{}", w.store.name(), w.inputs, w.outputs)
}

fn larger(a: &Weights, b: &Weights) -> bool {
    a.inputs * a.outputs > b.inputs * b.outputs
}

pub(super) async fn compile(
    device: &Device,
    params: &wgpu::BindGroupLayout,
    variant: Variant,
    store: Store,
) -> Result<Kernel> {
    let name = format!("matmul {} {}", store.name(), variant.name());
    let access = [Access::Read, Access::Read, Access::Read, Access::Read, Access::Write];
    Kernel::new(device, params, &name, variant.source(store), &variant.constants(), &access).await
}

async fn fastest(
    device: &Device,
    portions: &Portions,
    params: &wgpu::BindGroupLayout,
    weights: &Weights,
    candidates: &[Variant],
    alive: &mut dyn FnMut() -> Result<()>,
) -> Result<(Variant, Kernel, f64)> {
    // Buffers of bytes within what is bound, and of moderate size beside the weights.
    let most = (BUFFER / (4 * weights.inputs.max(weights.outputs))).min(ROWS[1] as usize).max(ROWS[0] as usize);
    let make = || {
        let buffer = |words: usize| Buffer::storage(device, "tune", 4 * words as u64);
        [buffer(most * weights.inputs), buffer(most * weights.inputs / 8), buffer(most * weights.outputs), buffer(4)]
    };
    let buffers = device.guarded(make).await?;
    let mut found: Vec<(f64, Variant, Kernel)> = Vec::new();
    let mut failure = None;
    let started = Instant::now();
    for &variant in candidates {
        if !found.is_empty() && started.elapsed() > LIMIT {
            break;
        }
        alive()?;
        // A variant that a driver refuses is no candidate.
        let kernel = match compile(device, params, variant, weights.store).await {
            Ok(kernel) => kernel,
            Err(e) => {
                device.check()?;
                failure = Some(e);
                continue;
            }
        };
        let best = found.iter().fold(0.0, |best: f64, (rate, ..)| best.max(*rate));
        let rate = match measure(device, portions, &kernel, variant, weights, &buffers, best / HOPELESS).await {
            Ok(rate) => rate,
            Err(e) => {
                device.check()?;
                failure = Some(e);
                continue;
            }
        };
        found.push((rate, variant, kernel));
    }
    // One measurement may have been disturbed: the best few get more, in turns.
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    for _ in 0..2 {
        alive()?;
        for (rate, variant, kernel) in found.iter_mut().take(FINALISTS) {
            let again = measure(device, portions, kernel, *variant, weights, &buffers, 0.0).await?;
            *rate = rate.max(again);
        }
    }
    let tried = found.iter().map(|(rate, variant, _)| (variant.name(), (2e-8 * rate).round() / 10.0)).collect();
    let worth = |(rate, variant, _): &(f64, Variant, Kernel)| match variant.arithmetic {
        Arithmetic::F32 => rate * EXACT,
        Arithmetic::F16 | Arithmetic::I8 => *rate,
    };
    match (found.into_iter().max_by(|a, b| worth(a).total_cmp(&worth(b))), failure) {
        (Some((rate, variant, kernel)), _) => {
            let choice = Choice { variant: variant.name(), tried };
            remembered().entry(adapter_key(device)).or_default().insert(matrix_key(weights), choice);
            Ok((variant, kernel, rate))
        }
        (None, Some(e)) => Err(e),
        (None, None) => unreachable!("every store has a variant in f32"),
    }
}

/// Multiply-adds a second.
async fn measure(
    device: &Device,
    portions: &Portions,
    kernel: &Kernel,
    variant: Variant,
    weights: &Weights,
    [x, scales, y, nothing]: &[Buffer; 4],
    hopeless: f64,
) -> Result<f64> {
    let most = (x.bytes() / (4 * weights.inputs as u64)).max(ROWS[0]);
    let (mut work, mut times) = (FIRST, 1);
    loop {
        let rows = (work / (weights.outputs * weights.inputs) as u64).clamp(ROWS[0], most) as usize;
        let product = Product { x, x_scales: scales, weights, nothing, y, rows, y_row: 0, mode: Mode::Store };
        let part = || product.jobs(device, kernel, variant, work).swap_remove(0);
        let timed = async || {
            let started = Instant::now();
            let mut queue = Queue::new(device, portions, &Free);
            for _ in 0..times {
                queue.job(part()).await?;
            }
            queue.finish().await?;
            Ok(started.elapsed())
        };
        if work == FIRST {
            // The first run compiles and warms.
            timed().await?;
        }
        let cost = part().cost;
        let time: Duration = timed().await?.min(timed().await?);
        let rate = (cost * times) as f64 / time.as_secs_f64();
        if time > ENOUGH || rate < hopeless || times >= MOST_TIMES {
            return Ok(rate);
        }
        // First more of the product, then the whole of it more often.
        if cost > work / 2 {
            work *= 4;
        } else {
            times *= 4;
        }
    }
}

fn remembered() -> MutexGuard<'static, Found> {
    FOUND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was found in this process and remembered by it, as text.
pub(super) fn text() -> String {
    let text = Text { version: env!("CARGO_PKG_VERSION").into(), adapters: remembered().clone() };
    serde_json::to_string(&text).expect("names are text")
}

/// Takes what an earlier process found. A text of another version, or no such text at all, is ignored.
pub(super) fn recall(text: &str) {
    let Ok(text) = serde_json::from_str::<Text>(text) else { return };
    if text.version != env!("CARGO_PKG_VERSION") {
        return;
    }
    let mut found = remembered();
    for (adapter, choices) in text.adapters {
        let here = found.entry(adapter).or_default();
        for (matrix, choice) in choices {
            here.entry(matrix).or_insert(choice);
        }
    }
}
