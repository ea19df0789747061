//! Every fast kernel against its twin, over its case list, on every instruction set of this machine.

use edge_reranker::{
    backend::simd::{Isa, Packed, Sequence, Threads, attend, matmul, tasks},
    kernels::{self, noise, worst},
    weights::{DType, Matrix},
};

fn check(name: &str, isa: Isa, case: &dyn std::fmt::Debug, got: &[f32], want: &[f32], tolerance: f32) {
    let (error, at) = worst(got, want);
    assert!(
        error <= tolerance,
        "{name} on {}, {case:?}: element {at} is {}, want {} (scaled error {error})",
        isa.name(),
        got[at],
        want[at]
    );
}

fn everywhere(test: impl Fn(Isa, &Threads)) {
    let threads = Threads::new(2).unwrap();
    Isa::all().into_iter().for_each(|isa| test(isa, &threads));
}

#[test]
fn matmul_equals_its_twin() {
    everywhere(|isa, threads| {
        for p in kernels::matmul::cases() {
            let x = noise(1, p.rows * p.inputs);
            let w = noise(2, p.outputs * p.inputs);
            let matrix = Matrix::from_f32(p.outputs, p.inputs, &w).unwrap();
            let mut got = noise(3, p.rows * p.outputs);
            let mut want = got.clone();
            kernels::matmul::twin(p, &x, &w, &mut want);
            let mut packed = Packed::default();
            packed.pack(isa, threads, &x, p.inputs);
            matmul(isa, threads, &packed, &matrix, 0..tasks(&matrix), &mut got, p.add);
            check("matmul", isa, &p, &got, &want, kernels::matmul::TOLERANCE);
        }
    });
}

#[test]
fn attend_equals_its_twin() {
    everywhere(|isa, threads| {
        for p in kernels::attend::cases() {
            let (width, own) = (p.kv_heads * p.head_dim, p.keys() - p.prefix);
            let keys = [noise(4, p.prefix * width), noise(5, own * width)];
            let values = [noise(6, p.prefix * width), noise(7, own * width)];
            let mut got: Vec<f32> = noise(8, p.queries * p.heads * p.head_dim).iter().map(|v| v * 3.0).collect();
            let mut want = got.clone();
            let (k, v) = ([&keys[0][..], &keys[1]], [&values[0][..], &values[1]]);
            kernels::attend::twin(p, &mut want, k, v);
            let sequence = Sequence { rows: 0..p.queries, first: p.first, keys: k, values: v };
            attend(isa, threads, &mut got, &[sequence], [p.heads, p.kv_heads, p.head_dim]);
            check("attend", isa, &p, &got, &want, kernels::attend::TOLERANCE);
        }
    });
}

#[test]
fn rms_norm_equals_its_twin() {
    everywhere(|isa, _| {
        for p in kernels::rms_norm::cases() {
            let (x, w) = (noise(9, p.rows * p.width), noise(10, p.width));
            let (mut got, mut want) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            kernels::rms_norm::twin(p, &x, &w, &mut want);
            for (x, y) in x.chunks_exact(p.width).zip(got.chunks_exact_mut(p.width)) {
                isa.rms_norm(p.eps, x, &w, y);
            }
            check("rms_norm", isa, &p, &got, &want, kernels::rms_norm::TOLERANCE);
        }
    });
}

#[test]
fn head_norm_rope_equals_its_twin() {
    everywhere(|isa, _| {
        for p in kernels::head_norm_rope::cases() {
            let mut got = noise(11, p.rows * p.heads * p.head_dim);
            let w = noise(12, p.head_dim);
            let positions: Vec<u32> = (0..p.rows as u32).map(|r| 7 * r).collect();
            let mut want = got.clone();
            kernels::head_norm_rope::twin(p, &mut want, &positions, &w);
            for (row, &position) in got.chunks_exact_mut(p.heads * p.head_dim).zip(&positions) {
                let angle =
                    |i: usize| f64::from(position) * f64::from(p.theta).powf(-2.0 * i as f64 / p.head_dim as f64);
                let half = p.head_dim / 2;
                let cos: Vec<f32> = (0..half).map(|i| angle(i).cos() as f32).collect();
                let sin: Vec<f32> = (0..half).map(|i| angle(i).sin() as f32).collect();
                isa.head_norm_rope(p.eps, row, &w, [&cos, &sin]);
            }
            check("head_norm_rope", isa, &p, &got, &want, kernels::head_norm_rope::TOLERANCE);
        }
    });
}

#[test]
fn swiglu_equals_its_twin() {
    everywhere(|isa, _| {
        for n in kernels::swiglu::cases() {
            let mut got: Vec<f32> = noise(13, n).iter().map(|v| v * 100.0).collect();
            let up = noise(14, n);
            let mut want = got.clone();
            kernels::swiglu::twin(&mut want, &up);
            isa.swiglu(&mut got, &up);
            check("swiglu", isa, &n, &got, &want, kernels::swiglu::TOLERANCE);
        }
    });
}

#[test]
fn hostile_values_stay_what_they_are() {
    everywhere(|isa, threads| {
        let mut zeros = vec![1.0; 20];
        isa.rms_norm(1e-6, &[0.0; 20], &[3.0; 20], &mut zeros);
        assert_eq!(zeros, [0.0; 20], "a row of zeros has no length to divide by");
        let mut one_nan = vec![0.0; 17];
        isa.rms_norm(1e-6, &[f32::NAN; 17], &[1.0; 17], &mut one_nan);
        assert!(one_nan.iter().all(|v| v.is_nan()), "a NaN is not hidden");
        let mut gate = [1e30, -1e30, 0.0, f32::INFINITY, -200.0];
        isa.swiglu(&mut gate, &[2.0, 2.0, 2.0, 1.0, 1.0]);
        assert_eq!([gate[0], gate[2], gate[3]], [2e30, 0.0, f32::INFINITY]);
        assert!(gate[1].abs() < 1e-7 && gate[4].abs() < 1e-7, "{gate:?}");
        // Scores far apart: the softmax is one key's, and no exponential overflows.
        let (keys, values) =
            ([[1e15f32, 0.0], [0.0, 0.0], [-1e15, 0.0]].concat(), [[1.0f32, 2.0], [3.0, 4.0], [5.0, 6.0]].concat());
        let mut query = vec![1e15, 0.0];
        let sequence = Sequence { rows: 0..1, first: 2, keys: [&[], &keys], values: [&[], &values] };
        attend(isa, threads, &mut query, &[sequence], [1, 1, 2]);
        assert_eq!(query, [1.0, 2.0]);
    });
}

#[test]
fn half_precision_rows_unpack_exactly() {
    let bytes: Vec<u8> = [0x3c00u16, 0xc000, 0x0001, 0x7bff].iter().flat_map(|v| v.to_le_bytes()).collect();
    let row = Matrix::new(DType::F16, 1, 4, bytes.into()).unwrap().row(0);
    assert_eq!(row, [1.0, -2.0, 2f32.powi(-24), 65504.0]);
}
