#!/usr/bin/env bash
# Everything there is to measure on a machine with NVIDIA cards, in one call: correctness first, then speed, beside PyTorch.
#
#   tests/bench/cuda.sh [--parts PART,...] [--limit SECONDS] [--repeat N] [--work FOLDER] [--out FOLDER] [--keep]
#   tests/bench/cuda.sh --dry-run        the same with a tiny model on the processor: does every part still work?
#
# Parts, all of them by default and in this order:
#   build             the command line and the parity tests with the feature `cuda`
#   tests             the parity tests, on card 0 too
#   0.6B 4B 8B        seeded weights of the exact shape in bf16, beside PyTorch with flash attention
#   0.6B:f16 ...      the same weights as f16, and as GGUF in q8_0 and q4_k, each model after its bf16
#   cards             a replica on every card against one card, where there are several
#   clients           `serve` with 1 to 64 clients
#
# A part that fails is reported, and the others go on; each is stopped after --limit (540 s), so that one fits a call of ten minutes:
# give --parts one after the other there, with --keep for the weights, and the report grows. It goes to --out (target/bench/cuda): report.json and report.md.
#
# Needs: cargo (or --binary and --tests, which an earlier `--parts build` made of the same commit), a tokenizer.json of Qwen3 (--tokenizer, else the
# one that tests/web installs), python3 (PYTHON) with torch and transformers 4.51 or newer, and 50 GB in the work folder for the largest model.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
cd "$root"
python=${PYTHON:-python3}
given=" $* "

if [[ $given != *" --dry-run "* && $given != *" --help "* ]]; then
  nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv || { echo "cuda.sh: nvidia-smi shows no card" >&2; exit 3; }
  if [[ $given != *" --binary "* ]] && ! command -v nvcc >/dev/null && [[ -z ${CUDA_HOME:-} ]]; then
    if src/backend/candle/toolkit/make.sh target/cuda; then
      export CUDA_HOME=$root/target/cuda PATH=$root/target/cuda/bin:$PATH
    else
      echo "cuda.sh: no CUDA toolkit: the build will fail" >&2
    fi
  fi
fi

# The CUDA libraries that PyTorch brought, where the system has none.
libraries=$("$python" - <<'PY'
import glob, os, sys
folders = {os.path.dirname(f) for p in sys.path for f in glob.glob(os.path.join(p, "nvidia", "**", "lib*.so*"), recursive=True)}
print(":".join(sorted(folders)))
PY
)
if [[ -n $libraries ]]; then export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$libraries; fi
exec "$python" tests/bench/python/cards.py "$@"
