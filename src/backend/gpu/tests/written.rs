//! The cases as a file, for browsers.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::Serialize;

use super::{
    super::{
        kernel::Access::Read as R,
        params,
        shader::{Arithmetic, Fetch},
    },
    cases::{
        Case, Want, attend_cases, bytes, gated_cases, head_norm_rope_cases, matmul_cases, quantize_cases,
        rms_norm_cases, row_max_cases,
    },
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    name: &'a str,
    kernel: &'a str,
    source: String,
    constants: std::collections::BTreeMap<&'static str, f64>,
    features: Vec<&'static str>,
    language_features: Vec<&'static str>,
    access: Vec<&'static str>,
    buffers: Vec<String>,
    params: [u32; params::WORDS],
    grid: [usize; 2],
    output: usize,
    kind: &'static str,
    want: String,
    tolerance: f32,
}

fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

fn written(case: &Case) -> Written<'_> {
    let variant = case.code.variant;
    let quad = variant.is_some_and(|v| v.fetch == Fetch::Quad);
    let arithmetic = variant.map(|v| v.arithmetic);
    let (kind, want) = match &case.want {
        Want::F32(v) => ("f32", bytes(v)),
        Want::Bytes(v) => ("i8", v.iter().map(|b| b.cast_unsigned()).collect()),
    };
    let f16 = arithmetic == Some(Arithmetic::F16);
    Written {
        name: &case.name,
        kernel: &case.code.name,
        // Where `Variant::source` puts the line in a browser.
        source: if quad { format!("enable subgroups;\n{}", case.code.source) } else { case.code.source.to_string() },
        constants: case.code.constants.iter().copied().collect(),
        features: if quad {
            vec!["subgroups"]
        } else if f16 {
            vec!["shader-f16"]
        } else {
            Vec::new()
        },
        language_features: match arithmetic {
            Some(Arithmetic::I8) => vec!["packed_4x8_integer_dot_product"],
            _ => Vec::new(),
        },
        access: case.code.access.iter().map(|a| if *a == R { "read" } else { "write" }).collect(),
        buffers: case.buffers.iter().map(|b| base64(b)).collect(),
        params: case.params,
        grid: case.grid,
        output: case.output,
        kind,
        want: base64(&want),
        tolerance: case.tolerance,
    }
}

/// Writes all cases to the file that `EDGE_RERANKER_CASES` names, for the browsers' test.
#[test]
fn gpu_cases_are_written() {
    let cases: Vec<Case> = [
        rms_norm_cases(),
        row_max_cases(),
        head_norm_rope_cases(),
        quantize_cases(),
        attend_cases(),
        gated_cases(),
        matmul_cases(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let names: std::collections::HashSet<&str> = cases.iter().map(|c| &*c.name).collect();
    assert!(names.len() > 100, "{} cases", names.len());
    let Some(path) = std::env::var_os("EDGE_RERANKER_CASES") else { return };
    let all = serde_json::json!({ "cases": cases.iter().map(written).collect::<Vec<_>>() });
    std::fs::write(path, all.to_string()).unwrap();
}
