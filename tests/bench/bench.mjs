// Runs edge-reranker and other engines on one machine, with the same random weights and texts, in turns: natively and in one browser.
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { inBrowser, serve } from './browser.mjs';
import { inProcess } from './native.mjs';
import { options } from './options.mjs';
import { here, MODELS, MODULES } from './paths.mjs';
import { configOf, packages, prepare, versions, workloads } from './prepare.mjs';
import { figures, ratios } from './report.mjs';
import { jobOf } from './runners.mjs';
import { markdown } from './tables.mjs';
import { operationsPerPair } from './work.mjs';

const say = (text) => console.error(`${new Date().toISOString().slice(11, 19)} ${text}`);
const minutesSince = (start) => (performance.now() - start) / 60_000;

// 'hardware', 'software' or null. On Linux a GPU shows itself as a device file; asking Chromium for one that is not there takes it minutes.
function adapterFor(wanted) {
  if (wanted === 'none') return null;
  if (wanted !== 'auto') return wanted;
  const files = (folder) => (existsSync(folder) ? readdirSync(folder) : []);
  const there = files('/dev/dri').some((name) => name.startsWith('renderD')) || files('/dev').some((name) => /^nvidia\d/.test(name));
  return process.platform !== 'linux' || there ? 'hardware' : null;
}

// What the browser reaches at most (natively the command line measures that): { cpu, gpu, adapter, chromium }.
async function measureCeilings(browser, uses, before) {
  const probe = (name) => inBrowser({ ...browser, module: `/bench/${name}-ceiling.js` });
  const better = (a, b) => (a ? Object.fromEntries(Object.keys(b).map((kind) => [kind, b[kind] && Math.max(a[kind] ?? 0, b[kind])])) : b);
  const found = { cpu: null, gpu: null, adapter: null, chromium: null };
  if (uses('wasm')) {
    const { result, chromium } = await probe('cpu');
    Object.assign(found, { chromium, cpu: better(before?.cpu, result) });
  }
  if (uses('webgpu')) {
    const { result, chromium } = await probe('gpu');
    Object.assign(found, { chromium, adapter: result?.adapter ?? null, gpu: result && better(before?.gpu, result.gigaOps) });
  }
  return found;
}

// One model and one workload: what every runner is to do, or why it cannot.
function groupOf({ model, name, workload, runners, settings }) {
  const about = `${workload.documents.length} documents, ${workload.promptTokens[0]} prompt tokens a pair, ${workload.sharedTokens} of them shared`;
  const operations = operationsPerPair(configOf(model), workload);
  const entries = runners.map((runner) => {
    const entry = { about: { ...runner, model, workload: name, about }, workload, operations, repeats: [], error: null };
    try {
      const { path, dtype, oracles } = prepare(runner, model, name);
      const place = { path, file: `/models/${path.slice(MODELS.length + 1)}`, binary: settings.binary };
      const job = { engine: runner.engine, device: runner.device, dtype, workload, ...place, ...jobOf(runner, settings) };
      return { ...entry, oracles, job };
    } catch (error) {
      say(`${runner.runner}: ${error.message}`);
      return { ...entry, error: error.message.split('\n').slice(-3).join(' | ') };
    }
  });
  return { title: `${model} ${name}`, entries, minutes: 0 };
}

async function repeat({ title, entries }, turn, browser) {
  for (const entry of entries.filter(({ error }) => !error)) {
    const { runner, device } = entry.about;
    try {
      const native = device === 'cpu';
      const { result, ...watched } = native
        ? await inProcess({ ...entry.job, minutes: browser.minutes })
        : await inBrowser({ ...browser, module: '/bench/measure.js', job: entry.job });
      if (result.details.device !== device) throw new Error(`it went to ${result.details.device} by itself`);
      entry.repeats.push({ ...result, ...watched });
      say(`${title} ${turn} ${runner}: ${((1000 * result.passSeconds) / result.scores.length).toFixed(1)} ms a pair`);
    } catch (error) {
      entry.error = error.message;
      say(`${title} ${turn} ${runner}: ${error.message}`);
    }
  }
}

const recordOf = ({ about, error, ...measured }, ceilings) => ({ ...about, ...(error ? { error } : figures({ ...measured, about, ceilings })) });

async function main() {
  const settings = options();
  if (!settings) return;
  packages();
  const texts = workloads(settings.workloads, settings.documents);
  const adapter = adapterFor(settings.adapter);
  const uses = (device) => settings.runners.some((runner) => runner.device === device) && (device !== 'webgpu' || adapter !== null);
  const site = await serve({ '/bench/': here('pages'), '/pkg/': settings.package, '/modules/': MODULES, '/models/': MODELS });
  try {
    const browser = { url: site.url, adapter, minutes: settings.minutes };
    say('measuring ceilings');
    let ceilings = await measureCeilings(browser, uses);
    const can = ({ device, weights }) => device !== 'webgpu' || (ceilings.gpu && (ceilings.adapter.f16 || !weights.includes('f16')));
    const runners = settings.runners.filter(can);
    if (!runners.length) throw new Error('there is no WebGPU adapter here that these runners can use: --adapter software takes one in software');
    const groups = settings.models.flatMap((model) =>
      settings.workloads.map((name) => groupOf({ model, name, workload: texts[name], runners, settings })),
    );
    const start = performance.now();
    for (let turn = 1; turn <= settings.repeats; turn++) {
      for (const group of groups) {
        if (turn > 1 && minutesSince(start) + group.minutes > settings.budget) continue;
        const begun = performance.now();
        await repeat(group, `${turn}/${settings.repeats}`, browser);
        group.minutes = minutesSince(begun);
      }
    }
    ceilings = await measureCeilings(browser, uses, ceilings);
    const records = groups.flatMap(({ entries }) => entries.map((entry) => recordOf(entry, ceilings)));
    const machine = `${cpus()[0].model}, ${cpus().length} cores`;
    const report = { date: new Date().toISOString(), machine, versions: versions(), settings, ceilings, records, ratios: ratios(records) };
    writeFileSync(`${settings.out}.json`, `${JSON.stringify(report, null, 1)}\n`);
    writeFileSync(`${settings.out}.md`, markdown(report));
    console.log(markdown(report));
    say(`written: ${settings.out}.json and .md`);
  } finally {
    site.close();
  }
}

await main().catch((error) => {
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
});
