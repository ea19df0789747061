// What the tests on WebGPU in Chromium share: a browser whose adapter is one in software, a page with the package, helpers in it.
import assert from 'node:assert/strict';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launchWithGpu } from './package-chromium.mjs';
import { serve } from './serve.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

// A worker's script that destroys its device when it is told to.
const LOSING = `
import './edge-reranker/src/worker.js';
const { requestDevice } = GPUAdapter.prototype;
let device;
GPUAdapter.prototype.requestDevice = async function (...given) {
  return (device = await requestDevice.apply(this, given));
};
self.addEventListener('message', ({ data }) => data === 'lose' && device.destroy());
`;

// What the tests say in the page.
const COMMON = `
import { capabilities, Reranker } from './edge-reranker/src/index.js';
const QUERY = 'What is the capital of China?';
const FACTS = ['The capital of China is Beijing.', 'Bananas are yellow and grow in warm countries.', 'Seoul is the capital of Korea.', '', '中国的首都是北京。', 'Trains run on rails.'];
const many = (n) => Array.from({ length: n }, (_, at) => FACTS[at % FACTS.length] + ' ' + 'Number ' + at + '. '.repeat(1 + (at % 5)));
const told = (promise) => promise.then(() => 'fine', (error) => error.code);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const logits = async (reranker, documents, options) => {
  const { results, ...rest } = await reranker.rerank(QUERY, documents, options);
  const out = [];
  for (const { index, logit } of results) out[index] = logit;
  return { logits: out, ...rest };
};
const spied = () => { // the devices that are made from now on
  const devices = [];
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = async function (...given) {
    const device = await requestDevice.apply(this, given);
    devices.push(device);
    return device;
  };
  return devices;
};
const onGpu = (options) => Reranker.load({ model: './tiny-f32.gguf', device: 'webgpu', ...options });
const long = 'The sea is salty because rivers carry minerals into it. '.repeat(30);
Object.assign(globalThis, { capabilities, Reranker, QUERY, many, told, pause, logits, spied, onGpu, long });
`;

export let browser;
let context; // one for all, so that the adapter is measured once
let root;
let server;

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'edge-reranker-'));
  await cp(here('../../pkg/src'), join(root, 'edge-reranker/src'), { recursive: true });
  await cp(here('../../pkg/dist'), join(root, 'edge-reranker/dist'), { recursive: true });
  await cp(here('../golden/tiny-f32.gguf'), join(root, 'tiny-f32.gguf'));
  await writeFile(join(root, 'losing.js'), LOSING);
  await writeFile(join(root, 'common.js'), COMMON);
  await writeFile(join(root, 'index.html'), '<!doctype html><title>A page</title><link rel="icon" href="data:,"><script type="module" src="./common.js"></script>');
  server = await serve({ root });
  browser = await launchWithGpu();
  context = await browser.newContext();
});

after(async () => {
  await browser?.close();
  await server?.close();
  await rm(root, { recursive: true, force: true });
});

const CRASHED = 'A valid external Instance reference no longer exists.'; // Chromium's remark

// A test in a page of its own, which must not report errors.
export function inPage(name, visit, { fresh = false } = {}) {
  test(name, { timeout: 200_000 }, async (t) => {
    const page = await (fresh ? browser : context).newPage();
    t.after(() => page.close());
    const faults = [];
    page.on('pageerror', (error) => faults.push(error.message));
    page.on('console', (message) => ['error', 'warning'].includes(message.type()) && message.text() !== CRASHED && faults.push(message.text()));
    await page.goto(server.url);
    await page.waitForFunction(() => globalThis.onGpu);
    await visit(page, t);
    assert.deepEqual(faults, []);
  });
}

// Logits of a quantised model. `sides`: how many of the two lists were computed with inputs of 8 bits in a way of their own, each of which may be off.
export function compare(got, wanted, t, name, sides = 1) {
  const differences = wanted.map((logit, at) => Math.abs(logit - got[at]));
  const max = Math.max(...differences);
  const mean = differences.reduce((sum, value) => sum + value, 0) / differences.length;
  t.diagnostic(`${name}: logits differ by ${mean.toExponential(1)}, at most ${max.toExponential(1)}`);
  assert.ok(max <= 0.3 * sides && mean <= 0.05 * sides, `${name}: worst ${max}, mean ${mean}`);
  const score = (logit) => 1 / (1 + Math.exp(-logit));
  for (const [at, logit] of wanted.entries()) assert.ok(Math.abs(score(logit) - score(got[at])) <= 0.05, `${name}: document ${at}`);
}
