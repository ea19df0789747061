//! Products of quantised weights by quantised inputs.
//!
//! ```text
//! y[r][c] = sum over groups g of  scale_x[r][g] * scale_w[c][g] * (sum over the group's inputs of code_x * code_w)
//! ```
//!
//! **Codes.** Every row of x is cut into blocks of [`BLOCK`] inputs, each with a scale of its own. The inner sums are exact in 32 bits; they
//! are turned into f32, scaled and added up group by group, in order, so a result depends on its row and its column alone.
//!
//! **Instructions.** A [`Dot`] is one way to multiply: four products of bytes into 32 bits where there is an instruction for it (AVX512-VNNI,
//! AVX-VNNI, NEON's dotprod, WebAssembly's relaxed dot), else two products of 16 bits (SSE2 to AVX-512, NEON, simd128), with inputs of
//! 16 bits, nearly as exact as f32. Instructions differ in which side is signed:
//!
//! | | weights | inputs | what makes up for it |
//! |---|---|---|---|
//! | VNNI | 0 to 255: offset 128 | -127 to 127 | sums start at -128 times the row's sum of codes |
//! | relaxed, weights of 7 bits or fewer | 0 to 127: offset 64 | -127 to 127 | likewise, -64 times |
//! | relaxed, weights of 8 bits, unsigned inputs | signed | 1 to 255: offset 128 | sums start at -128 times the column's sum of codes |
//! | relaxed, weights of 8 bits, signed inputs | signed | -127 to 127 | |
//! | dotprod | signed | -127 to 127 | |
//! | 16 bits | signed | -32767 to 32767 | |
//!
//! The relaxed dot promises only 7 bits of its second operand. What an engine does with the eighth never changes, so it is asked once: processors with
//! AVX-VNNI take all 8 as unsigned, NEON takes them as signed. On others weights of 8 bits are multiplied in 16 bits. (Inputs of 7 bits cost quality:
//! see docs/cpu.md.)
//!
//! **Tile.** As in the product of f32 (see [`super`]): `MR` rows by `NR` columns of sums in registers. A step loads `NR` columns' next
//! four (or two) codes from a panel `[K / 4][NR][4]` and repeats one row's from a panel `[K / 4][MR][4]`.
//!
//! **Least values.** Formats whose groups have a least value (`w = scale * q + least`) add `least[c][g] * scale_x[r][g] * sum of code_x`.

#[cfg(target_arch = "aarch64")]
mod arm;
mod panels;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "wasm32")))]
mod portable;
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
mod relaxed;
mod rows;
mod tile;
#[cfg(target_arch = "wasm32")]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(super) use panels::{Panels, Unpacked};
pub(super) use rows::Rows;
use rows::quantize;
use tile::{WeightPanel, peak, spread, tile, widen};

/// Inputs that share one scale.
const BLOCK: usize = 32;

/// One way to multiply codes. Its functions may be called only where its instructions exist, with pointers to as many elements as they take.
trait Dot {
    /// Columns in a register.
    const LANES: usize;
    /// Inputs of a column that one step takes: 4 bytes or 2 numbers of 16 bits, 32 bits either way.
    const DEPTH: usize;
    /// What is added to a signed weight to make its code.
    const WEIGHT_OFFSET: u8;
    /// The largest magnitude of an input's code.
    const INPUT_MOST: f32;
    /// What is added to an input's code.
    const INPUT_OFFSET: i16;
    /// Too few registers for a tile's f32 sums beside those of its codes.
    const FLOATS_IN_MEMORY: bool;
    /// `LANES` numbers of 32 bits.
    type Sums: Copy;
    /// `LANES` f32.
    type Floats: Copy;
    /// A step of `LANES` columns.
    type Weights: Copy;
    /// A step of one row, repeated `LANES` times.
    type Inputs: Copy;

    unsafe fn zero() -> Self::Sums;
    /// Sums before the first step, from the row's one start or the columns' `LANES`.
    unsafe fn start(row: *const i32, columns: *const i32) -> Self::Sums;
    unsafe fn weights(from: *const u8) -> Self::Weights;
    unsafe fn inputs(from: *const u32) -> Self::Inputs;
    unsafe fn dot(sums: Self::Sums, weights: Self::Weights, inputs: Self::Inputs) -> Self::Sums;
    unsafe fn floats(sums: Self::Sums) -> Self::Floats;
    unsafe fn splat(value: f32) -> Self::Floats;
    unsafe fn load(from: *const f32) -> Self::Floats;
    unsafe fn store(value: Self::Floats, to: *mut f32);
    unsafe fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a * b + c`
    unsafe fn mul_add(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
}

/// See [`tile::tile`].
type Tile = unsafe fn(usize, &[u32], &WeightPanel, &mut [f32]);

/// One [`Dot`]'s functions, compiled for its instructions and register tile.
pub(super) struct Kernel {
    /// Rows of x in a panel.
    mr: usize,
    /// Columns in a panel.
    nr: usize,
    depth: usize,
    weight_offset: u8,
    pub(super) input_most: f32,
    input_offset: i16,
    /// For weights in groups of 32 or 16, without and with least values: `[least][group is 16]`.
    tiles: [[Tile; 2]; 2],
    quantize: unsafe fn(rows::Shape, &[f32], &mut [u32]),
    widen: unsafe fn(f32, &[u8], &mut [f32]),
    spread: unsafe fn(u8, &[u8], &mut [u8]),
    peak: unsafe fn(usize, usize, &[u32], &[u8]) -> i32,
}

impl Kernel {
    /// Sums of `rows` (one panel) with the columns of `weights`, `K` inputs: `[MR][NR]` into `out`.
    fn tile(&self, group: usize, inputs: usize, rows: &[u32], weights: &WeightPanel, out: &mut [f32]) {
        let least = usize::from(!weights.least.is_empty());
        // SAFETY: a kernel is reached only through an `Isa`, which exists only where its instructions do.
        unsafe { self.tiles[least][usize::from(group < BLOCK)](inputs, rows, weights, out) }
    }

    /// See [`tile::widen`].
    fn widen(&self, unit: f32, halves: &[u8], to: &mut [f32]) {
        // SAFETY: as in `tile`.
        unsafe { (self.widen)(unit, halves, to) }
    }

    /// See [`tile::spread`].
    fn spread(&self, add: u8, bytes: &[u8], to: &mut [u8]) {
        // SAFETY: as in `tile`.
        unsafe { (self.spread)(add, bytes, to) }
    }

    /// Billions of operations a second that one thread reaches with `dot` alone, tried for about `seconds`; see [`super::ceiling`].
    pub(super) fn ceiling(&self, seconds: f64) -> f64 {
        /// Panels of at most 16 KiB.
        const INPUTS: usize = 512;
        let rows = vec![0x0102_0304u32; INPUTS / self.depth * self.mr];
        let weights = vec![1u8; INPUTS * self.nr];
        super::ceiling::best_rate((2 * INPUTS * self.mr * self.nr) as f64, seconds, |repeats| {
            // SAFETY: as in `tile`.
            std::hint::black_box(unsafe { (self.peak)(repeats, INPUTS, &rows, &weights) });
        })
    }
}

/// Compiles a [`Kernel`] `$name` of a [`Dot`] with a tile of `$mr` rows and `$nv` registers.
macro_rules! kernel {
    ($name:ident, $dot:ty, $mr:literal x $nv:literal $(, $features:literal)?) => {
        pub(in super::super) static $name: super::Kernel = {
            use super::{Dot, Kernel, WeightPanel, peak, quantize, rows::Shape, spread, tile, widen};

            $(#[target_feature(enable = $features)])?
            unsafe fn whole(inputs: usize, rows: &[u32], weights: &WeightPanel, out: &mut [f32]) {
                // SAFETY: this function's caller promises the instructions.
                unsafe { tile::<$dot, $mr, $nv, 32, false>(inputs, rows, weights, out) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn half(inputs: usize, rows: &[u32], weights: &WeightPanel, out: &mut [f32]) {
                // SAFETY: as above.
                unsafe { tile::<$dot, $mr, $nv, 16, false>(inputs, rows, weights, out) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn whole_least(inputs: usize, rows: &[u32], weights: &WeightPanel, out: &mut [f32]) {
                // SAFETY: as above.
                unsafe { tile::<$dot, $mr, $nv, 32, true>(inputs, rows, weights, out) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn half_least(inputs: usize, rows: &[u32], weights: &WeightPanel, out: &mut [f32]) {
                // SAFETY: as above.
                unsafe { tile::<$dot, $mr, $nv, 16, true>(inputs, rows, weights, out) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn codes(shape: Shape, x: &[f32], to: &mut [u32]) {
                quantize::<$dot, $mr>(shape, x, to)
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn top(repeats: usize, inputs: usize, rows: &[u32], weights: &[u8]) -> i32 {
                // SAFETY: as above.
                unsafe { peak::<$dot, $mr, $nv>(repeats, inputs, rows, weights) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn floats(unit: f32, halves: &[u8], to: &mut [f32]) {
                widen(unit, halves, to)
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn bytes(add: u8, bytes: &[u8], to: &mut [u8]) {
                spread(add, bytes, to)
            }
            Kernel {
                mr: $mr,
                nr: $nv * <$dot>::LANES,
                depth: <$dot>::DEPTH,
                weight_offset: <$dot>::WEIGHT_OFFSET,
                input_most: <$dot>::INPUT_MOST,
                input_offset: <$dot>::INPUT_OFFSET,
                tiles: [[whole, half], [whole_least, half_least]],
                quantize: codes,
                widen: floats,
                spread: bytes,
                peak: top,
            }
        };
    };
}
use kernel;

/// The kernel for weights of 7 bits or fewer, then the one for weights of 8 bits.
pub(super) type Kernels = [&'static Kernel; 2];

#[cfg(target_arch = "aarch64")]
pub(super) use arm::{DOTPROD, NEON};
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "wasm32")))]
pub(super) use portable::PORTABLE;
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
pub(super) use relaxed::{RELAXED, RELAXED_SIGNED, RELAXED_UNSIGNED, Second, second_operand};
#[cfg(target_arch = "wasm32")]
pub(super) use wasm::SIMD128;
#[cfg(target_arch = "x86_64")]
pub(super) use x86::{AVX_VNNI, AVX2, AVX512, AVX512_VNNI, SSE2};
