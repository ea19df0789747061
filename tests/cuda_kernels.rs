//! The kernels for NVIDIA cards, the same text compiled for the processor (tests/cuda/emulate.cpp), against their twins.
#![cfg(feature = "candle")]

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use edge_reranker::kernels::{attend, head_norm_rope, noise, rms_norm, swiglu, worst};
use half::{bf16, f16};

/// Largest scaled errors for numbers of f32, f16 and bf16: of the last, half a unit in the last place is 0.002.
const BOUNDS: [(&str, f32); 3] = [("f32", 1e-5), ("f16", 1.5e-3), ("bf16", 8e-3)];

fn rounded(dtype: &str, values: &[f32]) -> Vec<f32> {
    let round = |&x: &f32| match dtype {
        "f16" => f16::from_f32(x).to_f32(),
        "bf16" => bf16::from_f32(x).to_f32(),
        _ => x,
    };
    values.iter().map(round).collect()
}

/// The emulator, compiled once; none where there is no C++ compiler.
fn emulator() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("emulate-{}", std::process::id()));
        let compiler = std::env::var_os("CXX").unwrap_or_else(|| "g++".into());
        let mut command = Command::new(compiler);
        command.args(["-O2", "-std=c++20", "-w", "-o"]).arg(&binary).arg(root.join("tests/cuda/emulate.cpp"));
        match command.output() {
            Ok(output) => {
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                Some(binary)
            }
            Err(e) => {
                eprintln!("skipped: no C++ compiler ({e})");
                None
            }
        }
    };
    BUILT.get_or_init(build).as_deref()
}

fn words(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// Runs a kernel; none where there is no emulator.
fn emulate(kernel: &str, dtype: &str, numbers: &[f64], buffers: &[Vec<u32>]) -> Option<Vec<f32>> {
    let [forward, reversed] = [false, true].map(|reversed| emulate_in_order(kernel, dtype, numbers, buffers, reversed));
    let bits = |x: &Option<Vec<f32>>| x.as_deref().map(words);
    assert_eq!(bits(&forward), bits(&reversed), "{kernel} {dtype}: the order of threads must not matter");
    forward
}

fn emulate_in_order(
    kernel: &str,
    dtype: &str,
    numbers: &[f64],
    buffers: &[Vec<u32>],
    reversed: bool,
) -> Option<Vec<f32>> {
    let mut input = Vec::new();
    for buffer in buffers {
        input.extend((buffer.len() as u32).to_le_bytes());
        input.extend(buffer.iter().flat_map(|w| w.to_le_bytes()));
    }
    let mut command = Command::new(emulator()?);
    command.arg(kernel).arg(dtype).args(numbers.iter().map(f64::to_string));
    if reversed {
        command.env("REVERSED", "1");
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{kernel} {dtype} {numbers:?}");
    Some(output.stdout.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

fn close(what: &str, got: &[f32], want: &[f32], bound: f32) {
    let (error, at) = worst(got, want);
    assert!(error <= bound, "{what}: off by {error} at {at}: {}, want {}", got[at], want[at]);
}

#[test]
fn norms_agree_with_their_twin() {
    for (dtype, bound) in BOUNDS {
        for p in rms_norm::cases() {
            let len = p.rows * p.width;
            let (x, w, more) = (noise(1, len), noise(2, p.width), rounded(dtype, &noise(3, len)));
            let numbers = [p.rows as f64, p.width as f64, f64::from(p.eps)];
            let Some(got) = emulate("rms_norm", dtype, &numbers, &[words(&x), words(&w)]) else { return };
            let mut want = vec![0.0; len];
            rms_norm::twin(p, &x, &w, &mut want);
            close(&format!("rms_norm {dtype} {p:?}"), &got, &want, bound);

            let sum: Vec<f32> = x.iter().zip(&more).map(|(x, m)| x + m).collect();
            let buffers = [words(&x), words(&more), words(&w)];
            let got = emulate("add_rms_norm", dtype, &numbers, &buffers).unwrap();
            rms_norm::twin(p, &sum, &w, &mut want);
            assert_eq!(got[..len], sum, "the residual itself");
            close(&format!("add_rms_norm {dtype} {p:?}"), &got[len..], &want, bound);
            assert_eq!(emulate("add", dtype, &[], &buffers[..2]).unwrap(), sum);
        }
    }
}

#[test]
fn swiglu_agrees_with_its_twin() {
    for (dtype, bound) in BOUNDS {
        for len in swiglu::cases() {
            let gate: Vec<f32> = noise(1, len).iter().map(|x| 9.0 * x).collect();
            let (gate, up) = (rounded(dtype, &gate), rounded(dtype, &noise(2, len)));
            let Some(got) = emulate("swiglu", dtype, &[], &[words(&gate), words(&up)]) else { return };
            let mut want = gate;
            swiglu::twin(&mut want, &up);
            close(&format!("swiglu {dtype} {len}"), &got, &want, bound);
        }
    }
}

#[test]
fn head_norm_rope_agrees_with_its_twin() {
    for (dtype, bound) in BOUNDS {
        for p in head_norm_rope::cases() {
            let x = rounded(dtype, &noise(1, p.rows * p.heads * p.head_dim));
            let w = noise(2, p.head_dim);
            let positions: Vec<u32> = (0..p.rows as u32).map(|r| 7 * r).collect();
            let frequencies = head_norm_rope::frequencies(p.theta, p.head_dim);
            let turns: Vec<f32> = positions
                .iter()
                .flat_map(|&at| {
                    [0, 1].map(|e| frequencies.iter().map(move |&f| head_norm_rope::turn(at as usize, f)[e]))
                })
                .flatten()
                .collect();
            let numbers = [p.rows, p.heads, p.head_dim].map(|n| n as f64);
            let numbers = [&numbers[..], &[f64::from(p.eps)]].concat();
            let buffers = [words(&x), words(&w), words(&turns)];
            let Some(got) = emulate("head_norm_rope", dtype, &numbers, &buffers) else { return };
            let mut want = x;
            head_norm_rope::twin(p, &mut want, &positions, &w);
            close(&format!("head_norm_rope {dtype} {p:?}"), &got, &want, bound);
        }
    }
}

/// Own rows of a sequence, and how many of its last rows ask.
type Sequence = [usize; 2];

/// Sequences in one buffer, as `plan::Tile` lays them out: rows of nobody, all prefixes, rows of nobody, and each sequence's own.
struct Packed {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    /// Of each batch the rows of its prefix, and the sequences behind it.
    batches: Vec<(usize, Vec<Sequence>)>,
}

impl Packed {
    /// What `kernel` gives and what the twin wants; none without an emulator. `tile` query rows at most are in a tile.
    fn run(&self, kernel: &str, dtype: &str, tile: usize) -> Option<[Vec<f32>; 2]> {
        const NOBODY: usize = 3;
        let (heads, kv_heads, head_dim) = (self.heads, self.kv_heads, self.head_dim);
        let (width, kv_width) = (heads * head_dim, kv_heads * head_dim);
        let prefixes: usize = self.batches.iter().map(|(prefix, _)| prefix).sum();
        let all = || self.batches.iter().flat_map(|(_, sequences)| sequences);
        let rows = 2 * NOBODY + prefixes + all().map(|s| s[0]).sum::<usize>();
        let q = rounded(dtype, &noise(1, all().map(|s| s[1]).sum::<usize>() * width));
        let [mut k, mut v] = [2, 3].map(|seed| rounded(dtype, &noise(seed, rows * kv_width)));
        for nobody in [0, NOBODY + prefixes] {
            k[nobody * kv_width..][..NOBODY * kv_width].fill(f32::NAN);
            v[nobody * kv_width..][..NOBODY * kv_width].fill(f32::NAN);
        }
        let (mut want, mut tiles) = (q.clone(), Vec::new());
        let (mut prefix, mut own, mut query) = (NOBODY, 2 * NOBODY + prefixes, 0);
        for (shared, sequences) in &self.batches {
            for &[length, asking] in sequences {
                let first = shared + length - asking;
                for start in (0..asking).step_by(tile) {
                    let n = tile.min(asking - start);
                    tiles.extend([query + start, n, first + start, prefix, *shared, own].map(|w| w as u32));
                }
                let p = attend::Params { queries: asking, first, prefix: *shared, heads, kv_heads, head_dim };
                let part = |x: &[f32], row: usize, n: usize| x[row * kv_width..][..n * kv_width].to_vec();
                let [keys, values] = [&k, &v].map(|x| [part(x, prefix, *shared), part(x, own, length)]);
                let to = &mut want[query * width..][..asking * width];
                attend::twin(p, to, [&keys[0], &keys[1]], [&values[0], &values[1]]);
                own += length;
                query += asking;
            }
            prefix += shared;
        }
        let numbers = [heads, kv_heads, head_dim].map(|n| n as f64);
        let got = emulate(kernel, dtype, &numbers, &[words(&q), words(&k), words(&v), tiles])?;
        Some([got, want])
    }
}

#[test]
fn plain_attention_agrees_with_its_twin() {
    for (dtype, bound) in BOUNDS {
        for (heads, kv_heads, head_dim) in [(1, 1, 2), (4, 2, 16), (2, 1, 128), (2, 2, 34), (1, 1, 256)] {
            let batches = vec![(5, vec![[4, 4], [1, 1], [9, 3]]), (0, vec![[3, 2]]), (2, vec![[2, 1]])];
            let packed = Packed { heads, kv_heads, head_dim, batches };
            let Some([got, want]) = packed.run("attend_plain", dtype, 3) else { return };
            close(&format!("{dtype} {heads} {kv_heads} {head_dim}"), &got, &want, bound);
        }
    }
}

#[test]
fn attention_on_matrix_instructions_agrees_with_its_twin() {
    let run = |dtype, [heads, kv_heads, head_dim]: [usize; 3], batches: &[(usize, &[Sequence])]| {
        let owned = batches.iter().map(|(prefix, sequences)| (*prefix, sequences.to_vec())).collect();
        let packed = Packed { heads, kv_heads, head_dim, batches: owned };
        let Some([got, want]) = packed.run("attend", dtype, 64 * kv_heads / heads) else { return };
        let bound = BOUNDS.iter().find(|(name, _)| *name == dtype).unwrap().1;
        close(&format!("{dtype} {heads} {kv_heads} {head_dim}: {batches:?}"), &got, &want, bound);
    };
    // No prefix; the prefix's own rows; one row, one key.
    run("bf16", [2, 1, 128], &[(0, &[[33, 33], [1, 1]])]);
    // The 4B's and 8B's heads for one key/value head; a prefix that ends within a tile of keys, one at its end, one after it.
    run("bf16", [4, 1, 128], &[(37, &[[20, 20], [70, 18]])]);
    run("bf16", [4, 1, 128], &[(64, &[[1, 1], [64, 1], [63, 2]])]);
    run("bf16", [4, 2, 64], &[(65, &[[70, 70], [3, 3]])]);
    // Last rows only, as in the last layer, and a group that does not fill a tile.
    run("f16", [16, 1, 64], &[(130, &[[5, 1], [60, 1], [1, 1]])]);
    run("f16", [3, 1, 128], &[(10, &[[120, 25]])]);
    run("f16", [1, 1, 64], &[(3, &[[66, 66]])]);
    // Several clients, each with a prefix of its own or none.
    run("bf16", [4, 1, 128], &[(37, &[[20, 20], [5, 1]]), (0, &[[9, 9]]), (66, &[[3, 3], [30, 2]])]);
    run("f16", [2, 1, 64], &[(1, &[[2, 1]]), (64, &[[64, 64]]), (5, &[[70, 1]])]);
}
