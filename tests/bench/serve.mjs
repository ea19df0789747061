// Load on the server, by wrk: requests a second and how long they take, at 1 to 64 clients. `node tests/bench/serve.mjs --help`.
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { ROOT } from './paths.mjs';
import { start } from './processes.mjs';

const USAGE = `node tests/bench/serve.mjs [options]
  --binary target/release/edge-reranker
  --clients 1,4,16,64      connections, each with one request at a time
  --seconds 15             of each row, after one second that does not count
  --documents 10           of a request
  --words 60               of a document
  --same                   one query in all requests: what was computed of it is known
  --beside 1               so many more connections send requests of 1,000 documents all the time, from the same address
  --repeat 3               the row with the median of requests a second is shown
  --wrk 'wrk'              how to run wrk, such as 'taskset -c 1 wrk'
  -- OPTIONS               of the server, such as --model 0.6b-q8 --threads 1`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    binary: { type: 'string', default: join(ROOT, 'target/release/edge-reranker') },
    clients: { type: 'string', default: '1,4,16,64' },
    seconds: { type: 'string', default: '15' },
    documents: { type: 'string', default: '10' },
    words: { type: 'string', default: '60' },
    same: { type: 'boolean', default: false },
    beside: { type: 'string', default: '0' },
    repeat: { type: 'string', default: '3' },
    wrk: { type: 'string', default: 'wrk' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(USAGE);
  process.exit();
}

const run = promisify(execFile);
const script = fileURLToPath(new URL('serve.lua', import.meta.url));

async function serve() {
  let tell;
  const told = new Promise((resolve) => (tell = resolve));
  const server = start(values.binary, ['serve', '--port', '0', '--quiet', '--cache', '0', '--max-queue', '256', ...positionals], { onLine: tell });
  const url = await Promise.race([told, server.ended.then((status) => Promise.reject(new Error(`the server ended with ${status}: ${server.said()}`)))]);
  while ((await fetch(`${url}/health`)).status !== 200) await new Promise((done) => setTimeout(done, 50));
  return { url, ...server };
}

async function load(url, clients, seconds) {
  const [wrk, ...before] = values.wrk.split(' ');
  const options = ['-t', '1', '-c', String(clients), '-d', `${seconds}s`, '--timeout', '120s', '-s', script, url, '--', values.documents, values.words];
  const { stdout } = await run(wrk, [...before, ...options, ...(values.same ? ['same'] : [])]);
  return JSON.parse(stdout.trim().split('\n').at(-1));
}

// Milliseconds of processor that a process has used, where the system tells: other programs do not slow these down.
const TICK_MS = 10;
async function used({ pid }) {
  const fields = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  const [user, system] = fields?.slice(fields.lastIndexOf(')')).split(' ').slice(12, 14).map(Number) ?? [NaN, NaN];
  return (user + system) * TICK_MS;
}

const metric = (text, name) => Number(new RegExp(`^edge_reranker_${name} (.*)$`, 'm').exec(text)[1]);
const metrics = async (url) => (await fetch(`${url}/metrics`)).text();

// Sends requests of 1,000 documents until told to stop, and comes again when it is told to; resolves to the statuses.
async function large(url, signal, client) {
  const documents = Array.from({ length: 1000 }, (_, n) => `${'a river, a train and the capital '.repeat(Number(values.words) / 6)}${n} ${client}`);
  const statuses = [];
  while (!signal.aborted) {
    const body = JSON.stringify({ query: `Which one is number ${statuses.length} of ${client}?`, documents });
    const done = fetch(`${url}/v1/rerank`, { method: 'POST', headers: { 'content-type': 'application/json' }, body, signal });
    const response = await done.catch(() => null);
    if (!response) continue; // told to stop, or the connection broke
    await response.arrayBuffer().catch(() => null);
    statuses.push(response.status);
    const again = 1000 * Number(response.headers.get('retry-after') ?? 0);
    await sleep(again, null, { signal }).catch(() => null);
  }
  return statuses;
}

async function row(clients) {
  const { url, child, ended } = await serve();
  const stop = new AbortController();
  const beside = Array.from({ length: Number(values.beside) }, (_, n) => large(url, stop.signal, n));
  await load(url, clients, 1);
  const [before, start] = [await metrics(url), await used(child)];
  const result = await load(url, clients, values.seconds);
  const [after, end] = [await metrics(url), await used(child)];
  const more = (name) => metric(after, name) - metric(before, name);
  stop.abort();
  const statuses = (await Promise.all(beside)).flat();
  const ofLarge = [200, 429, 504].map((status) => statuses.filter((one) => one === status).length).join(' / ');
  const batches = more('batch_duration_seconds_count');
  child.kill('SIGTERM');
  if ((await ended) !== 0) throw new Error('the server did not end well');
  return { ...result, clients, ofLarge, perSecond: result.requests / result.seconds, processor: (end - start) / (more('computed_tokens_total') / 1000), perBatch: more('batch_requests_sum') / batches, tokens: more('computed_tokens_total') / result.seconds };
}

const rows = [];
for (const clients of values.clients.split(',').map(Number)) {
  const tries = [];
  for (let n = 0; n < Number(values.repeat); n++) tries.push(await row(clients));
  tries.sort((a, b) => a.perSecond - b.perSecond);
  rows.push(tries[tries.length >> 1]);
}

const { documents, words, repeat, seconds } = values;
const beside = Number(values.beside);
console.log(`${cpus()[0].model}, Node ${process.version}; ${documents} documents of ${words} words, ${values.same ? 'one query' : 'each query new'}${beside ? `; beside ${beside} connections with 1,000 documents` : ''}; median of ${repeat} runs of ${seconds} s\n`);
console.log('| clients | requests/s | p50 ms | p95 ms | p99 ms | processor ms for 1,000 tokens | requests in a batch | document tokens/s | refused | broken | large ones: 200 / 429 / 504 |');
console.log('|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|');
for (const { clients, perSecond, p50, p95, p99, processor, perBatch, tokens, refused, broken, ofLarge } of rows) {
  console.log(`| ${clients} | ${perSecond.toFixed(1)} | ${[p50, p95, p99].map((ms) => ms.toFixed(0)).join(' | ')} | ${processor.toFixed(0)} | ${perBatch.toFixed(1)} | ${Math.round(tokens)} | ${refused} | ${broken} | ${beside ? ofLarge : '-'} |`);
}
