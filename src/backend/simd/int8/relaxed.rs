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
    const INPUT_OFFSET: i32 = 0;

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

/// The same with inputs of 7 bits and weights of 8.
struct RelaxedWide;

impl Dot for RelaxedWide {
    lanes!();
    const DEPTH: usize = 4;
    const WEIGHT_OFFSET: u8 = 0;
    const INPUT_MOST: f32 = 63.0;
    const INPUT_OFFSET: i32 = 64;

    #[inline(always)]
    unsafe fn start(_: *const i32, columns: *const i32) -> v128 {
        // SAFETY: see `inputs`.
        unsafe { v128_load(columns.cast()) }
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

kernel!(RELAXED, super::relaxed::Relaxed, 4 x 2);
kernel!(RELAXED_WIDE, super::relaxed::RelaxedWide, 4 x 2);
