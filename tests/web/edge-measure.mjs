// What requests cost in workerd: `node tests/web/edge-measure.mjs [FILE.gguf [MEMORY_MB]]`. Without a file, the built-in model.
import { openAsBlob } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Miniflare } from 'miniflare';
import { bundle } from './edge-bundle.mjs';

const [file, memoryMB = '96'] = process.argv.slice(2);
const SHAPES = [[5, 64], [20, 128]]; // documents, tokens of each
const REPEATS = 7;
const MB = 1e6;

const bindings = file ? { MODE: 'stream', MODEL_KEY: basename(file), MEMORY_MB: memoryMB } : { MODE: 'mini' };
const miniflare = new Miniflare({
  modules: await bundle({ entry: fileURLToPath(new URL('edge-measure-worker.js', import.meta.url)), minify: true }),
  compatibilityDate: '2026-03-01',
  compatibilityFlags: ['enable_request_signal'],
  bindings: { PUBLIC: 'true', CACHE: 'off', MAX_TOKENS: '1000000', ...bindings },
  r2Buckets: ['MODELS'],
});
const url = String(await miniflare.ready);
const json = async (path, body) => (await fetch(url + path, body && { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } })).json();
if (file) await fetch(`${url}upload`, { method: 'PUT', body: await openAsBlob(file) });

const query = 'Which rivers of the north are long?';
const WORDS = ['river', 'train', 'north', 'long', 'city', 'water', 'old', 'bridge', 'market', 'and'];
const text = (n, words) => Array.from({ length: words }, (_, at) => WORDS[(n * 7 + at * at) % WORDS.length]).join(' ');
const lengthOf = async (document) => {
  const { ids, shared_prefix: shared } = await json('tokenize', { query, documents: [document, ''] });
  return ids[0].length - shared - (ids[1].length - shared);
};

// A document of so many tokens: words are added until it has them.
async function documentOf(n, tokens) {
  let words = Math.ceil(tokens / 2);
  while ((await lengthOf(text(n, words + 1))) <= tokens) words += 1;
  return text(n, words);
}

// The runtime's process: its processor time in ms and its memory, from Linux's /proc.
async function processOf(name) {
  for (const pid of (await readdir('/proc')).filter((one) => /^\d+$/.test(one))) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    const [, comm, rest] = /\((.*)\) (.*)/s.exec(stat) ?? [];
    if (comm === name && Number(rest.split(' ')[1]) === process.pid) return pid;
  }
  throw new Error(`There is no process ${name} below this one.`);
}
const pid = await processOf('workerd');
async function processor() {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10; // ticks of 10 ms
}
const resident = async () => Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8'))[1]) * 1024;

const time = async (act) => {
  const since = performance.now();
  await act();
  return performance.now() - since;
};

try {
  await json('measured');
  const idle = await resident(); // after the upload
  const first = await time(() => json('v1/rerank', { query, documents: ['x'] }));
  const begin = await json('measured');
  console.log(`${file ? basename(file) : 'mini'}, ${cpus()[0].model}: first answer after ${first.toFixed()} ms, ${(begin.memory / MB).toFixed(1)} MB of memory, ${(begin.bytes / MB).toFixed(1)} MB read in ${begin.reads} reads`);
  console.log('| documents | tokens each | ms a request, median | least to most | ms of processor | MB of the engine | MB of the process more than idle | MB read | reads |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|');
  for (const [count, tokens] of SHAPES) {
    const documents = [];
    for (let n = 0; n < count; n++) documents.push(await documentOf(n, tokens));
    await json('v1/rerank', { query, documents }); // the engine's code is compiled while it runs
    const before = await json('measured');
    const busy = await processor();
    const took = [];
    for (let n = 0; n < REPEATS; n++) took.push(await time(() => json('v1/rerank', { query, documents })));
    const each = (from, to) => (to - from) / REPEATS;
    const used = each(busy, await processor());
    const grown = (await resident()) - idle;
    const after = await json('measured');
    took.sort((a, b) => a - b);
    console.log(`| ${count} | ${tokens} | ${took[REPEATS >> 1].toFixed()} | ${took[0].toFixed()} to ${took.at(-1).toFixed()} | ${used.toFixed()} | ${(after.memory / MB).toFixed(1)} | ${(grown / MB).toFixed()} | ${(each(before.bytes, after.bytes) / MB).toFixed(1)} | ${each(before.reads, after.reads)} |`);
  }
} finally {
  await miniflare.dispose();
}
