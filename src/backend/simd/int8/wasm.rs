//! Products in WebAssembly.

use std::arch::wasm32::*;

use super::{Dot, kernel};

/// What all of them have in common.
macro_rules! lanes {
    () => {
        const LANES: usize = 4;
        const FLOATS_IN_MEMORY: bool = true;
        type Sums = v128;
        type Floats = v128;
        type Weights = v128;
        type Inputs = v128;

        #[inline(always)]
        unsafe fn zero() -> v128 {
            i32x4_splat(0)
        }
        #[inline(always)]
        unsafe fn inputs(from: *const u32) -> v128 {
            // SAFETY: the trait's callers promise the pointer; so in every function below.
            unsafe { v128_load32_splat(from) }
        }
        #[inline(always)]
        unsafe fn floats(sums: v128) -> v128 {
            f32x4_convert_i32x4(sums)
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> v128 {
            f32x4_splat(value)
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> v128 {
            // SAFETY: see `inputs`.
            unsafe { v128_load(from.cast()) }
        }
        #[inline(always)]
        unsafe fn store(value: v128, to: *mut f32) {
            // SAFETY: see `inputs`.
            unsafe { v128_store(to.cast(), value) }
        }
        #[inline(always)]
        unsafe fn mul(a: v128, b: v128) -> v128 {
            f32x4_mul(a, b)
        }
        #[inline(always)]
        unsafe fn mul_add(a: v128, b: v128, c: v128) -> v128 {
            #[cfg(target_feature = "relaxed-simd")]
            return f32x4_relaxed_madd(a, b, c);
            #[cfg(not(target_feature = "relaxed-simd"))]
            f32x4_add(f32x4_mul(a, b), c)
        }
    };
}

#[cfg(target_feature = "relaxed-simd")]
pub(super) use lanes;

/// Two products of 16 bits: weights widened as they are loaded.
struct Simd128;

impl Dot for Simd128 {
    lanes!();
    const DEPTH: usize = 2;
    const WEIGHT_OFFSET: u8 = 0;
    const INPUT_MOST: f32 = 32767.0;
    const INPUT_OFFSET: i16 = 0;

    #[inline(always)]
    unsafe fn start(_: *const i32, _: *const i32) -> v128 {
        i32x4_splat(0)
    }
    #[inline(always)]
    unsafe fn weights(from: *const u8) -> v128 {
        // SAFETY: see `inputs`.
        unsafe { i16x8_load_extend_i8x8(from.cast()) }
    }
    #[inline(always)]
    unsafe fn dot(sums: v128, weights: v128, inputs: v128) -> v128 {
        i32x4_add(sums, i32x4_dot_i16x8(weights, inputs))
    }
}

kernel!(SIMD128, super::wasm::Simd128, 4 x 2);
