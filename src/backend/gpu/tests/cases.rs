//! What every kernel is given, and what it must give.

use std::sync::Arc;

use super::super::{
    Attention,
    kernel::Access::{self, Read as R, Write as W},
    params,
    product::Mode,
    shader::{self, Arithmetic, Fetch, Store, VARIANTS, Variant},
    weights::{Packer, Row, heads},
};
use crate::{
    kernels::{self, BLOCK_TYPES, noise, random_blocks},
    model::Config,
    weights::{DType, Matrix},
};

/// A kernel with its constants.
#[derive(Clone)]
pub(super) struct Code {
    pub(super) name: String,
    pub(super) source: Arc<str>,
    pub(super) constants: Vec<(&'static str, f64)>,
    pub(super) access: &'static [Access],
    pub(super) variant: Option<Variant>,
}

/// What a kernel must give.
pub(super) enum Want {
    F32(Vec<f32>),
    Bytes(Vec<i8>),
}

/// One dispatch and its expected result.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) code: Code,
    pub(super) buffers: Vec<Vec<u8>>,
    pub(super) params: [u32; params::WORDS],
    pub(super) grid: [usize; 2],
    /// The buffer with the result.
    pub(super) output: usize,
    pub(super) want: Want,
    pub(super) tolerance: f32,
}

fn fixed(name: &str, source: &str, access: &'static [Access]) -> Code {
    Code { name: name.into(), source: source.into(), constants: Vec::new(), access, variant: None }
}

pub(super) fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

pub(super) fn quantize_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for p in kernels::quantize::cases() {
        let mut x = noise(1, p.rows * p.width);
        if x.len() > p.block {
            x[..p.block].fill(0.0);
        }
        let blocks = p.rows * p.width / p.block;
        let (want, want_scales) = kernels::quantize::twin(p, &x);
        let scales = want_scales.iter().map(|s| s[0]).collect::<Vec<_>>();
        let case = |name: &str, output, want, tolerance| Case {
            name: format!("quantize {name} {}x{}/{}", p.rows, p.width, p.block),
            code: fixed(&format!("quantize {}", p.block), &shader::quantize(p.block as u32), &[R, W, W]),
            buffers: vec![bytes(&x), vec![0; p.rows * p.width], vec![0; 8 * blocks]],
            params: params::Quantize { blocks: blocks as u32 }.words(),
            grid: [blocks.div_ceil(64), 1],
            output,
            want,
            tolerance,
        };
        cases.push(case("bytes", 1, Want::Bytes(want), f32::from(kernels::quantize::TOLERANCE)));
        // A byte that falls the other way moves its block's sum by one scale.
        let sums = want_scales.iter().flatten().copied().collect();
        let most = scales.iter().fold(0.0, |a: f32, b| a.max(*b));
        cases.push(case("scales", 2, Want::F32(sums), 1.5 * most));
    }
    cases
}

fn matrix(dtype: DType, rows: usize, columns: usize) -> Matrix {
    match dtype {
        DType::F32 => Matrix::from_f32(rows, columns, &noise(2, rows * columns)).unwrap(),
        DType::F16 | DType::BF16 => {
            let half = |v: f32| match dtype {
                DType::F16 => half::f16::from_f32(v).to_le_bytes(),
                _ => half::bf16::from_f32(v).to_le_bytes(),
            };
            Matrix::new(dtype, rows, columns, noise(2, rows * columns).into_iter().flat_map(half).collect()).unwrap()
        }
        _ => random_blocks(dtype, rows, columns),
    }
}

/// A product of random rows with some rows of `sources`.
fn product_case(
    variant: Variant,
    sources: &[&Matrix],
    rows: &[Row],
    p: kernels::matmul::Params,
    mode: Mode,
    want: impl Fn(&[f32], &mut Vec<f32>),
) -> Case {
    let packer = Packer::new(sources, p.inputs, None);
    let store = packer.store;
    let (quants, scales) = packer.pack(sources, rows, None);
    let mut x = noise(3, p.rows * p.inputs);
    let shrink = if mode == Mode::Gated { 2 } else { 1 };
    let mut y = noise(4, p.rows * p.outputs / shrink);
    let before = bytes(&y);
    let block = store.block() as usize;
    let (mut operand, mut x_scales) = (bytes(&x), vec![0; 16]);
    if variant.arithmetic == Arithmetic::I8 {
        // A product in bytes is judged by the bytes it is given.
        let q = kernels::quantize::Params { rows: p.rows, width: p.inputs, block };
        let (quantized, pairs) = kernels::quantize::twin(q, &x);
        x = quantized.iter().enumerate().map(|(i, &q)| f32::from(q) * pairs[i / block][0]).collect();
        operand = quantized.into_iter().map(i8::cast_unsigned).collect();
        x_scales = bytes(pairs.as_flattened());
    }
    // Half of the cases in f16 have rows far beyond what a half holds.
    let large = if mode == Mode::Add { 1e6 } else { 1.0 };
    if variant.arithmetic == Arithmetic::F16 {
        x.iter_mut().for_each(|v| *v *= large);
        operand = bytes(&x);
        x_scales = bytes(&kernels::row_max::twin(kernels::row_max::Params { rows: p.rows, width: p.inputs }, &x));
    }
    want(&x, &mut y);
    let [tile_rows, tile_outputs] = variant.tile().map(|n| n as usize);
    // Of some types random bits are large weights.
    let weights = sources.iter().flat_map(|m| (0..m.rows()).flat_map(|r| m.row(r)));
    let most = weights.fold(1.0, |most: f32, w| most.max(w.abs()));
    let name = format!("matmul {} {}", store.name(), variant.name());
    Case {
        name: format!("{name} {}x{}x{} {mode:?}", p.rows, p.inputs, p.outputs),
        code: Code {
            name,
            source: variant.source(store).into(),
            constants: variant.constants(),
            access: &[R, R, R, R, W],
            variant: Some(variant),
        },
        buffers: vec![operand, x_scales, quants, if scales.is_empty() { vec![0; 16] } else { scales }, before],
        params: params::MatMul {
            rows: p.rows as u32,
            inputs4: p.inputs as u32 / 4,
            outputs: p.outputs as u32,
            stride4: (p.outputs / shrink / 4) as u32,
            y_row: 0,
            column4: 0,
            tile_x: 0,
            tile_y: 0,
            mode: mode as u32,
        }
        .words(),
        grid: [p.outputs.div_ceil(tile_outputs), p.rows.div_ceil(tile_rows)],
        output: 4,
        want: Want::F32(y),
        tolerance: match variant.arithmetic {
            Arithmetic::F16 => kernels::matmul::TOLERANCE_F16 * most * large,
            Arithmetic::F32 | Arithmetic::I8 => kernels::matmul::TOLERANCE,
        },
    }
}

pub(super) fn matmul_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in [DType::Q8_0, DType::F32, DType::F16, DType::BF16].into_iter().chain(BLOCK_TYPES) {
        let store = Store::of(dtype);
        // Every variant on two stores; on the others, whose unpacking alone differs, one for each arithmetic.
        let all = matches!(dtype, DType::Q8_0 | DType::F32);
        let few = |v: &Variant| (v.fetch == Fetch::Direct) != (v.arithmetic == Arithmetic::F16 && v.stage > 0);
        let quantized = matches!(store, Store::Blocks { .. });
        let fits = |v: &Variant| (quantized || v.arithmetic == Arithmetic::F32) && (all || few(v));
        let shapes: &[_] = if all { &[(1, 32, 4), (13, 96, 40), (70, 544, 132)] } else { &[(9, 256, 20)] };
        for variant in VARIANTS.into_iter().filter(fits) {
            for &(rows, inputs, outputs) in shapes {
                let w = matrix(dtype, outputs, inputs);
                let values: Vec<f32> = (0..outputs).flat_map(|r| w.row(r)).collect();
                let all_rows: Vec<Row> = (0..outputs).map(|r| Some((0, r))).collect();
                for mode in [Mode::Store, Mode::Add] {
                    let p = kernels::matmul::Params { rows, inputs, outputs, add: mode == Mode::Add };
                    let want = |x: &[f32], y: &mut Vec<f32>| kernels::matmul::twin(p, x, &values, y);
                    cases.push(product_case(variant, &[&w], &all_rows, p, mode, want));
                }
            }
        }
    }
    cases
}

/// SwiGLU at the end of a product: rows of gate and up interleaved by fours.
pub(super) fn gated_cases() -> Vec<Case> {
    let (rows, inputs, feed) = (21, 64, 40);
    let [gate, up] = [5, 6].map(|seed| noise(seed, feed * inputs));
    let sources = [&gate, &up].map(|w| Matrix::from_f32(feed, inputs, w).unwrap());
    let interleaved: Vec<Row> = (0..2 * feed).map(|r| Some((r / 4 % 2, r / 8 * 4 + r % 4))).collect();
    let one = kernels::matmul::Params { rows, inputs, outputs: feed, add: false };
    let want = |x: &[f32], y: &mut Vec<f32>| {
        let mut want_up = vec![0.0; rows * feed];
        kernels::matmul::twin(one, x, &gate, y);
        kernels::matmul::twin(one, x, &up, &mut want_up);
        kernels::swiglu::twin(y, &want_up);
    };
    let p = kernels::matmul::Params { outputs: 2 * feed, ..one };
    let floats = VARIANTS.into_iter().filter(|v| v.arithmetic == Arithmetic::F32);
    floats.map(|v| product_case(v, &[&sources[0], &sources[1]], &interleaved, p, Mode::Gated, want)).collect()
}

pub(super) fn rms_norm_cases() -> Vec<Case> {
    let case = |p: kernels::rms_norm::Params| {
        let padded = p.width.next_multiple_of(4);
        let (x, w) = (noise(9, p.rows * p.width), noise(10, p.width));
        let mut want = vec![0.0; x.len()];
        kernels::rms_norm::twin(p, &x, &w, &mut want);
        let rows = |values: &[f32]| -> Vec<f32> {
            let row = |r: &[f32]| r.iter().copied().chain(std::iter::repeat_n(0.0, padded - p.width)).collect();
            values.chunks_exact(p.width).flat_map::<Vec<f32>, _>(row).collect()
        };
        // Two rows of something else come first.
        let x = [noise(1, 2 * padded), rows(&x)].concat();
        Case {
            name: format!("rms_norm {}x{}", p.rows, p.width),
            code: fixed("rms_norm", include_str!("../../../kernels/rms_norm.wgsl"), &[R, R, W]),
            buffers: vec![bytes(&x), bytes(&rows(&w)), bytes(&vec![1.0; p.rows * padded])],
            params: params::RmsNorm { width4: padded as u32 / 4, x_row: 2, width: p.width as f32, eps: p.eps }.words(),
            grid: [p.rows, 1],
            output: 2,
            want: Want::F32(rows(&want)),
            tolerance: kernels::rms_norm::TOLERANCE,
        }
    };
    kernels::rms_norm::cases().into_iter().map(case).collect()
}

pub(super) fn head_norm_rope_cases() -> Vec<Case> {
    let case = |p: kernels::head_norm_rope::Params| {
        let x = noise(11, p.rows * p.heads * p.head_dim);
        let w = noise(12, p.head_dim);
        let positions: Vec<u32> = (0..p.rows as u32).map(|r| 7 * r).collect();
        let mut want = x.clone();
        kernels::head_norm_rope::twin(p, &mut want, &positions, &w);
        let frequencies = kernels::head_norm_rope::frequencies(p.theta, p.head_dim);
        let turn = |p: usize| frequencies.iter().flat_map(move |f| kernels::head_norm_rope::turn(p, *f));
        let angles: Vec<f32> = (0..7 * p.rows).flat_map(turn).collect();
        // The rows' positions come after one that is not theirs.
        let positions = [vec![99], positions].concat();
        Case {
            name: format!("head_norm_rope {}x{}x{}", p.rows, p.heads, p.head_dim),
            code: fixed("head_norm_rope", include_str!("../../../kernels/head_norm_rope.wgsl"), &[W, R, R, R]),
            buffers: vec![bytes(&x), bytes(&w), words(&positions), bytes(&angles)],
            params: params::HeadNormRope {
                heads: p.heads as u32,
                head_dim: p.head_dim as u32,
                stride: (p.heads * p.head_dim) as u32,
                head_stride: p.head_dim as u32,
                x_row: 0,
                position: 1,
                eps: p.eps,
            }
            .words(),
            grid: [p.rows, p.heads.div_ceil(4)],
            output: 0,
            want: Want::F32(want),
            tolerance: kernels::head_norm_rope::TOLERANCE,
        }
    };
    kernels::head_norm_rope::cases().into_iter().map(case).collect()
}

pub(super) fn row_max_cases() -> Vec<Case> {
    let case = |p: kernels::row_max::Params| {
        let x = noise(13, p.rows * p.width);
        Case {
            name: format!("row_max {}x{}", p.rows, p.width),
            code: fixed("row_max", include_str!("../../../kernels/row_max.wgsl"), &[R, W]),
            buffers: vec![bytes(&x), vec![0; 4 * p.rows]],
            params: params::RowMax { width4: p.width as u32 / 4 }.words(),
            grid: [p.rows, 1],
            output: 1,
            want: Want::F32(kernels::row_max::twin(p, &x)),
            tolerance: kernels::row_max::TOLERANCE,
        }
    };
    kernels::row_max::cases().into_iter().map(case).collect()
}

/// What attention looks at of a model's shape.
fn shape_of(p: kernels::attend::Params) -> Config {
    Config {
        hidden: 32,
        intermediate: 32,
        layers: 1,
        heads: p.heads,
        kv_heads: p.kv_heads,
        head_dim: p.head_dim,
        vocabulary: 1,
        rope_theta: 1e6,
        rms_eps: 1e-6,
        context: 1,
    }
}

pub(super) fn attend_cases() -> Vec<Case> {
    let case = |p: kernels::attend::Params| {
        let head = p.head_dim.next_multiple_of(4);
        let (kv_stride, q_stride) = (p.kv_heads * head, p.heads * head);
        let (width, own) = (p.kv_heads * p.head_dim, p.keys() - p.prefix);
        let keys = [noise(4, p.prefix * width), noise(5, own * width)];
        let values = [noise(6, p.prefix * width), noise(7, own * width)];
        let q: Vec<f32> = noise(8, p.queries * p.heads * p.head_dim).iter().map(|v| v * 3.0).collect();
        let mut want = q.clone();
        kernels::attend::twin(p, &mut want, [&keys[0], &keys[1]], [&values[0], &values[1]]);
        let pad = |values: &[f32], count: usize| -> Vec<f32> {
            let places = heads(count, p.head_dim, head);
            let row = |r: &[f32]| places.iter().map(|p| p.map_or(0.0, |(_, i)| r[i])).collect::<Vec<_>>();
            values.chunks_exact(count * p.head_dim).flat_map(row).collect()
        };
        let attention = Attention::choose(&shape_of(p)).unwrap();
        // A row of another sequence, the prefix, two rows of others, the sequence's own.
        let rows = |[shared, own]: &[Vec<f32>; 2]| {
            let [shared, own] = [shared, own].map(|values| pad(values, p.kv_heads));
            bytes(&[noise(3, kv_stride), shared, noise(2, 2 * kv_stride), own].concat())
        };
        let mut tiles = Vec::new();
        for row in (0..p.queries).step_by(attention.tile_rows()) {
            let rows = attention.tile_rows().min(p.queries - row);
            tiles.extend([row, rows, p.first + row, 1, p.prefix, 3 + p.prefix].map(|v| v as u32));
        }
        let count = tiles.len() / 6;
        Case {
            name: format!("attend {}+{} of {}/{}x{}", p.first, p.queries, p.heads, p.kv_heads, p.head_dim),
            code: Code {
                constants: attention.constants(),
                ..fixed("attend", include_str!("../../../kernels/attend.wgsl"), &[W, R, R, R])
            },
            buffers: vec![bytes(&pad(&q, p.heads)), rows(&keys), rows(&values), words(&tiles)],
            params: params::Attend {
                first_tile: 0,
                heads: p.heads as u32,
                kv_heads: p.kv_heads as u32,
                q_stride: q_stride as u32,
                kv_stride: kv_stride as u32,
                scale: 1.0 / (p.head_dim as f32).sqrt(),
            }
            .words(),
            grid: [count, p.heads / attention.heads],
            output: 0,
            want: Want::F32(pad(&want, p.heads)),
            tolerance: kernels::attend::TOLERANCE_GPU,
        }
    };
    kernels::attend::cases().into_iter().map(case).collect()
}
