//! Products on x86-64.

use std::arch::x86_64::*;

use super::{Dot, kernel};

/// A register's worth of `Dot`, for one register width.
macro_rules! lanes {
    ($lanes:literal, $int:ty, $float:ty, $zero:ident, $set:ident, $cvt:ident, $setf:ident, $load:ident, $store:ident, $mul:ident, $fma:ident) => {
        const LANES: usize = $lanes;
        const FLOATS_IN_MEMORY: bool = $lanes == 4;
        const INPUT_OFFSET: i16 = 0;
        type Sums = $int;
        type Floats = $float;
        type Weights = $int;
        type Inputs = $int;

        #[inline(always)]
        unsafe fn zero() -> $int {
            // SAFETY: the trait's callers promise the instructions and the pointers; so in every function below.
            unsafe { $zero() }
        }
        #[inline(always)]
        unsafe fn inputs(from: *const u32) -> $int {
            // SAFETY: see `zero`.
            unsafe { $set(from.cast::<i32>().read()) }
        }
        #[inline(always)]
        unsafe fn floats(sums: $int) -> $float {
            // SAFETY: see `zero`.
            unsafe { $cvt(sums) }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> $float {
            // SAFETY: see `zero`.
            unsafe { $setf(value) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> $float {
            // SAFETY: see `zero`.
            unsafe { $load(from) }
        }
        #[inline(always)]
        unsafe fn store(value: $float, to: *mut f32) {
            // SAFETY: see `zero`.
            unsafe { $store(to, value) }
        }
        #[inline(always)]
        unsafe fn mul(a: $float, b: $float) -> $float {
            // SAFETY: see `zero`.
            unsafe { $mul(a, b) }
        }
        #[inline(always)]
        unsafe fn mul_add(a: $float, b: $float, c: $float) -> $float {
            // SAFETY: see `zero`.
            unsafe { $fma(a, b, c) }
        }
    };
    (16) => {
        lanes! {
            16, __m512i, __m512, _mm512_setzero_si512, _mm512_set1_epi32, _mm512_cvtepi32_ps, _mm512_set1_ps,
            _mm512_loadu_ps, _mm512_storeu_ps, _mm512_mul_ps, _mm512_fmadd_ps
        }
    };
    (8) => {
        lanes! {
            8, __m256i, __m256, _mm256_setzero_si256, _mm256_set1_epi32, _mm256_cvtepi32_ps, _mm256_set1_ps,
            _mm256_loadu_ps, _mm256_storeu_ps, _mm256_mul_ps, _mm256_fmadd_ps
        }
    };
    (4) => {
        lanes! {
            4, __m128i, __m128, _mm_setzero_si128, _mm_set1_epi32, _mm_cvtepi32_ps, _mm_set1_ps, _mm_loadu_ps,
            _mm_storeu_ps, _mm_mul_ps, mul_then_add
        }
    };
}

#[inline(always)]
unsafe fn mul_then_add(a: __m128, b: __m128, c: __m128) -> __m128 {
    // SAFETY: SSE is part of x86-64.
    unsafe { _mm_add_ps(_mm_mul_ps(a, b), c) }
}

/// Four products of bytes: weights unsigned, inputs signed.
macro_rules! bytes {
    ($name:ident, $lanes:tt, $int:ty, $set:ident, $load:ident, $dot:ident) => {
        struct $name;

        impl Dot for $name {
            lanes!($lanes);
            const DEPTH: usize = 4;
            const WEIGHT_OFFSET: u8 = 128;
            const INPUT_MOST: f32 = 127.0;

            #[inline(always)]
            unsafe fn start(row: *const i32, _: *const i32) -> $int {
                // SAFETY: see `zero`.
                unsafe { $set(row.read()) }
            }
            #[inline(always)]
            unsafe fn weights(from: *const u8) -> $int {
                // SAFETY: see `zero`.
                unsafe { $load(from.cast()) }
            }
            #[inline(always)]
            unsafe fn dot(sums: $int, weights: $int, inputs: $int) -> $int {
                // SAFETY: see `zero`.
                unsafe { $dot(sums, weights, inputs) }
            }
        }
    };
}

bytes!(Avx512Vnni, 16, __m512i, _mm512_set1_epi32, _mm512_loadu_si512, _mm512_dpbusd_epi32);
bytes!(AvxVnni, 8, __m256i, _mm256_set1_epi32, _mm256_loadu_si256, _mm256_dpbusd_avx_epi32);

/// Two products of 16 bits: weights widened as they are loaded.
macro_rules! words {
    ($name:ident, $lanes:tt, $int:ty, $half:ty, $zero:ident, $widen:expr, $dot:ident, $add:ident) => {
        struct $name;

        impl Dot for $name {
            lanes!($lanes);
            const DEPTH: usize = 2;
            const WEIGHT_OFFSET: u8 = 0;
            const INPUT_MOST: f32 = 32767.0;

            #[inline(always)]
            unsafe fn start(_: *const i32, _: *const i32) -> $int {
                // SAFETY: see `zero`.
                unsafe { $zero() }
            }
            #[inline(always)]
            unsafe fn weights(from: *const u8) -> $int {
                // SAFETY: see `zero`.
                unsafe { $widen(from.cast::<$half>().read_unaligned()) }
            }
            #[inline(always)]
            unsafe fn dot(sums: $int, weights: $int, inputs: $int) -> $int {
                // SAFETY: see `zero`.
                unsafe { $add(sums, $dot(weights, inputs)) }
            }
        }
    };
}

words!(Avx512, 16, __m512i, __m256i, _mm512_setzero_si512, _mm512_cvtepi8_epi16, _mm512_madd_epi16, _mm512_add_epi32);
words!(Avx2, 8, __m256i, __m128i, _mm256_setzero_si256, _mm256_cvtepi8_epi16, _mm256_madd_epi16, _mm256_add_epi32);
words!(Sse2, 4, __m128i, i64, _mm_setzero_si128, widen_sse2, _mm_madd_epi16, _mm_add_epi32);

#[inline(always)]
unsafe fn widen_sse2(bytes: i64) -> __m128i {
    // SAFETY: SSE2 is part of x86-64.
    unsafe {
        let bytes = _mm_cvtsi64_si128(bytes);
        _mm_srai_epi16::<8>(_mm_unpacklo_epi8(bytes, bytes))
    }
}

kernel!(AVX512_VNNI, super::x86::Avx512Vnni, 6 x 2, "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma");
kernel!(AVX512, super::x86::Avx512, 6 x 2, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma");
kernel!(AVX_VNNI, super::x86::AvxVnni, 4 x 2, "avxvnni,avx2,fma");
kernel!(AVX2, super::x86::Avx2, 4 x 2, "avx2,fma");
kernel!(SSE2, super::x86::Sse2, 4 x 2);
