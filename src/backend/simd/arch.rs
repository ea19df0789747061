//! The bodies compiled for each instruction set, and the choice between them at run time.

use super::{HeadTask, Target, body, int8};

/// Cosines and sines, `D / 2` of each.
type Angles<'a> = [&'a [f32]; 2];

/// Compiles every body for one instruction set and register tile, and attention for a tile of another height: more rows than it has do not stay
/// in the registers.
macro_rules! compile {
    ($module:ident, $mr:literal x $nr:literal, attend: $ar:literal, fma: $fma:literal, int8: $narrow:expr, $wide:expr $(, $features:literal)?) => {
        mod $module {
            use super::{Angles, HeadTask, Target, body, int8};

            $(#[target_feature(enable = $features)])?
            fn matmul(depth: usize, x: &[f32], w: &[f32], target: &Target) {
                body::matmul::<$mr, $nr, $fma>(depth, x, w, target)
            }

            $(#[target_feature(enable = $features)])?
            fn attend(task: &HeadTask, scratch: &mut [f32]) {
                body::attend::<$ar, $nr, $fma>(task, scratch)
            }

            $(#[target_feature(enable = $features)])?
            fn pack_x(rows: usize, width: usize, stride: usize, from: &[f32], to: &mut [f32]) {
                body::pack::<$mr>(rows, width, stride, from, to)
            }

            $(#[target_feature(enable = $features)])?
            fn pack_w(rows: usize, width: usize, stride: usize, from: &[f32], to: &mut [f32]) {
                body::pack::<$nr>(rows, width, stride, from, to)
            }

            $(#[target_feature(enable = $features)])?
            fn swiglu(gate: &mut [f32], up: &[f32]) {
                body::swiglu::<$fma>(gate, up)
            }

            $(#[target_feature(enable = $features)])?
            fn rms_norm(eps: f32, x: &[f32], w: &[f32], y: &mut [f32]) {
                body::rms_norm(eps, x, w, y)
            }

            $(#[target_feature(enable = $features)])?
            fn head_norm_rope(eps: f32, row: &mut [f32], w: &[f32], angles: Angles) {
                body::head_norm_rope(eps, row, w, angles)
            }

            pub(super) const TABLE: super::Table = super::Table {
                name: stringify!($module),
                mr: $mr,
                nr: $nr,
                attend_rows: $ar,
                matmul,
                attend,
                pack_x,
                pack_w,
                swiglu,
                rms_norm,
                head_norm_rope,
                int8: [&$narrow, &$wide],
            };
        }
    };
}

/// One instruction set's kernels. Unsafe to call where the instructions are missing.
struct Table {
    name: &'static str,
    mr: usize,
    nr: usize,
    attend_rows: usize,
    matmul: unsafe fn(usize, &[f32], &[f32], &Target),
    attend: unsafe fn(&HeadTask, &mut [f32]),
    pack_x: unsafe fn(usize, usize, usize, &[f32], &mut [f32]),
    pack_w: unsafe fn(usize, usize, usize, &[f32], &mut [f32]),
    swiglu: unsafe fn(&mut [f32], &[f32]),
    rms_norm: unsafe fn(f32, &[f32], &[f32], &mut [f32]),
    head_norm_rope: unsafe fn(f32, &mut [f32], &[f32], Angles),
    int8: int8::Kernels,
}

#[cfg(target_arch = "x86_64")]
compile!(avx512vnni, 12 x 32, attend: 6, fma: true, int8: int8::AVX512_VNNI, int8::AVX512_VNNI, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma");
#[cfg(target_arch = "x86_64")]
compile!(avx512, 12 x 32, attend: 6, fma: true, int8: int8::AVX512, int8::AVX512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma");
#[cfg(target_arch = "x86_64")]
compile!(avxvnni, 6 x 16, attend: 6, fma: true, int8: int8::AVX_VNNI, int8::AVX_VNNI, "avx2,fma");
#[cfg(target_arch = "x86_64")]
compile!(avx2, 6 x 16, attend: 6, fma: true, int8: int8::AVX2, int8::AVX2, "avx2,fma");
#[cfg(target_arch = "x86_64")]
compile!(sse2, 4 x 8, attend: 4, fma: false, int8: int8::SSE2, int8::SSE2);
#[cfg(target_arch = "aarch64")]
compile!(dotprod, 8 x 8, attend: 8, fma: true, int8: int8::DOTPROD, int8::DOTPROD);
#[cfg(target_arch = "aarch64")]
compile!(neon, 8 x 8, attend: 8, fma: true, int8: int8::NEON, int8::NEON);
#[cfg(target_arch = "wasm32")]
compile!(simd128, 4 x 8, attend: 4, fma: false, int8: int8::SIMD128, int8::SIMD128);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "wasm32")))]
compile!(portable, 4 x 8, attend: 4, fma: false, int8: int8::PORTABLE, int8::PORTABLE);

/// simd128 with other products of bytes.
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
const fn relaxed(name: &'static str, wide: &'static int8::Kernel) -> Table {
    Table { name, int8: [&int8::RELAXED, wide], ..simd128::TABLE }
}
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
static RELAXED: Table = relaxed("relaxed", &int8::SIMD128);
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
static RELAXED_SIGNED: Table = relaxed("relaxed-s8", &int8::RELAXED_SIGNED);
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
static RELAXED_UNSIGNED: Table = relaxed("relaxed-u8", &int8::RELAXED_UNSIGNED);

/// An instruction set that this machine has.
#[derive(Clone, Copy)]
pub struct Isa(&'static Table);

impl Isa {
    /// Every instruction set of this machine, the best one first.
    #[allow(clippy::vec_init_then_push)] // What is pushed depends on the target.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
            {
                if is_x86_feature_detected!("avx512vnni") {
                    all.push(Self(&avx512vnni::TABLE));
                }
                all.push(Self(&avx512::TABLE));
            }
            if avx2 {
                if is_x86_feature_detected!("avxvnni") {
                    all.push(Self(&avxvnni::TABLE));
                }
                all.push(Self(&avx2::TABLE));
            }
            all.push(Self(&sse2::TABLE));
        }
        #[cfg(target_arch = "aarch64")]
        {
            if std::arch::is_aarch64_feature_detected!("dotprod") {
                all.push(Self(&dotprod::TABLE));
            }
            all.push(Self(&neon::TABLE));
        }
        #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
        all.push(match int8::second_operand() {
            int8::Second::Unsigned => Self(&RELAXED_UNSIGNED),
            int8::Second::Signed => Self(&RELAXED_SIGNED),
            int8::Second::SevenBits => Self(&RELAXED),
        });
        #[cfg(target_arch = "wasm32")]
        all.push(Self(&simd128::TABLE));
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "wasm32")))]
        all.push(Self(&portable::TABLE));
        all
    }

    /// The best instruction set of this machine.
    pub fn best() -> Self {
        Self::all()[0]
    }

    /// Its name: `avx512vnni`, `avx512`, `avxvnni`, `avx2`, `sse2`, `dotprod`, `neon`, `relaxed-u8`, `relaxed-s8`, `relaxed`,
    /// `simd128` or `portable`.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The products of quantised weights.
    pub(super) fn int8(self) -> int8::Kernels {
        self.0.int8
    }

    /// Rows of x in a panel.
    pub(super) fn mr(self) -> usize {
        self.0.mr
    }

    /// Rows of W, or keys, in a panel.
    pub(super) fn nr(self) -> usize {
        self.0.nr
    }

    /// x in panels `[depth][mr]` for all rows of the target, panels `[depth][nr]` of W for its columns.
    ///
    /// # Safety
    /// The target's columns belong to the caller alone.
    pub(super) unsafe fn matmul(self, depth: usize, x: &[f32], w: &[f32], target: &Target) {
        // SAFETY: an `Isa` exists only where its instructions do; the rest is the caller's promise.
        unsafe { (self.0.matmul)(depth, x, w, target) }
    }

    /// One head's queries; see [`HeadTask`].
    ///
    /// # Safety
    /// The rows and columns that the task names belong to the caller alone.
    pub(super) unsafe fn attend(self, task: &HeadTask, scratch: &mut [f32]) {
        // SAFETY: an `Isa` exists only where its instructions do; the rest is the caller's promise.
        unsafe { (self.0.attend)(task, scratch) }
    }

    /// Queries that attention takes at once; fewer cost as much.
    pub fn query_tile(self) -> usize {
        self.0.nr
    }

    /// Rows that must follow the keys and values of [`Self::attend`].
    pub(super) fn attend_rows(self) -> usize {
        self.0.attend_rows
    }

    /// Elements of scratch that [`Self::attend`] needs.
    pub(super) fn attend_scratch(self, head_dim: usize, keys: usize) -> usize {
        body::attend_scratch(self.0.attend_rows, self.0.nr, head_dim, keys)
    }

    /// Packs up to `mr` rows into `[width][mr]`.
    pub(super) fn pack_x(self, rows: usize, width: usize, stride: usize, from: &[f32], to: &mut [f32]) {
        // SAFETY: an `Isa` exists only where its instructions do.
        unsafe { (self.0.pack_x)(rows, width, stride, from, to) }
    }

    /// Packs up to `nr` rows into `[width][nr]`.
    pub(super) fn pack_w(self, rows: usize, width: usize, stride: usize, from: &[f32], to: &mut [f32]) {
        // SAFETY: an `Isa` exists only where its instructions do.
        unsafe { (self.0.pack_w)(rows, width, stride, from, to) }
    }

    /// `gate = silu(gate) * up`.
    pub fn swiglu(self, gate: &mut [f32], up: &[f32]) {
        // SAFETY: an `Isa` exists only where its instructions do.
        unsafe { (self.0.swiglu)(gate, up) }
    }

    /// One row's RMSNorm.
    pub fn rms_norm(self, eps: f32, x: &[f32], w: &[f32], y: &mut [f32]) {
        // SAFETY: an `Isa` exists only where its instructions do.
        unsafe { (self.0.rms_norm)(eps, x, w, y) }
    }

    /// One row's heads, normed and turned by `[cos, sin]`, `D / 2` of each.
    pub fn head_norm_rope(self, eps: f32, row: &mut [f32], w: &[f32], angles: Angles) {
        // SAFETY: an `Isa` exists only where its instructions do.
        unsafe { (self.0.head_norm_rope)(eps, row, w, angles) }
    }
}
