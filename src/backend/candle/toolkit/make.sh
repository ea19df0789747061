#!/usr/bin/env bash
# Makes a CUDA toolkit from PyPI's packages, enough to build the feature `cuda` on x86-64 Linux: the compiler, its headers, and in the place of
# NVIDIA's libraries small archives that open the real ones at the first call (lazy.c). So nothing of 500 MB is downloaded to
# build, and the program starts where there is no driver, to say so.
#
# usage: make.sh FOLDER, then build with CUDA_HOME=FOLDER
set -euo pipefail
(($# == 1)) || { sed -n '2,6s/^# //p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
mkdir -p "$1"
folder=$(cd "$1" && pwd -P)
[[ $(uname -sm) == 'Linux x86_64' ]] || { echo "make.sh: for x86-64 Linux only; elsewhere install NVIDIA's toolkit and set CUDA_HOME to it" >&2; exit 1; }

packages=(nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85)
if [[ $(cat "$folder/packages" 2>/dev/null) != "${packages[*]}" ]]; then
  wheels=$(mktemp -d)
  trap 'rm -rf "$wheels"' EXIT
  python3 -m pip install --quiet --no-deps --only-binary=:all: --target "$wheels" "${packages[@]}"
  cp -r "$wheels"/nvidia/cu13/. "$folder"
  chmod +x "$folder"/bin/* "$folder"/nvvm/bin/*
  rm -f "$folder"/lib/libcudart.so*
  echo "${packages[*]}" >"$folder/packages"
fi

# The functions that cudarc, candle's way to the libraries, declares.
cargo fetch --quiet --manifest-path "$here/../../../../Cargo.toml"
cudarc=$(cargo metadata --format-version 1 --features cuda --manifest-path "$here/../../../../Cargo.toml" |
  python3 -c 'import json, sys; print(next(p["manifest_path"] for p in json.load(sys.stdin)["packages"] if p["name"] == "cudarc"))')
sources=$(dirname "$cudarc")/src
mkdir -p "$folder/lib64"
ln -sf ../lib/libcudart_static.a "$folder/lib64/libcudart.a"

# `archive NAME MODULE FILE CODE`: lib64/libNAME.a for the functions of cudarc's MODULE, which are in FILE. Without it they return CODE.
archive() {
  local name=$1 module=$2 file=$3 code=$4 work
  work=$(mktemp -d)
  grep -rhoE 'pub unsafe fn (cu|nvrtc)[A-Za-z0-9_]+\(' "$sources/$module/sys" | sed -E 's/.*fn ([A-Za-z0-9_]+)\(/FUNCTION(\1)/' |
    grep -vE '\((culib|cu_?lib)' | sort -u >"$work/functions.h"
  [[ -s $work/functions.h ]] || { echo "make.sh: no functions of $module found in $sources" >&2; exit 1; }
  gcc -O2 -fPIC -I"$work" -DFILE_NAME="\"$file\"" -DMISSING="$code" -c "$here/lazy.c" -o "$work/$name.o"
  rm -f "$folder/lib64/lib$name.a"
  ar rcs "$folder/lib64/lib$name.a" "$work/$name.o"
  rm -rf "$work"
}
archive cuda driver libcuda.so.1 100        # CUDA_ERROR_NO_DEVICE
archive cublas cublas libcublas.so.13 1     # CUBLAS_STATUS_NOT_INITIALIZED
archive cublasLt cublaslt libcublasLt.so.13 1
archive curand curand libcurand.so.10 101   # CURAND_STATUS_NOT_INITIALIZED
archive nvrtc nvrtc libnvrtc.so.13 11       # NVRTC_ERROR_INTERNAL_ERROR
echo "$folder"
