// The GPU kernels' own case list, which the Rust tests write, on the WebGPU of Chromium, and where they are installed of Firefox
// and of Deno (or named in the variables FIREFOX and DENO). EDGE_RERANKER_CASES may name a list that is written already.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { json } from 'node:stream/consumers';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { deno, firefox, startDeno, startFirefox } from './kernel-runners.mjs';
import { launchWithGpu } from './package-chromium.mjs';

const LIMIT_MS = 600_000; // shaders compile for long on a CPU
const MOST = 0.6; // of all cases must run: those that need no feature

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const PAGE = '<!doctype html><title>Kernels</title><link rel="icon" href="data:,"><script type="module" src="./kernel-page.js"></script>';

let count;
let files;

before(async () => {
  const cases = process.env.EDGE_RERANKER_CASES ?? here('../../target/gpu-cases.json');
  if (!process.env.EDGE_RERANKER_CASES) await write(cases);
  const text = await readFile(cases);
  count = JSON.parse(text).cases.length;
  files = {
    '/': ['text/html', PAGE],
    '/kernel-page.js': ['text/javascript', await readFile(here('kernel-page.js'))],
    '/kernel-cases.js': ['text/javascript', await readFile(here('kernel-cases.js'))],
    '/cases.json': ['application/json', text],
  };
});

async function write(path) {
  const cargo = spawn('cargo', ['test', '--release', '--lib', 'gpu_cases_are_written'], {
    cwd: here('../..'),
    env: { ...process.env, EDGE_RERANKER_CASES: path },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const code = await new Promise((done, failed) => cargo.on('error', failed).on('close', done));
  assert.equal(code, 0, 'the Rust test that writes the cases');
}

// Serves the page until it posts its result, or the browser ends.
async function visit(open) {
  let posted;
  let kernel = 'before the first kernel';
  const result = new Promise((done) => (posted = done));
  const server = createServer(async (request, response) => {
    const [type, body] = files[request.url] ?? [];
    response.writeHead(body || request.method === 'POST' ? 200 : 404, { 'Content-Type': type ?? 'text/plain' }).end(body);
    if (request.method !== 'POST') return;
    const value = await json(request);
    if (request.url === '/result') posted(value);
    else kernel = value;
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const browser = await open(`http://127.0.0.1:${server.address().port}/`);
  const late = new Promise((done) => setTimeout(done, LIMIT_MS).unref()).then(() => `no result in ${LIMIT_MS / 1000} s`);
  try {
    return await Promise.race([result, Promise.race([browser.ended, late]).then((error) => ({ error: `${error} (${kernel})` }))]);
  } finally {
    await browser.stop();
    server.closeAllConnections();
    server.close();
  }
}

function check(t, { error, adapter, features, ran, skipped, failures }) {
  assert.equal(error, undefined);
  t.diagnostic(`adapter ${JSON.stringify(adapter)}, features ${features.join(' ')}`);
  t.diagnostic(`${ran} of ${count} cases ran`);
  const reasons = new Map();
  for (const { why } of skipped) reasons.set(why, (reasons.get(why) ?? 0) + 1);
  for (const [why, times] of reasons) t.diagnostic(`${times} skipped: ${why}`);
  assert.deepEqual(failures, []);
  assert.ok(ran >= MOST * count, `only ${ran} of ${count} cases ran`);
}

async function openChromium(url) {
  const browser = await launchWithGpu();
  const ended = new Promise((done) => browser.on('disconnected', () => done('Chromium ended')));
  const page = await browser.newPage();
  await page.goto(url);
  return { ended, stop: () => browser.close() };
}

const browsers = [
  { name: 'Chromium', open: openChromium, there: true },
  { name: 'Firefox', open: startFirefox, there: firefox },
  { name: 'Deno', open: startDeno, there: deno },
];
for (const { name, open, there } of browsers) {
  const skip = !there && `${name} is not installed here`;
  test(`kernels give what their twins give: ${name}`, { timeout: 2 * LIMIT_MS, skip }, async (t) => check(t, await visit(open)));
}
