//! Shader texts put together: templates expanded, variants listed.

use super::device::Adapter;
use crate::weights::DType;

/// How the weights of a matrix lie on the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Store {
    F32,
    F16,
    BF16,
    /// `q * scale + least` in blocks.
    Blocks {
        /// 4 or 8 bits a quant.
        bits: u32,
        /// Inputs in a block: 16 or 32.
        block: u32,
        /// Scales are halves; else f32.
        halves: bool,
    },
}

impl Store {
    /// The most compact one that holds every value of `dtype` exactly.
    pub(super) fn of(dtype: DType) -> Self {
        let blocks = |bits, block, halves| Self::Blocks { bits, block, halves };
        match dtype {
            DType::F32 => Self::F32,
            DType::F16 => Self::F16,
            DType::BF16 => Self::BF16,
            DType::Q4_0 | DType::Q4_1 => blocks(4, 32, true),
            DType::Q5_0 | DType::Q5_1 | DType::Q8_0 => blocks(8, 32, true),
            DType::Q2K | DType::Q3K => blocks(4, 16, false),
            DType::Q4K => blocks(4, 32, false),
            DType::Q5K => blocks(8, 32, false),
            DType::Q6K => blocks(8, 16, false),
        }
    }

    /// One that holds what both hold.
    pub(super) fn with(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Blocks { bits: a, block: p, halves: h }, Self::Blocks { bits: b, block: q, halves: i }) => {
                Self::Blocks { bits: a.max(b), block: p.min(q), halves: h && i }
            }
            _ => Self::F32,
        }
    }

    /// Inputs that share one scale.
    pub(super) fn block(self) -> u32 {
        if let Self::Blocks { block, .. } = self { block } else { 32 }
    }

    /// A short name: `q4/32`.
    pub(super) fn name(self) -> String {
        match self {
            Self::F32 => "f32".into(),
            Self::F16 => "f16".into(),
            Self::BF16 => "bf16".into(),
            Self::Blocks { bits, block, halves } => format!("q{bits}/{block}{}", if halves { "" } else { "w" }),
        }
    }

    fn sources(self) -> [&'static str; 2] {
        let (bits, halves) = match self {
            Self::F32 => return [include_str!("../../kernels/shared/weight_f32.wgsl"), NO_SCALES],
            Self::F16 => return [include_str!("../../kernels/shared/weight_f16.wgsl"), NO_SCALES],
            Self::BF16 => return [include_str!("../../kernels/shared/weight_bf16.wgsl"), NO_SCALES],
            Self::Blocks { bits, halves, .. } => (bits, halves),
        };
        let weights = match bits {
            4 => include_str!("../../kernels/shared/weight_q4.wgsl"),
            _ => include_str!("../../kernels/shared/weight_q8.wgsl"),
        };
        let scales = match halves {
            true => include_str!("../../kernels/shared/scale_f16.wgsl"),
            false => include_str!("../../kernels/shared/scale_f32.wgsl"),
        };
        [weights, scales]
    }
}

const NO_SCALES: &str = include_str!("../../kernels/shared/scale_none.wgsl");

/// What a product multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Arithmetic {
    F32,
    /// Products and sums of four in f16, the rest in f32.
    F16,
    /// Bytes times bytes in blocks.
    I8,
}

/// How a product's threads get their operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fetch {
    Tile,
    Direct,
    Quad,
}

/// One way to multiply by a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Variant {
    pub arithmetic: Arithmetic,
    pub fetch: Fetch,
    /// Rows of a thread.
    pub rows: u32,
    /// Threads of a workgroup along outputs and rows.
    pub threads: [u32; 2],
    /// Inputs that a tile stages at once, in fours (float tiles only).
    pub stage: u32,
}

const fn variant(arithmetic: Arithmetic, fetch: Fetch, rows: u32, threads: [u32; 2], stage: u32) -> Variant {
    Variant { arithmetic, fetch, rows, threads, stage }
}

/// Every variant that autotune may choose from. All stay within WebGPU's default limits.
pub(super) const VARIANTS: [Variant; 14] = [
    variant(Arithmetic::I8, Fetch::Tile, 8, [8, 8], 0),
    variant(Arithmetic::I8, Fetch::Tile, 8, [16, 8], 0),
    variant(Arithmetic::I8, Fetch::Tile, 4, [8, 16], 0),
    variant(Arithmetic::I8, Fetch::Direct, 4, [32, 1], 0),
    variant(Arithmetic::I8, Fetch::Quad, 8, [32, 1], 0),
    variant(Arithmetic::I8, Fetch::Quad, 16, [32, 1], 0),
    variant(Arithmetic::F16, Fetch::Tile, 8, [8, 8], 8),
    variant(Arithmetic::F16, Fetch::Tile, 8, [16, 8], 8),
    variant(Arithmetic::F32, Fetch::Tile, 8, [8, 8], 4),
    variant(Arithmetic::F32, Fetch::Tile, 8, [16, 8], 4),
    variant(Arithmetic::F32, Fetch::Tile, 4, [16, 16], 4),
    variant(Arithmetic::F32, Fetch::Direct, 8, [8, 8], 0),
    variant(Arithmetic::F32, Fetch::Quad, 8, [32, 1], 0),
    variant(Arithmetic::F32, Fetch::Quad, 16, [32, 1], 0),
];

impl Variant {
    /// True where the adapter can run it, and a store's accuracy class allows it: exact files are multiplied exactly.
    pub(super) fn fits(self, store: Store, adapter: &Adapter) -> bool {
        let quantised = matches!(store, Store::Blocks { .. });
        let arithmetic = match self.arithmetic {
            Arithmetic::F32 => true,
            Arithmetic::F16 => quantised && adapter.f16,
            Arithmetic::I8 => quantised && adapter.packed_int8,
        };
        arithmetic && (self.fetch != Fetch::Quad || adapter.subgroups)
    }

    /// Rows and outputs of a workgroup.
    pub(super) fn tile(self) -> [u32; 2] {
        [self.rows * self.threads[1], 8 * self.threads[0]]
    }

    /// `i8 tile 64x64/8`: arithmetic, fetch, rows and outputs of a workgroup, rows of a thread.
    pub(super) fn name(self) -> String {
        let [rows, outputs] = self.tile();
        let arithmetic = match self.arithmetic {
            Arithmetic::F32 => "f32",
            Arithmetic::F16 => "f16",
            Arithmetic::I8 => "i8",
        };
        let fetch = match self.fetch {
            Fetch::Tile => "tile",
            Fetch::Direct => "direct",
            Fetch::Quad => "quad",
        };
        format!("{arithmetic} {fetch} {rows}x{outputs}/{}", self.rows)
    }

    /// The pipeline constants.
    pub(super) fn constants(self) -> Vec<(&'static str, f64)> {
        let mut constants = vec![("WX", f64::from(self.threads[0])), ("WY", f64::from(self.threads[1]))];
        if self.stage > 0 {
            constants.push(("BK4", f64::from(self.stage)));
        }
        constants
    }

    /// The shader of a product with weights in `store`.
    pub(super) fn source(self, store: Store) -> String {
        let [weights, scales] = store.sources();
        let body = match (self.arithmetic, self.fetch) {
            (Arithmetic::I8, Fetch::Tile) => include_str!("../../kernels/matmul_i8_tile.wgsl"),
            (Arithmetic::I8, _) => include_str!("../../kernels/matmul_i8_direct.wgsl"),
            (_, Fetch::Tile) => include_str!("../../kernels/matmul_tile.wgsl"),
            (..) => include_str!("../../kernels/matmul_direct.wgsl"),
        };
        let mut text = String::new();
        if self.arithmetic == Arithmetic::F16 {
            text += "enable f16;\n";
        }
        if self.fetch == Fetch::Quad {
            text += ENABLE_SUBGROUPS;
        }
        let element = if self.arithmetic == Arithmetic::F16 { "f16" } else { "f32" };
        text += &format!("alias Vec = vec4<{element}>;\nalias Mat = mat4x4<{element}>;\n");
        text += &format!("const ROWS = {}u;\n{}", self.rows, block_constant(store.block()));
        text += include_str!("../../kernels/shared/matmul.wgsl");
        text += weights;
        text += scales;
        if self.arithmetic == Arithmetic::I8 {
            text += include_str!("../../kernels/shared/matmul_i8.wgsl");
        }
        text += match self.arithmetic {
            Arithmetic::F16 => include_str!("../../kernels/shared/rows_f16.wgsl"),
            Arithmetic::F32 | Arithmetic::I8 => include_str!("../../kernels/shared/rows_f32.wgsl"),
        };
        text + &expand(body, self.rows, self.fetch == Fetch::Quad)
    }
}

/// Browsers want subgroups to be enabled; naga enables them by the device's feature and refuses the line.
const ENABLE_SUBGROUPS: &str = if cfg!(target_arch = "wasm32") { "enable subgroups;\n" } else { "" };

fn block_constant(block: u32) -> String {
    format!("const BLOCK4 = {}u;\n", block / 4)
}

/// The shader that turns rows into bytes in blocks.
pub(super) fn quantize(block: u32) -> String {
    block_constant(block) + include_str!("../../kernels/quantize.wgsl")
}

/// Expands a template (see `kernels/shared/matmul.wgsl`).
fn expand(template: &str, rows: u32, quad: bool) -> String {
    let (keep, drop) = if quad { ("@quad", "@each") } else { ("@each", "@quad") };
    let mut out = String::with_capacity(4 * template.len());
    let mut statement = String::new();
    for line in template.lines().filter(|l| !l.starts_with("//") && !l.starts_with(drop)) {
        statement += line.strip_prefix(keep).unwrap_or(line);
        statement.push('\n');
        if statement.contains('#') && !line.ends_with([';', '{', '}']) {
            continue;
        }
        repeat(&statement, rows, &mut out);
        statement.clear();
    }
    out
}

fn repeat(statement: &str, rows: u32, out: &mut String) {
    let number = |text: String, sign: &str, n: u32| text.replace(sign, &n.to_string());
    let times = |sign: &str, n: u32| if statement.contains(sign) { n } else { 1 };
    for r in 0..times("#r", rows).max(times("#m", rows)) {
        for q in 0..times("#q", rows / 4) {
            for c in 0..times("#c", 2) {
                let signs = [("#r", r), ("#d", r / 4), ("#m", r % 4), ("#q", q), ("#c", c)];
                *out += &signs.into_iter().fold(statement.to_owned(), |text, (sign, n)| number(text, sign, n));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_repeated_for_what_they_name() {
        let template = "a;\nlet v#r = p#d[#m];\n@quad let p#q = 1;\n@each none;\ns#r_#c +=\n  v#r;\n";
        let out = expand(template, 4, true);
        assert!(out.starts_with("a;\nlet v0 = p0[0];\nlet v1 = p0[1];"), "{out}");
        assert_eq!(out.matches("let p0 = 1;").count(), 1);
        assert_eq!(out.matches("+=\n").count(), 8);
        assert!(!out.contains("none") && !out.contains('#') && !out.contains('@'));
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::HashSet<String> = VARIANTS.iter().map(|v| v.name()).collect();
        assert_eq!(names.len(), VARIANTS.len());
    }
}
