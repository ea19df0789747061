//! From measurements to figures, as JSON and as a table.

use std::io::{self, Write};

use serde::Serialize;

use super::{
    Pass,
    requests::Requests,
    work::{ceiling, operations, peak_memory},
};
use crate::{
    backend::simd::Isa,
    cli::{
        Common,
        progress::{count, size},
        visible::visible,
    },
    rerank::Reranker,
};

/// All figures; the verb's help explains them.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    model: &'a str,
    device: &'a str,
    /// The GPU's name, where one computed.
    adapter: Option<String>,
    /// The processor's instruction set, where it computed.
    instructions: Option<&'static str>,
    threads: Option<usize>,
    documents: usize,
    tokens_per_document: Option<usize>,
    requests: usize,
    prompt_tokens: usize,
    prefix_reused_tokens: usize,
    repeat: usize,
    load_ms: f64,
    ms_per_pair: Spread,
    tokens_per_second: f64,
    documents_per_second: f64,
    request_ms: Percentiles,
    first_score_ms: Middle,
    peak_memory_bytes: Option<u64>,
    model_bytes: u64,
    gops: f64,
    ceiling_gops: Option<f64>,
    share_of_ceiling: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<&'a [f32]>,
}

#[derive(Serialize)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

#[derive(Serialize)]
struct Percentiles {
    p50: f64,
    p95: f64,
}

#[derive(Serialize)]
struct Middle {
    p50: f64,
}

impl<'a> Report<'a> {
    /// The figures of all passes.
    pub(super) fn new(
        common: &Common,
        reranker: &'a Reranker,
        requests: &Requests,
        load_ms: f64,
        passes: &'a [Pass],
    ) -> Self {
        let peak_memory_bytes = peak_memory();
        let (info, documents, last) = (reranker.info(), requests.documents(), &passes[passes.len() - 1]);
        let pass_ms = Sorted::new(passes.iter().map(|pass| pass.request_ms.iter().sum()));
        let request_ms = Sorted::new(passes.iter().flat_map(|pass| pass.request_ms.iter().copied()));
        let first_score_ms = Sorted::new(passes.iter().flat_map(|pass| pass.first_score_ms.iter().copied()));
        let seconds = pass_ms.percentile(0.5) / 1e3;
        let gops = requests.lengths.iter().map(|l| operations(info, l)).sum::<f64>() / seconds / 1e9;
        let adapter = adapter(reranker);
        let isa = (info.device == "cpu").then(Isa::best);
        let ceiling_gops = isa.and_then(|isa| ceiling(info, isa, common.threads()));
        let per_pair = |part: f64| pass_ms.percentile(part) / documents as f64;
        Self {
            model: &info.name,
            device: &info.device,
            adapter,
            instructions: isa.map(Isa::name),
            threads: isa.map(|_| common.threads()),
            documents,
            tokens_per_document: requests.tokens_per_document,
            requests: requests.all.len(),
            prompt_tokens: requests.prompt_tokens(),
            prefix_reused_tokens: last.prefix_reused,
            repeat: passes.len(),
            load_ms,
            ms_per_pair: Spread { median: per_pair(0.5), min: per_pair(0.0), max: per_pair(1.0) },
            tokens_per_second: requests.prompt_tokens() as f64 / seconds,
            documents_per_second: documents as f64 / seconds,
            request_ms: Percentiles { p50: request_ms.percentile(0.5), p95: request_ms.percentile(0.95) },
            first_score_ms: Middle { p50: first_score_ms.percentile(0.5) },
            peak_memory_bytes,
            model_bytes: info.bytes,
            gops,
            ceiling_gops,
            share_of_ceiling: ceiling_gops.map(|ceiling| gops / ceiling),
            scores: requests.tokens_per_document.is_none().then_some(&last.scores),
        }
    }

    /// Writes the table for people.
    pub(super) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut line = |name: &str, value: String| writeln!(out, "{name:<14}{}", visible(&value));
        line("model", format!("{}, {}", self.model, size(self.model_bytes)))?;
        line("runs on", self.machine())?;
        line("loaded in", milliseconds(self.load_ms))?;
        line("scored", self.workload())?;
        let Spread { median, min, max } = self.ms_per_pair;
        let spread = format!("{} to {}", milliseconds(min), milliseconds(max));
        line("a pair", format!("{} (median of {}; {spread})", milliseconds(median), plural(self.repeat, "repeat")))?;
        let Percentiles { p50, p95 } = self.request_ms;
        line("a request", format!("p50 {}, p95 {}", milliseconds(p50), milliseconds(p95)))?;
        line("first score", format!("p50 {}", milliseconds(self.first_score_ms.p50)))?;
        let computed = 1.0 - self.prefix_reused_tokens as f64 / self.prompt_tokens as f64;
        let tokens = [self.tokens_per_second, self.tokens_per_second * computed].map(|n| count(n.round() as u64));
        let documents = number(self.documents_per_second);
        line("speed", format!("{documents} documents/s, {} tokens/s ({} computed)", tokens[0], tokens[1]))?;
        let ceiling = match (self.share_of_ceiling, self.ceiling_gops) {
            (Some(share), Some(ceiling)) => {
                format!(", {} % of the {} it reaches at most", number(100.0 * share), number(ceiling))
            }
            _ => String::new(),
        };
        line("arithmetic", format!("{} billion operations/s{ceiling}", number(self.gops)))?;
        match self.peak_memory_bytes {
            Some(bytes) => line("peak memory", size(bytes)),
            None => Ok(()),
        }
    }

    fn machine(&self) -> String {
        match (&self.adapter, self.instructions, self.threads) {
            (Some(name), ..) => format!("the GPU, {name}"),
            (None, Some(instructions), Some(threads)) => {
                format!("the processor, {instructions} instructions, {}", plural(threads, "thread"))
            }
            _ => self.device.into(),
        }
    }

    fn workload(&self) -> String {
        let mut text = plural(self.documents, "document");
        if let Some(tokens) = self.tokens_per_document {
            text += &format!(" of {}", plural(tokens, "token"));
        }
        if self.requests > 1 {
            text += &format!(" in {}", plural(self.requests, "request"));
        }
        text += &format!("; prompts of {}", plural(self.prompt_tokens, "token"));
        if self.prefix_reused_tokens > 0 {
            text += &format!(", {} of them shared and computed once", count(self.prefix_reused_tokens as u64));
        }
        text
    }
}

#[cfg(feature = "gpu")]
fn adapter(reranker: &Reranker) -> Option<String> {
    reranker.gpu().map(|gpu| gpu.adapter().name.clone())
}

#[cfg(not(feature = "gpu"))]
fn adapter(_: &Reranker) -> Option<String> {
    None
}

/// Measurements from the smallest to the largest; at least one.
struct Sorted(Vec<f64>);

impl Sorted {
    fn new(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// The value below which `part` of all lie, interpolated linearly between the closest ranks.
    fn percentile(&self, part: f64) -> f64 {
        let rank = part * (self.0.len() - 1) as f64;
        let (low, high) = (self.0[rank.floor() as usize], self.0[rank.ceil() as usize]);
        low + (high - low) * rank.fract()
    }
}

fn plural(n: usize, noun: &str) -> String {
    format!("{} {noun}{}", count(n as u64), if n == 1 { "" } else { "s" })
}

/// Three digits or more: `0.00123`, `12.3`, `1,234`.
fn number(x: f64) -> String {
    if x >= 100.0 {
        return count(x.round() as u64);
    }
    let digits = if x > 0.0 { 2 - x.log10().floor().clamp(-6.0, 2.0) as i32 } else { 0 };
    format!("{x:.*}", digits.max(0) as usize)
}

fn milliseconds(ms: f64) -> String {
    if ms < 10_000.0 { format!("{} ms", number(ms)) } else { format!("{} s", number(ms / 1e3)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_interpolated() {
        let sorted = Sorted::new([4.0, 1.0, 3.0, 2.0].into_iter());
        let of = |part: f64| sorted.percentile(part);
        assert_eq!((of(0.0), of(0.5), of(1.0)), (1.0, 2.5, 4.0));
        assert!((of(0.95) - 3.85).abs() < 1e-12);
        assert_eq!(Sorted::new([7.0].into_iter()).percentile(0.95), 7.0);
    }

    #[test]
    fn numbers_have_three_digits_or_more() {
        let shown: Vec<String> = [0.0, 0.001_234, 0.5, 1.0, 9.876, 99.94, 1234.5].map(number).into();
        assert_eq!(shown, ["0", "0.00123", "0.500", "1.00", "9.88", "99.9", "1,235"]);
        assert_eq!([milliseconds(12.34), milliseconds(12_340.0)], ["12.3 ms", "12.3 s"]);
    }
}
