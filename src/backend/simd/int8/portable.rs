//! Products anywhere else.

use super::{Dot, kernel};

/// Two products of 16 bits, in plain Rust.
struct Portable;

impl Dot for Portable {
    const LANES: usize = 4;
    const FLOATS_IN_MEMORY: bool = true;
    const DEPTH: usize = 2;
    const WEIGHT_OFFSET: u8 = 0;
    const INPUT_MOST: f32 = 32767.0;
    const INPUT_OFFSET: i16 = 0;
    type Sums = [i32; 4];
    type Floats = [f32; 4];
    type Weights = [i8; 8];
    type Inputs = [i16; 2];

    #[inline(always)]
    unsafe fn zero() -> [i32; 4] {
        [0; 4]
    }
    #[inline(always)]
    unsafe fn start(_: *const i32, _: *const i32) -> [i32; 4] {
        [0; 4]
    }
    #[inline(always)]
    unsafe fn weights(from: *const u8) -> [i8; 8] {
        // SAFETY: the trait's callers promise the pointer; so in every function below.
        unsafe { from.cast::<[i8; 8]>().read() }
    }
    #[inline(always)]
    unsafe fn inputs(from: *const u32) -> [i16; 2] {
        // SAFETY: see `weights`.
        let word = unsafe { from.read() };
        [word as u16, (word >> 16) as u16].map(u16::cast_signed)
    }
    #[inline(always)]
    unsafe fn dot(sums: [i32; 4], w: [i8; 8], x: [i16; 2]) -> [i32; 4] {
        let product = |w: i8, x: i16| i32::from(w) * i32::from(x);
        std::array::from_fn(|i| sums[i] + product(w[2 * i], x[0]) + product(w[2 * i + 1], x[1]))
    }
    #[inline(always)]
    unsafe fn floats(sums: [i32; 4]) -> [f32; 4] {
        sums.map(|v| v as f32)
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> [f32; 4] {
        [value; 4]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; 4] {
        // SAFETY: see `weights`.
        unsafe { from.cast::<[f32; 4]>().read() }
    }
    #[inline(always)]
    unsafe fn store(value: [f32; 4], to: *mut f32) {
        // SAFETY: see `weights`.
        unsafe { to.cast::<[f32; 4]>().write(value) }
    }
    #[inline(always)]
    unsafe fn mul(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn mul_add(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
}

kernel!(PORTABLE, super::portable::Portable, 4 x 2);
