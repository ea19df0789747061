//! Every kernel against its twin over its case list, on every adapter of this machine. The cases are plain data, so that browsers
//! run the same ones (`gpu_cases_are_written`).

mod cases;
mod written;

use futures::executor::block_on;

use self::cases::{
    Case, Code, Want, attend_cases, gated_cases, head_norm_rope_cases, matmul_cases, quantize_cases, rms_norm_cases,
    row_max_cases,
};
use super::{
    device::{Device, GpuOptions, adapters},
    good_rows,
    kernel::{Kernel, params_layout},
    memory::Buffer,
    params,
    queue::{Job, Portions, Queue},
    shader::{self, Store, VARIANTS},
};
use crate::{
    backend::Free,
    kernels::worst,
    plan::{Before, Rows, pack},
    weights::DType,
};

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
        ("row_max", include_str!("../../../kernels/row_max.wgsl"), params::RowMax::FIELDS),
        ("rms_norm", include_str!("../../../kernels/rms_norm.wgsl"), params::RmsNorm::FIELDS),
        ("head_norm_rope", include_str!("../../../kernels/head_norm_rope.wgsl"), params::HeadNormRope::FIELDS),
        ("attend", include_str!("../../../kernels/attend.wgsl"), params::Attend::FIELDS),
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
fn a_batch_has_as_many_rows_behind_a_prefix_as_that_has_where_the_buffers_do() {
    let rows =
        [(100, 0, 9000), (5000, 0, 9000), (50_000, 0, 9000), (100, 700, 9000), (100, 5000, 9000), (5000, 1, 600)];
    assert_eq!(rows.map(|(rows, shared, most)| good_rows(rows, shared, most)), [512, 5000, 8192, 1400, 9000, 600]);
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
