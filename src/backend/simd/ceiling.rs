//! What this machine could do at most, measured: the line that figures of speed are held against.

use web_time::Instant;

use super::{Isa, Stripes, Target, Threads};

/// Billions of operations a second (a multiplication and an addition are two), on all threads together.
#[derive(Clone, Copy, Debug)]
pub struct Ceiling {
    /// Products of bytes, or of 16 bits where there is no instruction for bytes.
    pub int8_gops: f64,
    /// Products of f32.
    pub f32_gops: f64,
}

/// Seconds that a thread measures each.
const SECONDS: f64 = 0.3;
/// Inputs of the tiles: panels that stay in the first-level cache.
const INPUTS: usize = 256;

/// Measures loops over tiles in registers, on every thread at once: panels in the first-level cache, operands that change at every step, nothing unpacked,
/// and for bytes nothing scaled or stored.
pub fn ceiling(isa: Isa, threads: &Threads) -> Ceiling {
    let everywhere = |measure: &(dyn Fn() -> f64 + Sync)| {
        let mut rates = vec![0.0; threads.count()];
        threads.each_piece(&mut rates, 1, |_, rate| rate[0] = measure());
        rates.iter().sum()
    };
    Ceiling { int8_gops: everywhere(&|| isa.int8()[0].ceiling(SECONDS)), f32_gops: everywhere(&|| floats(isa)) }
}

fn floats(isa: Isa) -> f64 {
    let (mr, nr) = (isa.mr(), isa.nr());
    let (x, w) = (vec![1.0; INPUTS * mr], vec![1.0; INPUTS * nr]);
    let mut y = vec![0.0; mr * nr];
    let stripes = Stripes::new(&mut y, nr);
    let target = Target { stripes: &stripes, column: 0, columns: nr, rows: mr, add: false };
    best_rate((2 * INPUTS * mr * nr) as f64, SECONDS, |repeats| {
        // SAFETY: `y` is this function's own.
        (0..repeats).for_each(|_| unsafe { isa.matmul(INPUTS, &x, &w, &target) });
    })
}

/// The best rate, in billions of operations a second, at which `run(repeats)` did `operations` each time, tried for about `seconds`.
pub(super) fn best_rate(operations: f64, seconds: f64, mut run: impl FnMut(usize)) -> f64 {
    let (mut best, mut repeats) = (0.0f64, 64);
    let begun = Instant::now();
    while begun.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        run(std::hint::black_box(repeats));
        let took = start.elapsed().as_secs_f64();
        if took > 2e-3 {
            best = best.max(operations * repeats as f64 / took / 1e9);
        } else {
            repeats *= 2;
        }
    }
    best
}
