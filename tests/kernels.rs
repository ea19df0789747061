//! Every fast kernel against its twin, over its case list, on every instruction set of this machine.

use edge_reranker::{
    backend::simd::{Isa, Packed, Sequence, Stash, Threads, Weight, attend, gate_up, matmul},
    kernels::{self, BLOCK_TYPES, noise, random_blocks, worst},
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

/// `x W^T`, or that added to `y`, all tasks at once.
fn product(isa: Isa, threads: &Threads, x: &[f32], w: &Weight, y: &mut [f32], add: bool) {
    let mut packed = Packed::default();
    packed.pack(isa, threads, x, w);
    matmul(isa, threads, &packed, w, 0..w.tasks(), y, add);
}

#[test]
fn matmul_equals_its_twin() {
    everywhere(|isa, threads| {
        for p in kernels::matmul::cases() {
            let x = noise(1, p.rows * p.inputs);
            let w = noise(2, p.outputs * p.inputs);
            let matrix = Weight::new(isa, threads, Matrix::from_f32(p.outputs, p.inputs, &w).unwrap()).unwrap();
            let mut got = noise(3, p.rows * p.outputs);
            let mut want = got.clone();
            kernels::matmul::twin(p, &x, &w, &mut want);
            product(isa, threads, &x, &matrix, &mut got, p.add);
            check("matmul", isa, &p, &got, &want, kernels::matmul::TOLERANCE);
        }
    });
}

/// Every block of a row of x may be off by half a code, and no further.
#[test]
fn quantised_matmul_keeps_its_bound() {
    everywhere(|isa, threads| {
        for (p, dtype) in kernels::matmul::cases().into_iter().flat_map(|p| BLOCK_TYPES.map(|dtype| (p, dtype))) {
            if !p.inputs.is_multiple_of(dtype.block_len()) {
                continue;
            }
            let matrix = random_blocks(dtype, p.outputs, p.inputs);
            let w: Vec<f32> = (0..p.outputs).flat_map(|row| matrix.row(row)).collect();
            let x: Vec<f32> =
                noise(1, p.rows * p.inputs).iter().enumerate().map(|(i, v)| v * (1 + i % 97) as f32).collect();
            let packed = Weight::new(isa, threads, matrix).unwrap();
            let most = packed.input_most().expect("these types have blocks");
            let mut got = noise(3, p.rows * p.outputs);
            let mut want = got.clone();
            kernels::matmul::twin(p, &x, &w, &mut want);
            product(isa, threads, &x, &packed, &mut got, p.add);
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                let (x, w) = (&x[i / p.outputs * p.inputs..][..p.inputs], &w[i % p.outputs * p.inputs..][..p.inputs]);
                let bound: f32 =
                    x.as_chunks::<32>().0.iter().zip(w.as_chunks::<32>().0).map(|(x, w)| bound(most, x, w)).sum();
                let error = (got - want).abs();
                assert!(
                    error <= bound,
                    "{dtype:?} on {}, {p:?}: element {i} is {got}, want {want} within {bound}",
                    isa.name()
                );
            }
        }
    });
}

/// Bound on the error of a sum over one block: half a code for each input, half a unit in a half's last place for each scale, rounding in f32.
fn bound(most: f32, x: &[f32; 32], w: &[f32; 32]) -> f32 {
    let largest = x.iter().fold(0f32, |m, v| m.max(v.abs()));
    let weights: f32 = w.iter().map(|w| w.abs()).sum();
    let largest_weight = w.iter().fold(0f32, |m, w| m.max(w.abs()));
    weights * largest * 0.502 / most + 32.0 * largest * largest_weight * (2f32.powi(-11) + 1e-5)
}

#[test]
fn a_row_is_the_same_in_any_company() {
    everywhere(|isa, threads| {
        for dtype in BLOCK_TYPES {
            let (inputs, outputs) = (512, 1094);
            let matrix = || random_blocks(dtype, outputs, inputs);
            let [gate, up] = [(); 2].map(|()| Weight::new(isa, threads, matrix()).unwrap());
            let x = noise(5, 13 * inputs);
            let run = |threads: &Threads, x: &[f32]| {
                let mut y = vec![0.0; x.len() / inputs * outputs];
                product(isa, threads, x, &gate, &mut y, false);
                let mut packed = Packed::default();
                packed.pack(isa, threads, x, &gate);
                let mut gated = y.clone();
                gate_up(isa, threads, (&packed, &gate), (&packed, &up), 0..gate.tasks(), &mut gated);
                let mut want = y.clone();
                want.chunks_exact_mut(outputs).zip(y.chunks_exact(outputs)).for_each(|(g, u)| isa.swiglu(g, u));
                check("gate_up", isa, &dtype, &gated, &want, 1e-6);
                [y, gated]
            };
            let one = Threads::new(1).unwrap();
            let whole = run(threads, &x);
            for row in [0, 5, 12] {
                let alone = run(&one, &x[row * inputs..][..inputs]);
                for (whole, alone) in whole.iter().zip(&alone) {
                    assert_eq!(whole[row * outputs..][..outputs], alone[..], "{dtype:?} on {}, row {row}", isa.name());
                }
            }
        }
    });
}

#[test]
fn hostile_rows_and_scales_are_not_hidden() {
    everywhere(|isa, threads| {
        for dtype in BLOCK_TYPES {
            let w = Weight::new(isa, threads, random_blocks(dtype, 3, 256)).unwrap();
            for hostile in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut x = noise(1, 2 * 256);
                x[256 + 77] = hostile;
                let mut y = vec![0.0; 6];
                product(isa, threads, &x, &w, &mut y, false);
                assert!(y[..3].iter().all(|v| v.is_finite()), "{dtype:?}: the other row {y:?}");
                assert!(y[3..].iter().all(|v| !v.is_finite()), "{dtype:?} on {}: {hostile} became {y:?}", isa.name());
            }
            let mut y = vec![1.0; 6];
            product(isa, threads, &[0.0; 512], &w, &mut y, false);
            assert_eq!(y, [0.0; 6], "{dtype:?}: zeros");
            product(isa, threads, &[1e-40; 512], &w, &mut y, false);
            assert!(y.iter().all(|v| v.abs() < 1e-30), "{dtype:?}: next to nothing {y:?}");
        }
        let mut bytes = vec![1; 34];
        bytes[..2].copy_from_slice(&0x7c00u16.to_le_bytes());
        let infinite = Matrix::new(DType::Q8_0, 1, 32, bytes.into()).unwrap();
        let error = Weight::new(isa, threads, infinite).err().expect("an infinite scale is refused");
        assert_eq!(error.code(), "bad-model");
        assert!(error.to_string().contains("row 0 is inf"), "{error}");
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
            attend(
                isa,
                threads,
                &mut got,
                &[sequence],
                [p.heads, p.kv_heads, p.head_dim],
                0..p.kv_heads,
                &Stash::default(),
            );
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
        attend(isa, threads, &mut query, &[sequence], [1, 1, 2], 0..1, &Stash::default());
        assert_eq!(query, [1.0, 2.0]);
    });
}

#[test]
fn half_precision_rows_unpack_exactly() {
    let bytes: Vec<u8> = [0x3c00u16, 0xc000, 0x0001, 0x7bff].iter().flat_map(|v| v.to_le_bytes()).collect();
    let row = Matrix::new(DType::F16, 1, 4, bytes.into()).unwrap().row(0);
    assert_eq!(row, [1.0, -2.0, 2f32.powi(-24), 65504.0]);
}
