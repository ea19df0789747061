// What the command line says.
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { OUT, ROOT } from './paths.mjs';
import { choose } from './runners.mjs';

const USAGE = `./build.sh bench [options]
  --models 28x1024            layers x width, of 2x128, 4x1024 and 28x1024 (the shape of Qwen3-Reranker-0.6B)
  --workloads W1,W2,W3        W1: 20 documents of 128 tokens, W2: 50 of 64, W3: 8 of 512
  --runners all               all, or a list of ENGINE/DEVICE/WEIGHTS or their first parts (edge-reranker/wasm,transformers)
  --documents N               the first N of a workload alone
  --seconds 15                after so long, an engine that takes a document at a time scores no further ones
  --repeats 3                 at most; every repeat lets each runner score once, each in a fresh browser or process
  --budget 45                 minutes; after the first repeat, none begins that would end later
  --threads N                 of the engines that have threads; all cores by default
  --adapter auto              auto: WebGPU where there is hardware for it; hardware; software (SwiftShader); none
  --batch 1                   documents that transformers.js takes at once (edge-reranker takes the list, the others one by one)
  --minutes 15                limit of one measurement
  --package pkg               the edge-reranker package to measure, with its dist
  --binary target/release/edge-reranker
  --out target/bench/results  where the figures go: .json and .md`;

const TEXTS = {
  models: '28x1024',
  workloads: 'W1,W2,W3',
  runners: 'all',
  adapter: 'auto',
  package: join(ROOT, 'pkg'),
  binary: join(ROOT, 'target/release/edge-reranker'),
  out: join(OUT, 'results'),
};
const NUMBERS = { documents: Infinity, seconds: 15, repeats: 3, budget: 45, threads: availableParallelism(), batch: 1, minutes: 15 };
const ADAPTERS = ['auto', 'hardware', 'software', 'none'];

const list = (value) => value.split(',').map((one) => one.trim());

/** The settings, or null after the usage was printed. */
export function options() {
  const text = ([name, fallback]) => [name, { type: 'string', default: String(fallback) }];
  const described = Object.fromEntries(Object.entries({ ...TEXTS, ...NUMBERS }).map(text));
  const { values } = parseArgs({ options: { ...described, help: { type: 'boolean', short: 'h' } } });
  if (values.help) return console.log(USAGE);
  for (const name of Object.keys(NUMBERS)) {
    const value = Number(values[name]);
    if (!(value > 0)) throw new Error(`--${name} must be a number above 0, not '${values[name]}'`);
    values[name] = value;
  }
  if (!ADAPTERS.includes(values.adapter)) throw new Error(`--adapter must be one of ${ADAPTERS.join(', ')}, not '${values.adapter}'`);
  return {
    ...values,
    models: list(values.models),
    workloads: list(values.workloads),
    runners: choose(list(values.runners)),
    package: resolve(values.package),
    binary: resolve(values.binary),
  };
}
