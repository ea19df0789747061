// The package in a page: in its worker, in the page's own thread, under policies that forbid one or the other.
import assert from 'node:assert/strict';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { sampleOf } from './node-common.mjs';
import { launch } from './package-chromium.mjs';
import { serve } from './serve.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; worker-src 'self'; base-uri 'none'";
const POLICIES = {
  strict: POLICY,
  noWorker: POLICY.replace("worker-src 'self'", "worker-src 'none'"),
  noWasm: POLICY.replace("'wasm-unsafe-eval'", ''),
};
const pages = {};
let browser;
let root;
const servers = [];

// A worker's script whose thread traps, as the engine's code would, when it is told to.
const TRAPPING = `
import './edge-reranker/src/worker.js';
import { trap } from './trap.js';
self.addEventListener('message', ({ data }) => data === 'trap' && trap());
`;
const TRAP = `
const module = new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 120, 0, 0, 10, 5, 1, 3, 0, 0, 11]));
export const trap = () => queueMicrotask(new WebAssembly.Instance(module).exports.x);
`;

// Runs in the page: a trap while a call runs, in the page or in a worker that was given; then another load in the same thread.
async function trapped(inWorker) {
  const { Reranker } = await import('./edge-reranker/src/index.js');
  const { trap } = await import('./trap.js');
  const worker = inWorker && new Worker(new URL('./trapping.js', location.href), { type: 'module' });
  const load = () => Reranker.load({ model: './tiny-f32.gguf', worker });
  const codeOf = (promise) => promise.then(() => 'fine', (error) => `${error.code}: ${error.message}`);
  const [first, idle] = await Promise.all([load(), load()]);
  const call = codeOf(first.rerank('rivers', Array(5000).fill('Rivers are long.')));
  const waiting = codeOf(first.rerank('rivers', ['one']));
  await new Promise((done) => setTimeout(done, 50));
  if (worker) worker.postMessage('trap');
  else trap();
  const told = { call: await call, waiting: await waiting, lost: (await first.lost).reason, idle: (await idle.lost).reason, again: await codeOf(load()) };
  await first.unload();
  await idle.unload();
  worker?.terminate?.();
  return { ...told, fresh: await codeOf(Reranker.load({ model: './tiny-f32.gguf' })) };
}

// Runs in the page: loads, ranks, unloads, and tells how it went.
async function visit({ options = {}, source, worker, wasm }) {
  const { Reranker, RerankError } = await import('./edge-reranker/src/index.js');
  const url = './tiny-f32.gguf';
  const bytes = async () => new Uint8Array(await (await fetch(url)).arrayBuffer());
  const sources = {
    address: () => url,
    url: () => new URL(url, location.href),
    file: async () => new File([await bytes()], 'mine.gguf'),
    bytes,
    reader: async () => {
      const all = await bytes();
      return { size: all.length, read: async (start, end) => all.subarray(start, end) };
    },
  };
  try {
    const statuses = [];
    const reranker = await Reranker.load({
      ...options,
      model: await sources[source ?? 'address'](),
      worker: worker ? new Worker(new URL(worker, location.href), { type: 'module' }) : options.worker,
      wasm: wasm && new URL(wasm, location.href),
      fetch: options.fetch && ((...args) => fetch(...args)),
      onProgress: (event) => statuses.push(event.status),
    });
    let turns = 0;
    const timer = setInterval(() => turns++, 5);
    const started = performance.now();
    const documents = Array.from({ length: 60 }, (_, i) => `Document ${i} is about rivers, trains and bananas.`);
    const result = await reranker.rerank('rivers', documents, { topN: 3, rawScores: true });
    clearInterval(timer);
    const pace = (performance.now() - started) / (turns + 1);
    const streamed = [];
    for await (const { index } of reranker.rerankStream('rivers', documents)) streamed.push(index);
    const { name } = reranker.info();
    await reranker.unload();
    const { reason } = await reranker.lost;
    return { name, results: result.results, warnings: result.warnings, statuses: [...new Set(statuses)], streamed: streamed.length, reason, pace };
  } catch (error) {
    return { typed: error instanceof RerankError, code: error.code, message: error.message };
  }
}

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'edge-reranker-'));
  browser = await launch();
  for (const [name, policy] of Object.entries(POLICIES)) {
    const folder = join(root, name);
    await cp(here('../../pkg/src'), join(folder, 'edge-reranker/src'), { recursive: true });
    await cp(here('../../pkg/dist'), join(folder, 'edge-reranker/dist'), { recursive: true });
    await cp(here('../golden/tiny-f32.gguf'), join(folder, 'tiny-f32.gguf'));
    await writeFile(join(folder, 'trapping.js'), TRAPPING);
    await writeFile(join(folder, 'trap.js'), TRAP);
    await writeFile(join(folder, 'sample.js'), (await sampleOf('On a page')).replace(/<\/?script.*>/g, ''));
    await writeFile(join(folder, 'index.html'), `<!doctype html><meta http-equiv="Content-Security-Policy" content="${policy}"><title>A page</title>`);
    const server = await serve({ root: folder, base: '/under/here/' });
    servers.push(server);
    pages[name] = await browser.newPage();
    await pages[name].goto(server.url);
  }
});

after(async () => {
  await browser?.close();
  for (const server of servers) await server.close();
  await rm(root, { recursive: true, force: true });
});

test('every kind of source ranks alike, in the worker and in the page', async () => {
  let wanted;
  for (const worker of [undefined, true, false]) {
    for (const source of ['address', 'url', 'file', 'bytes', 'reader']) {
      const got = await pages.strict.evaluate(visit, { options: { worker }, source });
      assert.equal(got.code, undefined, got.message);
      wanted ??= got.results;
      assert.deepEqual(got.results, wanted);
      assert.equal(got.streamed, 60);
      assert.equal(got.reason, 'destroyed');
      assert.deepEqual(got.warnings, []);
      assert.deepEqual(got.statuses, ['initiate', 'download', 'progress', 'done', 'ready']);
      assert.ok(got.pace < 150, `the page got a turn only every ${got.pace} ms`);
    }
  }
});

test('an own fetch, an own worker and an address of the module are used', async () => {
  for (const given of [{ options: { fetch: true } }, { worker: './edge-reranker/src/worker.js' }, { wasm: './edge-reranker/dist/edge_reranker_bg.wasm' }]) {
    const got = await pages.strict.evaluate(visit, given);
    assert.equal(got.results?.length, 3, got.message);
  }
});

test('without workers the page computes by itself and says so', async () => {
  const got = await pages.noWorker.evaluate(visit, {});
  assert.equal(got.results?.length, 3, got.message);
  assert.match(got.warnings.join(), /worker does not start.*runs in this thread/);
  const asked = await pages.noWorker.evaluate(visit, { options: { worker: true } });
  assert.equal(asked.code, 'unsupported');
  assert.match(asked.message, /worker-src/);
});

test('a policy without WebAssembly is named', async () => {
  for (const worker of [true, false]) {
    const got = await pages.noWasm.evaluate(visit, { options: { worker } });
    assert.ok(got.typed);
    assert.equal(got.code, 'unsupported');
    assert.match(got.message, /wasm-unsafe-eval/);
  }
});

test('without a GPU auto computes on the CPU and says why, and webgpu fails', async () => {
  const got = await pages.strict.evaluate(async () => {
    const { capabilities, Reranker } = await import('./edge-reranker/src/index.js');
    const load = (options) => Reranker.load({ model: './tiny-f32.gguf', ...options });
    const out = { able: await capabilities() };
    for (const worker of [true, false]) {
      const reranker = await load({ worker });
      const { device, deviceReason, warnings } = reranker.info();
      await reranker.unload();
      out[worker] = { device, deviceReason, warnings, explicit: await load({ worker, device: 'webgpu' }).catch(({ code, message }) => `${code}: ${message}`) };
    }
    return out;
  });
  assert.deepEqual([got.able.webgpu, got.able.adapter, got.able.recommended.device], [false, null, 'wasm']);
  const { reason } = got.able.recommended;
  assert.match(reason, /offers no GPU/);
  for (const worker of [true, false]) {
    const { explicit, ...info } = got[worker];
    assert.deepEqual(info, { device: 'wasm', deviceReason: reason, warnings: [] });
    assert.match(explicit, /^webgpu-unavailable: .*offers no GPU.*'auto' or 'wasm'/);
  }
});

test('what is missing is named', async () => {
  const script = await pages.strict.evaluate(visit, { worker: './nothing.js' });
  assert.equal(script.code, 'unsupported', script.message);
  const module = await pages.strict.evaluate(visit, { wasm: './nothing.wasm', options: { worker: true } });
  assert.equal(module.code, 'download', module.message);
  assert.match(module.message, /nothing\.wasm.*404/);
});

test('a trap fails the calls of its thread, and the next thread is a fresh one', async () => {
  for (const inWorker of [false, true]) {
    const page = await browser.newPage(); // the trap spoils the thread
    await page.goto(pages.strict.url());
    const got = await page.evaluate(trapped, inWorker);
    await page.close();
    assert.match(got.call, /^oom: .*unreachable.*fresh worker/);
    assert.match(got.waiting, /^not-loaded: .*load the model again/);
    assert.match(got.again, /^oom: .*fresh worker/);
    assert.deepEqual([got.lost, got.idle, got.fresh], ['oom', 'oom', 'fine']);
  }
});

test('a worker that was given counts as lost when it reports an error', async () => {
  const got = await pages.strict.evaluate(async () => {
    const { Reranker } = await import('./edge-reranker/src/index.js');
    const worker = new Worker(new URL('./edge-reranker/src/worker.js', location.href), { type: 'module' });
    let listeners = 0;
    for (const [name, step] of [['addEventListener', 1], ['removeEventListener', -1]]) {
      const real = worker[name].bind(worker);
      worker[name] = (...args) => {
        listeners += step;
        real(...args);
      };
    }
    const errors = [];
    for (const type of ['error', 'messageerror']) {
      const reranker = await Reranker.load({ model: './tiny-f32.gguf', worker });
      const call = reranker.rerank('rivers', Array(5000).fill('Rivers are long.'));
      worker.dispatchEvent(new Event(type));
      errors.push(await call.catch((error) => error.code), (await reranker.lost).reason);
      await reranker.unload();
    }
    worker.terminate();
    return { errors, listeners };
  });
  assert.deepEqual(got, { errors: ['oom', 'oom', 'oom', 'oom'], listeners: 0 });
});

test('what callbacks throw comes back as the cause', async () => {
  for (const worker of [true, false]) {
    const got = await pages.strict.evaluate(async (worker) => {
      const { Reranker } = await import('./edge-reranker/src/index.js');
      const mine = new Error('mine');
      const fail = () => {
        throw mine;
      };
      const told = (promise) => promise.then(() => 'fine', (error) => [error.code, error.cause === mine]);
      const load = await told(Reranker.load({ model: './tiny-f32.gguf', worker, onProgress: fail }));
      const reranker = await Reranker.load({ model: './tiny-f32.gguf', worker });
      const call = await told(reranker.rerank('rivers', ['one', 'two'], { onScore: fail }));
      await reranker.unload();
      return [load, call];
    }, worker);
    assert.deepEqual(got, [['aborted', true], ['aborted', true]]);
  }
});

test("the README's sample for a page ranks the right document first", async () => {
  const page = await browser.newPage();
  const lines = [];
  const three = new Promise((done) => page.on('console', (message) => lines.push(message.text()) === 3 && done()));
  await page.goto(pages.strict.url());
  await page.evaluate(() => void import('./sample.js'));
  await three;
  await page.close();
  assert.match(lines[0], /^[01]\.\d+ Beijing is the capital of China\.$/);
});
