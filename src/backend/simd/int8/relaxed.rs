//! Products in WebAssembly with relaxed SIMD.

use std::arch::wasm32::*;

use super::{Dot, kernel, wasm::lanes};

/// Four products of bytes. Only the second operand's 7 low bits may be used: these are the weights.
struct Relaxed;

impl Dot for Relaxed {
    lanes!();
    const DEPTH: usize = 4;
    const WEIGHT_OFFSET: u8 = 64;
    const INPUT_MOST: f32 = 127.0;
    const INPUT_OFFSET: i16 = 0;

    #[inline(always)]
    unsafe fn start(row: *const i32, _: *const i32) -> v128 {
        // SAFETY: see `inputs`.
        unsafe { v128_load32_splat(row.cast()) }
    }
    #[inline(always)]
    unsafe fn weights(from: *const u8) -> v128 {
        // SAFETY: see `inputs`.
        unsafe { v128_load(from.cast()) }
    }
    #[inline(always)]
    unsafe fn dot(sums: v128, weights: v128, inputs: v128) -> v128 {
        i32x4_relaxed_dot_i8x16_i7x16_add(inputs, weights, sums)
    }
}

/// The same for weights of 8 bits, where the second operand, then the inputs, may use all of its bits.
macro_rules! wide {
    ($name:ident, $offset:literal, $start:expr) => {
        struct $name;

        impl Dot for $name {
            lanes!();
            const DEPTH: usize = 4;
            const WEIGHT_OFFSET: u8 = 0;
            const INPUT_MOST: f32 = 127.0;
            const INPUT_OFFSET: i16 = $offset;

            #[inline(always)]
            unsafe fn start(_: *const i32, columns: *const i32) -> v128 {
                $start(columns)
            }
            #[inline(always)]
            unsafe fn weights(from: *const u8) -> v128 {
                // SAFETY: see `inputs`.
                unsafe { v128_load(from.cast()) }
            }
            #[inline(always)]
            unsafe fn dot(sums: v128, weights: v128, inputs: v128) -> v128 {
                i32x4_relaxed_dot_i8x16_i7x16_add(weights, inputs, sums)
            }
        }
    };
}

wide!(RelaxedUnsigned, 128, |columns: *const i32| {
    // SAFETY: see `inputs`.
    unsafe { v128_load(columns.cast()) }
});
wide!(RelaxedSigned, 0, |_| i32x4_splat(0));

kernel!(RELAXED, super::relaxed::Relaxed, 4 x 2);
kernel!(RELAXED_UNSIGNED, super::relaxed::RelaxedUnsigned, 4 x 2);
kernel!(RELAXED_SIGNED, super::relaxed::RelaxedSigned, 4 x 2);

/// What the relaxed dot makes of a second operand of 8 bits. The specification leaves it open, but demands that it is always the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Second {
    /// It takes it as a number from 0 to 255 (AVX-VNNI).
    Unsigned,
    /// It takes it as a number from -128 to 127 (NEON).
    Signed,
    /// Something else: only 7 bits are of use (SSSE3 to AVX2, whose sums of two products saturate).
    SevenBits,
}

/// Asks the dot itself.
pub(in super::super) fn second_operand() -> Second {
    let sums = |first: i8, second: u8| {
        let (first, second) = std::hint::black_box((i8x16_splat(first), u8x16_splat(second)));
        let sums = i32x4_relaxed_dot_i8x16_i7x16_add(first, second, i32x4_splat(0));
        let lane = i32x4_extract_lane::<0>(sums);
        i32x4_all_true(i32x4_eq(sums, i32x4_splat(lane))).then_some(lane)
    };
    let answers = |expected: fn(u8) -> i32| {
        [(127, 255), (-128, 255), (127, 129), (-128, 129), (-128, 1), (127, 127)]
            .into_iter()
            .all(|(first, second)| sums(first, second) == Some(4 * i32::from(first) * expected(second)))
    };
    if answers(i32::from) {
        Second::Unsigned
    } else if answers(|second| i32::from(second.cast_signed())) {
        Second::Signed
    } else {
        Second::SevenBits
    }
}
