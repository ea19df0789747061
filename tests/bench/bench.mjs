// Runs edge-reranker and other engines in the same browser, on the same adapter, with the same random weights and texts, in turns.
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { cpus, availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { inBrowser, serve } from './browser.mjs';
import { configOf, modelFor, MODELS, MODULES, oracle, OUT, packages, ROOT, workloads } from './prepare.mjs';
import { compare, figures, markdown } from './report.mjs';
import { operationsPerPair } from './work.mjs';

const USAGE = `node tests/bench/bench.mjs [options]
  --models 2x128,4x1024       layers x width; 28x1024 has the shape of Qwen3-Reranker-0.6B
  --workloads W1              W1: 20 documents of 128 tokens, W2: 50 of 64, W3: 8 of 512
  --runners all               all, or a list of ENGINE/DEVICE/WEIGHTS or beginnings of them (edge-reranker/webgpu,transformers)
  --documents N               the first N of a workload alone
  --repeats 3                 every repeat lets each runner score once, each in a fresh browser
  --seconds 60                after so long, an engine that takes a document at a time scores no further ones
  --adapter auto              auto, hardware or software (SwiftShader)
  --threads N                 of the engines that have threads; all cores by default
  --batch 1                   documents that transformers.js takes at once (edge-reranker takes the list, wllama one by one)
  --minutes 15                limit of one measurement
  --package pkg               the edge-reranker package to measure, with its dist
  --out target/bench/results  where the figures go: .json and .md`;

const RUNNERS = [
  'edge-reranker/webgpu/q4_0',
  'edge-reranker/webgpu/q8_0',
  'edge-reranker/wasm/q4_0',
  'edge-reranker/wasm/q8_0',
  'transformers/webgpu/q4',
  'transformers/webgpu/q4-last',
  'transformers/webgpu/q4f16',
  'transformers/webgpu/q4f16-last',
  'transformers/wasm/q4',
  'transformers/wasm/q4-last',
  'wllama/webgpu/q4_0',
  'wllama/webgpu/q8_0',
  'wllama/wasm/q4_0',
  'wllama/wasm/q8_0',
].map((name) => {
  const [engine, device, file] = name.split('/');
  return { runner: name, engine, device, file };
});

function options() {
  const text = (fallback) => ({ type: 'string', default: fallback });
  const { values } = parseArgs({
    options: {
      models: text('2x128,4x1024'),
      workloads: text('W1'),
      runners: text('all'),
      documents: text('Infinity'),
      repeats: text('3'),
      seconds: text('60'),
      adapter: text('auto'),
      threads: text(String(availableParallelism())),
      batch: text('1'),
      minutes: text('15'),
      package: text(join(ROOT, 'pkg')),
      out: text(join(OUT, 'results')),
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return null;
  const list = (value) => value.split(',').map((one) => one.trim());
  const positive = (name) => {
    const value = Number(values[name]);
    if (!(value > 0)) throw new Error(`--${name} must be a number above 0, not '${values[name]}'`);
    return value;
  };
  if (!['auto', 'hardware', 'software'].includes(values.adapter)) throw new Error(`--adapter must be auto, hardware or software, not '${values.adapter}'`);
  const wanted = list(values.runners);
  const runners = RUNNERS.filter(({ runner }) => wanted.some((one) => one === 'all' || runner.startsWith(one)));
  if (!runners.length) throw new Error(`no runner begins with '${values.runners}'`);
  const numbers = Object.fromEntries(['documents', 'repeats', 'seconds', 'threads', 'batch', 'minutes'].map((name) => [name, positive(name)]));
  return { ...numbers, adapter: values.adapter, package: resolve(values.package), out: values.out, runners, models: list(values.models), workloads: list(values.workloads) };
}

// On Linux a GPU shows itself as a device file; asking Chromium for one that is not there takes it minutes.
function hasGpu() {
  if (process.platform !== 'linux') return true;
  const files = (folder) => (existsSync(folder) ? readdirSync(folder) : []);
  return files('/dev/dri').some((name) => name.startsWith('renderD')) || files('/dev').some((name) => /^nvidia\d/.test(name));
}

const say = (text) => console.error(`${new Date().toISOString().slice(11, 19)} ${text}`);

async function main() {
  const { runners: chosen, models, ...settings } = options() ?? {};
  if (!chosen) return console.log(USAGE);
  packages();
  const texts = workloads();
  for (const name of settings.workloads) {
    if (!texts[name]) throw new Error(`there is no workload '${name}'`);
    for (const list of ['documents', 'promptTokens']) texts[name][list] = texts[name][list].slice(0, settings.documents);
  }
  const software = settings.adapter === 'software' || (settings.adapter === 'auto' && !hasGpu());
  const site = await serve({ '/bench/': fileURLToPath(new URL('pages', import.meta.url)), '/pkg/': settings.package, '/modules/': MODULES, '/models/': MODELS });
  try {
    const browser = { url: site.url, software, minutes: settings.minutes };
    say(`measuring the ceiling of the ${software ? 'software' : 'hardware'} adapter`);
    const { result: probe, chromium } = await inBrowser({ ...browser, module: '/bench/ceiling.js' });
    const runners = chosen.filter(({ device, file }) => (probe || device !== 'webgpu') && (probe?.adapter.f16 || !file.includes('f16')));
    const measured = [];
    for (const model of models) for (const workload of settings.workloads) {
      measured.push(...(await measure({ browser, model, name: workload, workload: texts[workload], runners, settings })));
    }
    if (probe) {
      const { result: again } = await inBrowser({ ...browser, module: '/bench/ceiling.js' });
      for (const kind in probe.gigaOps) probe.gigaOps[kind] &&= Math.max(probe.gigaOps[kind], again.gigaOps[kind]);
    }
    const records = measured.map((one) => recordOf(one, probe?.gigaOps.f32));
    compare(records);
    const report = {
      date: new Date().toISOString(),
      machine: `${cpus()[0].model}, ${cpus().length} cores`,
      chromium: `Chromium ${chromium}`,
      adapter: probe?.adapter ?? null,
      ceiling: probe?.gigaOps ?? null,
      repeats: settings.repeats,
      settings,
      records,
    };
    writeFileSync(`${settings.out}.json`, `${JSON.stringify(report, null, 1)}\n`);
    writeFileSync(`${settings.out}.md`, markdown(report));
    console.log(markdown(report));
    say(`written: ${settings.out}.json and .md`);
  } finally {
    site.close();
  }
}

// One model and one workload: for each runner its repeats, or why it did not run.
async function measure({ browser, model, name, workload, runners, settings }) {
  const limits = { threads: settings.threads, seconds: settings.seconds, batch: settings.batch };
  const about = `${workload.documents.length} documents, ${workload.promptTokens[0]} prompt tokens a pair, ${workload.sharedTokens} of them shared`;
  const operations = operationsPerPair(configOf(model), workload);
  const entries = runners.map((runner) => {
    const { weights, path, ...more } = modelFor(runner, model);
    const oracles = { checkpoint: oracle(model, name), sameWeights: oracle(model, name, weights) };
    const job = { ...runner, ...more, file: `/models/${path.slice(MODELS.length + 1)}`, workload, ...limits };
    return { about: { ...runner, model, workload: name, about }, job, workload, oracles, operations, repeats: [], error: null };
  });
  for (let repeat = 1; repeat <= settings.repeats; repeat++) {
    for (const entry of entries.filter(({ error }) => !error)) {
      const { runner, device } = entry.about;
      try {
        const { result, ...watched } = await inBrowser({ ...browser, module: '/bench/measure.js', job: entry.job });
        if (result.details.device !== device) throw new Error(`it went to ${result.details.device} by itself`);
        entry.repeats.push({ ...result, ...watched });
        say(`${model} ${name} ${repeat}/${settings.repeats} ${runner}: ${((1000 * result.passSeconds) / result.scores.length).toFixed(1)} ms a pair`);
      } catch (error) {
        entry.error = error.message;
        say(`${model} ${name} ${runner}: ${error.message}`);
      }
    }
  }
  return entries;
}

const recordOf = ({ about, error, ...measured }, ceiling) =>
  error ? { ...about, error } : { ...about, ...figures({ ...measured, ceiling: about.device === 'webgpu' ? ceiling : null }) };

await main().catch((error) => {
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
});
