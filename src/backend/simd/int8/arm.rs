//! Products on AArch64.

use std::arch::{aarch64::*, asm};

use super::{Dot, kernel};

/// What both have in common. NEON is part of AArch64.
macro_rules! lanes {
    () => {
        const LANES: usize = 4;
        const FLOATS_IN_MEMORY: bool = true;
        const WEIGHT_OFFSET: u8 = 0;
        const INPUT_OFFSET: i16 = 0;
        type Sums = int32x4_t;
        type Floats = float32x4_t;

        #[inline(always)]
        unsafe fn zero() -> int32x4_t {
            // SAFETY: the trait's callers promise the instructions and the pointers; so in every function below.
            unsafe { vdupq_n_s32(0) }
        }
        #[inline(always)]
        unsafe fn start(_: *const i32, _: *const i32) -> int32x4_t {
            // SAFETY: see `zero`.
            unsafe { vdupq_n_s32(0) }
        }
        #[inline(always)]
        unsafe fn floats(sums: int32x4_t) -> float32x4_t {
            // SAFETY: see `zero`.
            unsafe { vcvtq_f32_s32(sums) }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> float32x4_t {
            // SAFETY: see `zero`.
            unsafe { vdupq_n_f32(value) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> float32x4_t {
            // SAFETY: see `zero`.
            unsafe { vld1q_f32(from) }
        }
        #[inline(always)]
        unsafe fn store(value: float32x4_t, to: *mut f32) {
            // SAFETY: see `zero`.
            unsafe { vst1q_f32(to, value) }
        }
        #[inline(always)]
        unsafe fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            // SAFETY: see `zero`.
            unsafe { vmulq_f32(a, b) }
        }
        #[inline(always)]
        unsafe fn mul_add(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
            // SAFETY: see `zero`.
            unsafe { vfmaq_f32(c, a, b) }
        }
    };
}

/// Two products of 16 bits: weights widened as they are loaded.
struct Neon;

impl Dot for Neon {
    lanes!();
    const DEPTH: usize = 2;
    const INPUT_MOST: f32 = 32767.0;
    type Weights = int16x8_t;
    type Inputs = int16x8_t;

    #[inline(always)]
    unsafe fn weights(from: *const u8) -> int16x8_t {
        // SAFETY: see `zero`.
        unsafe { vmovl_s8(vld1_s8(from.cast())) }
    }
    #[inline(always)]
    unsafe fn inputs(from: *const u32) -> int16x8_t {
        // SAFETY: see `zero`.
        unsafe { vreinterpretq_s16_u32(vld1q_dup_u32(from)) }
    }
    #[inline(always)]
    unsafe fn dot(sums: int32x4_t, weights: int16x8_t, inputs: int16x8_t) -> int32x4_t {
        // SAFETY: see `zero`.
        unsafe {
            let low = vmull_s16(vget_low_s16(weights), vget_low_s16(inputs));
            let high = vmull_high_s16(weights, inputs);
            vaddq_s32(sums, vpaddq_s32(low, high))
        }
    }
}

/// Four products of bytes, both signed.
struct Dotprod;

impl Dot for Dotprod {
    lanes!();
    const DEPTH: usize = 4;
    const INPUT_MOST: f32 = 127.0;
    type Weights = int8x16_t;
    type Inputs = int8x16_t;

    #[inline(always)]
    unsafe fn weights(from: *const u8) -> int8x16_t {
        // SAFETY: see `zero`.
        unsafe { vld1q_s8(from.cast()) }
    }
    #[inline(always)]
    unsafe fn inputs(from: *const u32) -> int8x16_t {
        // SAFETY: see `zero`.
        unsafe { vreinterpretq_s8_u32(vld1q_dup_u32(from)) }
    }
    #[inline(always)]
    unsafe fn dot(sums: int32x4_t, weights: int8x16_t, inputs: int8x16_t) -> int32x4_t {
        let mut out = sums;
        // SAFETY: `sdot` exists by the promise; it touches registers alone. (Its intrinsic is not stable yet.)
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
                inout(vreg) out, in(vreg) weights, in(vreg) inputs,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        out
    }
}

kernel!(NEON, super::arm::Neon, 4 x 4);
kernel!(DOTPROD, super::arm::Dotprod, 4 x 4, "dotprod");
