//! Every kernel against its twin over its case list, on every adapter of this machine. The cases are plain data, so that browsers
//! run the same ones (`gpu_cases_are_written`).

use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine};
use futures::executor::block_on;
use serde::Serialize;

use super::{
    Attention,
    blocks::tests::{TYPES, random_blocks},
    device::{Device, GpuOptions, adapters},
    kernel::{
        Access::{self, Read as R, Write as W},
        Kernel, params_layout,
    },
    memory::Buffer,
    params,
    product::Mode,
    queue::{Job, Portions, Queue},
    shader::{self, Arithmetic, Fetch, Store, VARIANTS, Variant},
    weights::{Packer, Row, heads},
};
use crate::{
    backend::Free,
    kernels::{self, noise, worst},
    model::Config,
    plan::{Before, Rows, pack},
    weights::{DType, Matrix},
};

/// A kernel with its constants.
#[derive(Clone)]
struct Code {
    name: String,
    source: Arc<str>,
    constants: Vec<(&'static str, f64)>,
    access: &'static [Access],
    variant: Option<Variant>,
}

/// What a kernel must give.
enum Want {
    F32(Vec<f32>),
    Bytes(Vec<i8>),
}

/// One dispatch and its expected result.
struct Case {
    name: String,
    code: Code,
    buffers: Vec<Vec<u8>>,
    params: [u32; params::WORDS],
    grid: [usize; 2],
    /// The buffer with the result.
    output: usize,
    want: Want,
    tolerance: f32,
}

fn fixed(name: &str, source: &str, access: &'static [Access]) -> Code {
    Code { name: name.into(), source: source.into(), constants: Vec::new(), access, variant: None }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

// The cases.

fn quantize_cases() -> Vec<Case> {
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
        _ => {
            let blocks = rows * columns / dtype.block_len();
            Matrix::new(dtype, rows, columns, random_blocks(dtype, blocks).into()).unwrap()
        }
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

fn matmul_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in [DType::Q8_0, DType::F32, DType::F16, DType::BF16].into_iter().chain(TYPES) {
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
fn gated_cases() -> Vec<Case> {
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

fn rms_norm_cases() -> Vec<Case> {
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
            code: fixed("rms_norm", include_str!("../../kernels/rms_norm.wgsl"), &[R, R, W]),
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

fn head_norm_rope_cases() -> Vec<Case> {
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
            code: fixed("head_norm_rope", include_str!("../../kernels/head_norm_rope.wgsl"), &[W, R, R, R]),
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

fn row_max_cases() -> Vec<Case> {
    let case = |p: kernels::row_max::Params| {
        let x = noise(13, p.rows * p.width);
        Case {
            name: format!("row_max {}x{}", p.rows, p.width),
            code: fixed("row_max", include_str!("../../kernels/row_max.wgsl"), &[R, W]),
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

fn attend_cases() -> Vec<Case> {
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
        // The sequence's own rows come after a row of another.
        let own = |values: &[f32]| bytes(&[noise(3, kv_stride), pad(values, p.kv_heads)].concat());
        let shared = |values: &[f32]| [bytes(&pad(values, p.kv_heads)), vec![0; 16]].concat();
        let mut tiles = Vec::new();
        for row in (0..p.queries).step_by(attention.tile_rows()) {
            let rows = attention.tile_rows().min(p.queries - row);
            tiles.extend([row, rows, p.first + row, 1, p.prefix].map(|v| v as u32));
        }
        let count = tiles.len() / 5;
        Case {
            name: format!("attend {}+{} of {}/{}x{}", p.first, p.queries, p.heads, p.kv_heads, p.head_dim),
            code: Code {
                constants: attention.constants(),
                ..fixed("attend", include_str!("../../kernels/attend.wgsl"), &[W, R, R, R, R, R])
            },
            buffers: vec![
                bytes(&pad(&q, p.heads)),
                own(&keys[1]),
                own(&values[1]),
                shared(&keys[0]),
                shared(&values[0]),
                words(&tiles),
            ],
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

// Running them here.

struct Bench {
    device: Device,
    layout: wgpu::BindGroupLayout,
    portions: Portions,
}

impl Bench {
    /// A device within WebGPU's default limits.
    fn open(adapter: &str) -> Self {
        let options = GpuOptions { name: Some(adapter.to_owned()), default_limits: true, ..GpuOptions::default() };
        let device = block_on(Device::open(&options)).expect("a device");
        let layout = params_layout(&device);
        let portions = Portions::new(&device, &layout, false);
        Self { device, layout, portions }
    }

    fn buffer(&self, bytes: &[u8]) -> Buffer {
        let buffer = Buffer::storage(&self.device, "test", bytes.len() as u64);
        self.device.queue.write_buffer(&buffer.raw, 0, bytes);
        buffer
    }

    fn run(&self, kernel: &Kernel, case: &Case) -> Vec<u8> {
        let buffers: Vec<Buffer> = case.buffers.iter().map(|b| self.buffer(b)).collect();
        let bound: Vec<&Buffer> = buffers.iter().collect();
        let job = Job::new(&self.device, kernel, &bound, case.params, case.grid.map(|n| n as u32), 1);
        block_on(async {
            let mut queue = Queue::new(&self.device, &self.portions, &Free);
            queue.job(job).await?;
            queue.finish().await
        })
        .unwrap();
        let len = case.buffers[case.output].len();
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let back = Buffer::new(&self.device, "back", len as u64, usage);
        let mut encoder = self.device.raw.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&buffers[case.output].raw, 0, &back.raw, 0, len as u64);
        block_on(self.device.submit(Some(encoder.finish())));
        back.raw.map_async(wgpu::MapMode::Read, .., |_| {});
        self.device.raw.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        self.device.check().unwrap();
        back.raw.get_mapped_range(..).unwrap().to_vec()
    }

    fn check(&self, case: &Case, got: &[u8]) {
        let place = format!("{} on {}", case.name, self.device.adapter.name);
        match &case.want {
            Want::F32(want) => {
                let got: Vec<f32> = got.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
                let (error, at) = worst(&got, want);
                let found = format!("element {at} is {}, want {} (scaled error {error})", got[at], want[at]);
                assert!(error <= case.tolerance, "{place}: {found}");
            }
            Want::Bytes(want) => {
                for (i, (got, want)) in got.iter().map(|b| b.cast_signed()).zip(want).enumerate() {
                    let error = f32::from(got.abs_diff(*want));
                    assert!(error <= case.tolerance, "{place}: byte {i} is {got}, want {want}");
                }
            }
        }
    }
}

fn everywhere(cases: Vec<Case>) {
    let found = block_on(adapters());
    if found.is_empty() {
        println!("SKIPPED: this machine has no GPU adapter, not even a software one");
    }
    for adapter in found {
        println!("{adapter:?}");
        let bench = Bench::open(&adapter.name);
        let mut kernel: Option<(Code, Kernel)> = None;
        for case in &cases {
            let code = &case.code;
            let store = if case.code.name.contains("q8") { Store::of(DType::Q8_0) } else { Store::of(DType::Q4_0) };
            if code.variant.is_some_and(|v| !v.fits(store, &bench.device.adapter)) {
                println!("skipped on this adapter: {}", case.name);
                continue;
            }
            let same = |made: &Code| made.source == code.source && made.constants == code.constants;
            if !kernel.as_ref().is_some_and(|(made, _)| same(made)) {
                let (device, layout) = (&bench.device, &bench.layout);
                let made =
                    Kernel::new(device, layout, &code.name, code.source.to_string(), &code.constants, code.access);
                kernel = Some((code.clone(), block_on(made).unwrap_or_else(|e| panic!("{}: {e}", case.name))));
            }
            let (_, kernel) = kernel.as_ref().expect("made above");
            bench.check(case, &bench.run(kernel, case));
        }
    }
}

#[test]
fn params_lie_as_the_shaders_read_them() {
    let matmul = VARIANTS[0].source(Store::Blocks { bits: 8, block: 32, halves: true });
    let quantize = shader::quantize(32);
    for (name, source, fields) in [
        ("matmul", &*matmul, params::MatMul::FIELDS),
        ("quantize", &quantize, params::Quantize::FIELDS),
        ("row_max", include_str!("../../kernels/row_max.wgsl"), params::RowMax::FIELDS),
        ("rms_norm", include_str!("../../kernels/rms_norm.wgsl"), params::RmsNorm::FIELDS),
        ("head_norm_rope", include_str!("../../kernels/head_norm_rope.wgsl"), params::HeadNormRope::FIELDS),
        ("attend", include_str!("../../kernels/attend.wgsl"), params::Attend::FIELDS),
    ] {
        let module = naga::front::wgsl::parse_str(source).unwrap_or_else(|e| panic!("{name}: {e}"));
        let found = module.types.iter().find(|(_, t)| t.name.as_deref() == Some("Params"));
        let naga::TypeInner::Struct { members, .. } = &found.unwrap().1.inner else { panic!("{name}: no struct") };
        let got: Vec<_> = members
            .iter()
            .map(|m| {
                let naga::TypeInner::Scalar(s) = module.types[m.ty].inner else { panic!("{name}: not a scalar") };
                let kind = if s.kind == naga::ScalarKind::Float { "f32" } else { "u32" };
                (m.name.clone().unwrap(), kind, m.offset)
            })
            .collect();
        let want: Vec<_> =
            fields.iter().enumerate().map(|(i, (n, kind))| ((*n).to_owned(), *kind, 4 * i as u32)).collect();
        assert_eq!(got, want, "{name}");
    }
}

#[test]
fn quantize_equals_its_twin() {
    everywhere(quantize_cases());
}

#[test]
fn matmul_equals_its_twin_in_every_variant_and_store() {
    everywhere(matmul_cases());
}

#[test]
fn a_gated_product_equals_two_products_and_swiglu() {
    everywhere(gated_cases());
}

#[test]
fn rms_norm_equals_its_twin() {
    everywhere(rms_norm_cases());
}

#[test]
fn row_max_equals_its_twin() {
    everywhere(row_max_cases());
}

#[test]
fn head_norm_rope_equals_its_twin() {
    everywhere(head_norm_rope_cases());
}

#[test]
fn attend_equals_its_twin() {
    everywhere(attend_cases());
}

#[test]
fn pieces_cover_every_row_once() {
    let [batch] = &pack(&[1, 2, 3], &[&[4; 20], &[5], &[6; 7]], 100, 100, Before::Nothing)[..] else { panic!("one") };
    let pieces = batch.pieces(&Rows::Batch(2..31), |_| 8);
    let rows: Vec<usize> = pieces.iter().flat_map(|p| p.rows.clone()).collect();
    assert_eq!(rows, (0..29).collect::<Vec<_>>());
    assert!(pieces.iter().all(|p| p.rows.len() <= 8));
    assert_eq!((pieces[0].shared, pieces[0].first), (0, 2));
    assert_eq!((pieces[1].shared, pieces[1].first, pieces[1].own.clone()), (3, 3, 3..23));
    let last: Vec<usize> = batch.pieces(&Rows::Last(0..3), |_| 8).iter().map(|p| p.first).collect();
    assert_eq!(last, [22, 3, 9]);
}

// Handing them on to browsers.

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    name: &'a str,
    kernel: &'a str,
    source: String,
    constants: std::collections::BTreeMap<&'static str, f64>,
    features: Vec<&'static str>,
    language_features: Vec<&'static str>,
    access: Vec<&'static str>,
    buffers: Vec<String>,
    params: [u32; params::WORDS],
    grid: [usize; 2],
    output: usize,
    kind: &'static str,
    want: String,
    tolerance: f32,
}

fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

fn written(case: &Case) -> Written<'_> {
    let variant = case.code.variant;
    let quad = variant.is_some_and(|v| v.fetch == Fetch::Quad);
    let arithmetic = variant.map(|v| v.arithmetic);
    let (kind, want) = match &case.want {
        Want::F32(v) => ("f32", bytes(v)),
        Want::Bytes(v) => ("i8", v.iter().map(|b| b.cast_unsigned()).collect()),
    };
    let f16 = arithmetic == Some(Arithmetic::F16);
    Written {
        name: &case.name,
        kernel: &case.code.name,
        // Where `Variant::source` puts the line in a browser.
        source: if quad { format!("enable subgroups;\n{}", case.code.source) } else { case.code.source.to_string() },
        constants: case.code.constants.iter().copied().collect(),
        features: if quad {
            vec!["subgroups"]
        } else if f16 {
            vec!["shader-f16"]
        } else {
            Vec::new()
        },
        language_features: match arithmetic {
            Some(Arithmetic::I8) => vec!["packed_4x8_integer_dot_product"],
            _ => Vec::new(),
        },
        access: case.code.access.iter().map(|a| if *a == R { "read" } else { "write" }).collect(),
        buffers: case.buffers.iter().map(|b| base64(b)).collect(),
        params: case.params,
        grid: case.grid,
        output: case.output,
        kind,
        want: base64(&want),
        tolerance: case.tolerance,
    }
}

/// Writes all cases to the file that `EDGE_RERANKER_CASES` names, for the browsers' test.
#[test]
fn gpu_cases_are_written() {
    let cases: Vec<Case> = [
        rms_norm_cases(),
        row_max_cases(),
        head_norm_rope_cases(),
        quantize_cases(),
        attend_cases(),
        gated_cases(),
        matmul_cases(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let names: std::collections::HashSet<&str> = cases.iter().map(|c| &*c.name).collect();
    assert!(names.len() > 100, "{} cases", names.len());
    let Some(path) = std::env::var_os("EDGE_RERANKER_CASES") else { return };
    let all = serde_json::json!({ "cases": cases.iter().map(written).collect::<Vec<_>>() });
    std::fs::write(path, all.to_string()).unwrap();
}
