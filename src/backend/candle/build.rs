//! Compiles the kernels for NVIDIA cards with nvcc, where the feature `cuda` asks for them.

use std::{env, path::PathBuf, process::Command};

/// The oldest cards that have the instructions in use. The driver compiles for the card there is.
const ARCHITECTURE: &str = "compute_80";

fn main() {
    let folder = "src/backend/candle/cuda";
    println!("cargo::rerun-if-changed=src/backend/candle/build.rs");
    println!("cargo::rerun-if-changed={folder}");
    for variable in ["NVCC", "CUDA_HOME", "CUDA_PATH", "NVCC_CCBIN"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    let home = ["CUDA_HOME", "CUDA_PATH"].into_iter().find_map(env::var_os).map(PathBuf::from);
    let nvcc = match (env::var_os("NVCC"), home) {
        (Some(nvcc), _) => nvcc.into(),
        (None, Some(home)) if home.join("bin/nvcc").exists() => home.join("bin/nvcc"),
        _ => PathBuf::from("nvcc"),
    };
    let ptx = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names a folder")).join("kernels.ptx");
    let mut command = Command::new(&nvcc);
    command.args(["-ptx", "-O3", "-std=c++17", "-arch", ARCHITECTURE, "-o"]).arg(&ptx);
    if let Some(compiler) = env::var_os("NVCC_CCBIN") {
        command.arg("-allow-unsupported-compiler").arg("-ccbin").arg(compiler);
    }
    let outcome = command.arg(format!("{folder}/kernels.cu")).output();
    let said = match outcome {
        Ok(output) if output.status.success() => return,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(e) => e.to_string(),
    };
    let nvcc = nvcc.display();
    panic!(
        "{nvcc} did not compile {folder}/kernels.cu: {said}\nset CUDA_HOME to a CUDA toolkit: docs/cuda.md says how to get one"
    );
}
