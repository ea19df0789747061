//! Every kernel against its twin over its case list, on every adapter of this machine.

use futures::executor::block_on;

use super::{
    Attention,
    blocks::tests::{TYPES, random_blocks},
    device::{Device, GpuOptions, adapters},
    kernel::{
        Access::{Read as R, Write as W},
        Kernel, params_layout,
    },
    memory::Buffer,
    params,
    product::{Mode, Product},
    queue::{Job, Portions, Queue},
    shader::{self, Arithmetic, Store, VARIANTS, Variant},
    tune,
    weights::{Weights, heads, upload},
};
use crate::{
    backend::Free,
    kernels::{self, noise, worst},
    plan::{Before, Rows, pack},
    weights::{DType, Matrix},
};

/// A device under test, within WebGPU's default limits.
struct Bench {
    device: Device,
    layout: wgpu::BindGroupLayout,
    portions: Portions,
}

fn everywhere(test: impl Fn(&Bench)) {
    let found = block_on(adapters());
    if found.is_empty() {
        println!("SKIPPED: this machine has no GPU adapter, not even a software one");
    }
    for adapter in found {
        let options = GpuOptions { name: Some(adapter.name.clone()), default_limits: true, ..GpuOptions::default() };
        let device = block_on(Device::open(&options)).expect("a device");
        println!("{:?}", device.adapter);
        let layout = params_layout(&device);
        let portions = Portions::new(&device, &layout);
        test(&Bench { device, layout, portions });
    }
}

impl Bench {
    fn kernel(&self, name: &str, source: &str, constants: &[(&'static str, f64)], access: &[super::Access]) -> Kernel {
        block_on(Kernel::new(&self.device, &self.layout, name, source.to_owned(), constants, access)).unwrap()
    }

    fn buffer(&self, bytes: &[u8]) -> Buffer {
        let buffer = Buffer::storage(&self.device, "test", bytes.len() as u64);
        self.device.queue.write_buffer(&buffer.raw, 0, bytes);
        buffer
    }

    fn floats(&self, values: &[f32]) -> Buffer {
        self.buffer(&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
    }

    fn run(&self, jobs: Vec<Job>) {
        block_on(async {
            let mut queue = Queue::new(&self.device, &self.portions, &Free);
            for job in jobs {
                queue.job(job).await.unwrap();
            }
            queue.finish().await.unwrap();
        });
    }

    fn job(&self, kernel: &Kernel, buffers: &[&Buffer], params: [u32; params::WORDS], grid: [usize; 2]) -> Job {
        Job::new(&self.device, kernel, buffers, params, grid.map(|n| n as u32), 1)
    }

    fn read(&self, buffer: &Buffer, len: usize) -> Vec<u8> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let back = Buffer::new(&self.device, "back", len as u64, usage);
        let mut encoder = self.device.raw.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&buffer.raw, 0, &back.raw, 0, len.next_multiple_of(4) as u64);
        block_on(self.device.submit(Some(encoder.finish())));
        back.raw.map_async(wgpu::MapMode::Read, .., |_| {});
        self.device.raw.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        self.device.check().unwrap();
        back.raw.get_mapped_range(..len as u64).unwrap().to_vec()
    }

    fn read_floats(&self, buffer: &Buffer, len: usize) -> Vec<f32> {
        self.read(buffer, 4 * len).as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    }

    fn check(&self, what: &dyn std::fmt::Debug, got: &[f32], want: &[f32], tolerance: f32) {
        let (error, at) = worst(got, want);
        assert!(
            error <= tolerance,
            "{what:?} on {}: element {at} is {}, want {} (scaled error {error})",
            self.device.adapter.name,
            got[at],
            want[at]
        );
    }

    /// x in bytes as the GPU makes them, and what they stand for.
    fn quantized(&self, p: kernels::quantize::Params, x: &Buffer) -> ([Buffer; 2], Vec<i8>, Vec<[f32; 2]>) {
        let blocks = p.rows * p.width / p.block;
        let out = [self.buffer(&vec![0; p.rows * p.width]), self.buffer(&vec![0; 8 * blocks])];
        let kernel = self.kernel("quantize", &shader::quantize(p.block as u32), &[], &[R, W, W]);
        let params = params::Quantize { blocks: blocks as u32 }.words();
        self.run(vec![self.job(&kernel, &[x, &out[0], &out[1]], params, [blocks.div_ceil(64), 1])]);
        let bytes = self.read(&out[0], p.rows * p.width).into_iter().map(u8::cast_signed).collect();
        let scales = self.read_floats(&out[1], 2 * blocks).as_chunks::<2>().0.to_vec();
        (out, bytes, scales)
    }
}

#[test]
fn params_lie_as_the_shaders_read_them() {
    let matmul = VARIANTS[0].source(Store::Blocks { bits: 8, block: 32, halves: true });
    let quantize = shader::quantize(32);
    for (name, source, fields) in [
        ("matmul", &*matmul, params::MatMul::FIELDS),
        ("quantize", &quantize, params::Quantize::FIELDS),
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
    everywhere(|bench| {
        for p in kernels::quantize::cases() {
            let mut x = noise(1, p.rows * p.width);
            x[..p.block].fill(0.0);
            let (_, bytes, scales) = bench.quantized(p, &bench.floats(&x));
            let (want, want_scales) = kernels::quantize::twin(p, &x);
            for (i, (got, want)) in bytes.iter().zip(&want).enumerate() {
                assert!(got.abs_diff(*want) <= kernels::quantize::TOLERANCE.unsigned_abs(), "{p:?} {i}: {got}, {want}");
            }
            let scale = |s: &[[f32; 2]]| s.iter().map(|s| s[0]).collect::<Vec<_>>();
            bench.check(&p, &scale(&scales), &scale(&want_scales), 1e-6);
            for (block, [scale, sum]) in bytes.chunks_exact(p.block).zip(scales) {
                let exact: f32 = block.iter().map(|&q| f32::from(q)).sum();
                assert!((sum - scale * exact).abs() <= 1e-4 * scale, "{p:?}: {sum}, {exact} times {scale}");
            }
        }
    });
}

/// One product by one variant, for weights of any type.
fn product(
    bench: &Bench,
    variant: Variant,
    kernel: &Kernel,
    weights: &Weights,
    matrix: &[f32],
    p: kernels::matmul::Params,
) {
    let x = noise(3, p.rows * p.inputs);
    let device_x = bench.floats(&x);
    let mut y = noise(4, p.rows * p.outputs);
    let device_y = bench.floats(&y);
    let nothing = bench.floats(&[0.0; 4]);
    let bytes = variant.arithmetic == Arithmetic::I8;
    let block = weights.store.block() as usize;
    let quantized =
        bytes.then(|| bench.quantized(kernels::quantize::Params { rows: p.rows, width: p.inputs, block }, &device_x));
    // A product in bytes is judged by the bytes it was given.
    let x = quantized.as_ref().map_or(x, |(_, bytes, scales)| {
        bytes.iter().enumerate().map(|(i, &q)| f32::from(q) * scales[i / block][0]).collect()
    });
    kernels::matmul::twin(p, &x, matrix, &mut y);
    let product = Product {
        x: quantized.as_ref().map_or(&device_x, |(b, ..)| &b[0]),
        x_scales: quantized.as_ref().map_or(&nothing, |(b, ..)| &b[1]),
        weights,
        nothing: &nothing,
        y: &device_y,
        rows: p.rows,
        x_row: 0,
        y_row: 0,
        mode: if p.add { Mode::Add } else { Mode::Store },
    };
    // A small budget cuts the product into many dispatches.
    bench.run(product.jobs(&bench.device, kernel, variant, 200_000));
    let tolerance = match variant.arithmetic {
        Arithmetic::F16 => kernels::matmul::TOLERANCE_F16,
        Arithmetic::F32 | Arithmetic::I8 => kernels::matmul::TOLERANCE,
    };
    let what = (variant.name(), weights.store.name(), p);
    bench.check(&what, &bench.read_floats(&device_y, y.len()), &y, tolerance);
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

fn uploaded(bench: &Bench, matrix: &Matrix) -> (Weights, Vec<f32>) {
    let rows = (0..matrix.rows()).map(|r| Some((0, r))).collect();
    let weights = block_on(upload(&bench.device, &[matrix], matrix.columns(), rows, None)).unwrap();
    (weights, (0..matrix.rows()).flat_map(|r| matrix.row(r)).collect())
}

#[test]
fn every_variant_of_every_store_equals_its_twin() {
    everywhere(|bench| {
        for dtype in [DType::F32, DType::F16, DType::BF16].into_iter().chain(TYPES) {
            let store = Store::of(dtype);
            for variant in VARIANTS.into_iter().filter(|v| v.fits(store, &bench.device.adapter)) {
                // Random k-quants are wide: one shape shows their layout, the compute is that of the others.
                let kernel = block_on(tune::compile(&bench.device, &bench.layout, variant, store)).unwrap();
                let shapes: &[_] = match dtype {
                    DType::Q8_0 | DType::F32 => &[(1, 32, 4), (13, 96, 40), (70, 544, 132), (130, 64, 260)],
                    _ => &[(9, 256, 20)],
                };
                for &(rows, inputs, outputs) in shapes {
                    let (weights, values) = uploaded(bench, &matrix(dtype, outputs, inputs));
                    for add in [false, true] {
                        let p = kernels::matmul::Params { rows, inputs, outputs, add };
                        product(bench, variant, &kernel, &weights, &values, p);
                    }
                }
            }
        }
    });
}

#[test]
fn a_gated_product_equals_two_products_and_their_twin() {
    everywhere(|bench| {
        let (rows, inputs, feed) = (21, 64, 40);
        let [gate, up] = [5, 6].map(|seed| noise(seed, feed * inputs));
        let sources = [&gate, &up].map(|w| Matrix::from_f32(feed, inputs, w).unwrap());
        let interleaved = (0..2 * feed).map(|r| Some((r / 4 % 2, r / 8 * 4 + r % 4))).collect();
        let weights = block_on(upload(&bench.device, &[&sources[0], &sources[1]], inputs, interleaved, None)).unwrap();
        let x = noise(7, rows * inputs);
        let p = kernels::matmul::Params { rows, inputs, outputs: feed, add: false };
        let [mut want, mut want_up] = [vec![0.0; rows * feed], vec![0.0; rows * feed]];
        kernels::matmul::twin(p, &x, &gate, &mut want);
        kernels::matmul::twin(p, &x, &up, &mut want_up);
        kernels::swiglu::twin(&mut want, &want_up);
        for variant in VARIANTS.into_iter().filter(|v| v.fits(Store::F32, &bench.device.adapter)) {
            let kernel = block_on(tune::compile(&bench.device, &bench.layout, variant, Store::F32)).unwrap();
            let (x, y, nothing) = (bench.floats(&x), bench.floats(&vec![0.0; rows * feed]), bench.floats(&[0.0; 4]));
            let product = Product {
                x: &x,
                x_scales: &nothing,
                weights: &weights,
                nothing: &nothing,
                y: &y,
                rows,
                x_row: 0,
                y_row: 0,
                mode: Mode::Gated,
            };
            bench.run(product.jobs(&bench.device, &kernel, variant, u64::MAX));
            bench.check(&variant.name(), &bench.read_floats(&y, rows * feed), &want, kernels::matmul::TOLERANCE);
        }
    });
}

#[test]
fn rms_norm_equals_its_twin() {
    everywhere(|bench| {
        let kernel = bench.kernel("rms_norm", include_str!("../../kernels/rms_norm.wgsl"), &[], &[R, R, W]);
        for p in kernels::rms_norm::cases() {
            let padded = p.width.next_multiple_of(4);
            let (x, w) = (noise(9, p.rows * p.width), noise(10, p.width));
            let mut want = vec![0.0; x.len()];
            kernels::rms_norm::twin(p, &x, &w, &mut want);
            let rows = |values: &[f32]| -> Vec<f32> {
                let row = |r: &[f32]| r.iter().copied().chain(std::iter::repeat_n(0.0, padded - p.width)).collect();
                values.chunks_exact(p.width).flat_map::<Vec<f32>, _>(row).collect()
            };
            // Two rows of something else come first.
            let x = bench.floats(&[noise(1, 2 * padded), rows(&x)].concat());
            let y = bench.floats(&vec![1.0; p.rows * padded]);
            let params = params::RmsNorm { width4: padded as u32 / 4, x_row: 2, width: p.width as f32, eps: p.eps };
            bench.run(vec![bench.job(&kernel, &[&x, &bench.floats(&rows(&w)), &y], params.words(), [p.rows, 1])]);
            bench.check(&p, &bench.read_floats(&y, p.rows * padded), &rows(&want), kernels::rms_norm::TOLERANCE);
        }
    });
}

#[test]
fn head_norm_rope_equals_its_twin() {
    everywhere(|bench| {
        let source = include_str!("../../kernels/head_norm_rope.wgsl");
        let kernel = bench.kernel("head_norm_rope", source, &[], &[W, R, R, R]);
        for p in kernels::head_norm_rope::cases() {
            let mut want = noise(11, p.rows * p.heads * p.head_dim);
            let (x, w) = (bench.floats(&want), noise(12, p.head_dim));
            let positions: Vec<u32> = (0..p.rows as u32).map(|r| 7 * r).collect();
            kernels::head_norm_rope::twin(p, &mut want, &positions, &w);
            let frequencies = kernels::head_norm_rope::frequencies(p.theta, p.head_dim);
            let turn = |p: usize| frequencies.iter().flat_map(move |f| kernels::head_norm_rope::turn(p, *f));
            let angles: Vec<f32> = (0..7 * p.rows).flat_map(turn).collect();
            // The rows' positions come after one that is not theirs.
            let words: Vec<u8> = std::iter::once(&99).chain(&positions).flat_map(|p: &u32| p.to_le_bytes()).collect();
            let params = params::HeadNormRope {
                heads: p.heads as u32,
                head_dim: p.head_dim as u32,
                stride: (p.heads * p.head_dim) as u32,
                head_stride: p.head_dim as u32,
                x_row: 0,
                position: 1,
                eps: p.eps,
            };
            let buffers = [&x, &bench.floats(&w), &bench.buffer(&words), &bench.floats(&angles)];
            bench.run(vec![bench.job(&kernel, &buffers, params.words(), [p.rows, p.heads.div_ceil(4)])]);
            bench.check(&p, &bench.read_floats(&x, want.len()), &want, kernels::head_norm_rope::TOLERANCE);
        }
    });
}

#[test]
fn attend_equals_its_twin() {
    everywhere(|bench| {
        for p in kernels::attend::cases() {
            let shape = |padded: usize| (padded, p.kv_heads * padded, p.heads * padded);
            let (head, kv_stride, q_stride) = shape(p.head_dim.next_multiple_of(4));
            let (_, width, q_width) = shape(p.head_dim);
            let own = p.keys() - p.prefix;
            let keys = [noise(4, p.prefix * width), noise(5, own * width)];
            let values = [noise(6, p.prefix * width), noise(7, own * width)];
            let q: Vec<f32> = noise(8, p.queries * q_width).iter().map(|v| v * 3.0).collect();
            let mut want = q.clone();
            kernels::attend::twin(p, &mut want, [&keys[0], &keys[1]], [&values[0], &values[1]]);
            let pad = |values: &[f32], count: usize| -> Vec<f32> {
                let places = heads(count, p.head_dim, head);
                let row = |r: &[f32]| places.iter().map(|p| p.map_or(0.0, |(_, i)| r[i])).collect::<Vec<_>>();
                values.chunks_exact(count * p.head_dim).flat_map(row).collect()
            };
            let config = crate::model::Config {
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
            };
            let attention = Attention::choose(&config).unwrap();
            let source = include_str!("../../kernels/attend.wgsl");
            let kernel = bench.kernel("attend", source, &attention.constants(), &[W, R, R, R, R, R]);
            // The sequence's own rows come after a row of another.
            let skew = |rows: Vec<f32>| [noise(3, kv_stride), rows].concat();
            let of_kv = |values: &[f32]| pad(values, p.kv_heads);
            let buffers = [
                bench.floats(&pad(&q, p.heads)),
                bench.floats(&skew(of_kv(&keys[1]))),
                bench.floats(&skew(of_kv(&values[1]))),
                bench.floats(&of_kv(&keys[0])),
                bench.floats(&of_kv(&values[0])),
            ];
            let mut tiles = Vec::new();
            for row in (0..p.queries).step_by(attention.tile_rows()) {
                let rows = attention.tile_rows().min(p.queries - row);
                tiles.extend([row, rows, p.first + row, 1, p.prefix].map(|v| v as u32));
            }
            let words: Vec<u8> = tiles.iter().flat_map(|v| v.to_le_bytes()).collect();
            let tiles_buffer = bench.buffer(&words);
            let params = params::Attend {
                tiles: tiles.len() as u32 / 5,
                first_tile: 0,
                heads: p.heads as u32,
                kv_heads: p.kv_heads as u32,
                head_dim: head as u32,
                q_stride: q_stride as u32,
                kv_stride: kv_stride as u32,
                scale: 1.0 / (p.head_dim as f32).sqrt(),
            };
            let all = [&buffers[0], &buffers[1], &buffers[2], &buffers[3], &buffers[4], &tiles_buffer];
            let grid = [tiles.len() / 5, p.heads / attention.heads];
            bench.run(vec![bench.job(&kernel, &all, params.words(), grid)]);
            let got = bench.read_floats(&buffers[0], p.queries * q_stride);
            bench.check(&p, &got, &pad(&want, p.heads), kernels::attend::TOLERANCE_GPU);
        }
    });
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
