//! How much arithmetic requests cannot do without, and how much of it the machine could do.

use std::fs;

use super::requests::Length;
use crate::{
    backend::simd::{self, Isa, Threads},
    rerank::ModelInfo,
};

/// The operations of a request: two for each multiply-add of the layers, what all prompts share once, causal attention, and no more of the
/// last layer than the keys and values of every token and the rest of the last ones. `tests/bench/work.mjs` counts the same.
pub(super) fn operations(model: &ModelInfo, length: &Length) -> f64 {
    let queries = model.heads * model.head_dim;
    let keys_and_values = 2 * model.hidden * model.kv_heads * model.head_dim;
    let rest = 2 * model.hidden * queries + 3 * model.hidden * model.intermediate;
    let prompts = length.prompts.len();
    // The tokens that each token up to `last` looks at.
    let up_to = |last: usize| last * (last + 1) / 2;
    let looks: usize = length.prompts.iter().map(|last| up_to(*last) - up_to(length.shared)).sum();
    let last_looks: usize = length.prompts.iter().sum();
    let matrices = [
        length.computed() as f64 * (model.layers * keys_and_values) as f64,
        (length.computed() * (model.layers - 1) + prompts) as f64 * rest as f64,
    ];
    let attention = ((model.layers - 1) * (looks + up_to(length.shared)) + last_looks) as f64 * (2 * queries) as f64;
    2.0 * (matrices[0] + matrices[1] + attention)
}

/// What the processor reaches at most with the arithmetic that this model's kernels use, in 1e9 operations a second; none where it
/// is not measured.
pub(super) fn ceiling(model: &ModelInfo, isa: Isa, threads: usize) -> Option<f64> {
    let measured = simd::ceiling(isa, &Threads::new(threads).ok()?);
    Some(if matches!(model.quantization, "F32" | "F16" | "BF16") { measured.f32_gops } else { measured.int8_gops })
}

/// Bytes of the process's largest resident memory, as Linux tells (`VmHWM` in proc(5)); mapped files count as far as they were read.
pub(super) fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{local, weights::ModelFile};

    #[test]
    fn operations_are_those_of_the_other_benchmark() {
        let file = futures::executor::block_on(ModelFile::open(local::builtin())).unwrap();
        let model = ModelInfo {
            layers: 28,
            hidden: 1024,
            intermediate: 3072,
            heads: 16,
            kv_heads: 8,
            head_dim: 128,
            ..ModelInfo::new("0.6b".into(), &file)
        };
        let of = |shared: usize, prompts: &[usize]| operations(&model, &Length::new(shared, prompts.to_vec()));
        // What operationsPerPair() of tests/bench/work.mjs gives, times the documents.
        assert_eq!(of(79, &[216, 216, 300]), 508_976_152_576.0);
        // Alone, a prompt shares nothing, whatever could be shared.
        assert_eq!((of(0, &[216]), of(80, &[216])), (189_577_527_296.0, 189_577_527_296.0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_of_memory_is_known() {
        assert!(peak_memory().unwrap() > 1 << 20);
    }
}
