// Builds and threads in Chromium: what is fetched, equal scores, isolation and the lack of it, and failures that leave one thread.
import assert from 'node:assert/strict';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch } from './package-chromium.mjs';
import { serve } from './serve.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
let browser;
const closing = [];

// A worker's script that counts the workers which the engine starts, and limits the memory that it may share.
const COUNTING = `
const { Worker: Real } = self;
const { Memory } = WebAssembly;
let alive = 0;
self.Worker = class extends Real {
  constructor(...given) {
    super(...given);
    alive++;
  }
  terminate() {
    alive--;
    super.terminate();
  }
};
let most = 65_536;
const asked = [];
WebAssembly.Memory = function (descriptor) {
  if (descriptor.shared) asked.push(descriptor.maximum);
  if (descriptor.shared && descriptor.maximum > most) throw new RangeError('too large');
  return new Memory(descriptor);
};
self.addEventListener('message', ({ data }) => {
  if (data === 'tell') self.postMessage({ alive, asked });
  if (data?.most !== undefined) most = data.most;
});
await import('./edge-reranker/src/worker.js');
self.postMessage('here');
`;

// What the tests say in the page.
const COMMON = `
import { capabilities, Reranker } from './edge-reranker/src/index.js';
const QUERY = 'What is the capital of China?';
const many = (n) => Array.from({ length: n }, (_, at) => 'Document ' + at + ' is about Beijing, rivers, trains and bananas. '.repeat(1 + (at % 5)));
const logits = async (options, documents = many(30)) => {
  const reranker = await Reranker.load(options);
  const scores = [...(await reranker.score(documents.map((document) => [QUERY, document]), { rawScores: true }))];
  const { threads, instructions, warnings } = reranker.info();
  await reranker.unload();
  return { scores, threads, instructions, warnings };
};
const counting = async () => {
  const worker = new Worker(new URL('./counting.js', location.href), { type: 'module' });
  const answer = () => new Promise((done) => worker.addEventListener('message', ({ data }) => done(data), { once: true }));
  await answer();
  return { worker, tell: () => (worker.postMessage('tell'), answer()) };
};
Object.assign(globalThis, { capabilities, Reranker, QUERY, many, logits, counting });
`;

// A folder with the package, behind a server. Gives { page, fetched }, where `fetched` are the paths that were asked for.
async function site({ isolated = true, change = {} } = {}) {
  const root = await mkdtemp(join(tmpdir(), 'edge-reranker-'));
  await cp(here('../../pkg/src'), join(root, 'edge-reranker/src'), { recursive: true });
  await cp(here('../../pkg/dist'), join(root, 'edge-reranker/dist'), { recursive: true });
  await cp(here('../golden/tiny-f32.gguf'), join(root, 'tiny-f32.gguf'));
  for (const [path, act] of Object.entries(change)) {
    const text = await readFile(join(root, path), 'utf8');
    const changed = act(text);
    assert.notEqual(changed, text, `${path} was to be changed`);
    await writeFile(join(root, path), changed);
  }
  await writeFile(join(root, 'counting.js'), COUNTING);
  await writeFile(join(root, 'common.js'), COMMON);
  await writeFile(join(root, 'index.html'), '<!doctype html><title>A page</title><link rel="icon" href="data:,"><script type="module" src="./common.js"></script>');
  const fetched = [];
  const server = await serve({ root, isolated, hear: (path) => fetched.push(path) });
  const page = await browser.newPage();
  await page.goto(server.url);
  await page.waitForFunction(() => globalThis.Reranker);
  closing.push(async () => {
    await page.close();
    await server.close();
    await rm(root, { recursive: true, force: true });
  });
  return { page, fetched, built: () => fetched.filter((path) => path.includes('/dist/edge_reranker')).map((path) => path.split('/').pop()) };
}

before(async () => {
  browser = await launch();
});

after(async () => {
  for (const close of closing) await close();
  await browser?.close();
});

test('an isolated page gets relaxed SIMD and threads, and fetches no other build', async () => {
  const { page, built } = await site();
  const got = await page.evaluate(async () => ({ able: await capabilities(), isolated: crossOriginIsolated, ...(await logits({ threads: 2 })), auto: (await logits({})).threads, cores: navigator.hardwareConcurrency }));
  assert.deepEqual([got.isolated, got.able.relaxedSimd, got.able.threads], [true, true, Math.min(got.cores, 8)]);
  assert.deepEqual([got.threads, got.instructions, got.warnings], [2, 'relaxed-simd', []]);
  assert.equal(got.auto, got.able.threads);
  assert.deepEqual([...new Set(built())].sort(), ['edge_reranker_relaxed_threads.js', 'edge_reranker_relaxed_threads_bg.wasm']);
  assert.equal(built().filter((name) => name.endsWith('.wasm')).length, 2, 'threads get the module from their engine');
});

test('a page that is not isolated computes on one thread, and says why where more were asked for', async () => {
  const { page, built } = await site({ isolated: false });
  const got = await page.evaluate(async () => ({ able: await capabilities(), isolated: crossOriginIsolated, asked: await logits({ threads: 4 }), auto: await logits({}) }));
  assert.deepEqual([got.isolated, got.able.threads, got.asked.threads, got.auto.threads], [false, 1, 1, 1]);
  assert.deepEqual([got.asked.instructions, got.auto.warnings], ['relaxed-simd', []]);
  assert.match(got.asked.warnings.join(), /threads: 4 was asked for.*Cross-Origin-Opener-Policy: same-origin.*Cross-Origin-Embedder-Policy/);
  assert.deepEqual([...new Set(built())].sort(), ['edge_reranker_relaxed.js', 'edge_reranker_relaxed_bg.wasm']);
});

test("a page's own thread computes alone", async () => {
  const { page, built } = await site();
  const got = await page.evaluate(async () => ({ asked: await logits({ worker: false, threads: 2 }), auto: await logits({ worker: false }), one: await logits({ threads: 1 }) }));
  assert.deepEqual([got.asked.threads, got.auto.threads, got.one.threads], [1, 1, 1]);
  assert.match(got.asked.warnings.join(), /own thread must not wait.*worker: false/);
  assert.deepEqual([got.auto.warnings, got.one.warnings], [[], []]);
  assert.deepEqual([...new Set(built())].sort(), ['edge_reranker_relaxed.js', 'edge_reranker_relaxed_bg.wasm']);
});

test('every build scores alike, and the same on any number of threads', async () => {
  const { page } = await site();
  const got = await page.evaluate(async () => {
    const out = {};
    for (const name of ['', '_relaxed', '_threads', '_relaxed_threads']) {
      const wasm = `./edge-reranker/dist/edge_reranker${name}_bg.wasm`;
      out[name] = [];
      for (const threads of name.includes('threads') ? [1, 2, 3] : [1]) out[name].push(await logits({ wasm, threads }));
    }
    return out;
  });
  const wanted = got[''][0].scores;
  assert.equal(wanted.length, 30);
  for (const [name, all] of Object.entries(got)) {
    for (const [at, { scores, threads, instructions, warnings }] of all.entries()) {
      assert.deepEqual([threads, instructions, warnings], [at + 1, name.includes('relaxed') ? 'relaxed-simd' : 'simd128', []]);
      assert.deepEqual(scores, all[0].scores);
      for (const [i, score] of scores.entries()) assert.ok(Math.abs(score - wanted[i]) < 0.3, `${name}, document ${i}`);
    }
  }
});

test('models in one worker share its threads, which end with the last model', async () => {
  const { page } = await site();
  const got = await page.evaluate(async () => {
    const { worker, tell } = await counting();
    const load = (threads) => Reranker.load({ model: './tiny-f32.gguf', threads, worker });
    const counts = [];
    const count = async () => counts.push((await tell()).alive);
    const [first, second] = await Promise.all([load(3), load(2)]);
    await count();
    await first.unload();
    const { results } = await second.rerank('rivers', many(20));
    await count();
    await second.unload();
    for (let n = 0; n < 500 && (await tell()).alive; n++) await new Promise((done) => setTimeout(done, 20)); // a given worker is not waited for
    await count();
    const again = await load(2);
    await count();
    await again.unload();
    worker.terminate();
    return { counts, results: results.length };
  });
  assert.deepEqual(got, { counts: [2, 2, 0, 1], results: 20 });
});

// How many threads of workers the browsers have that this process started.
async function workerThreads() {
  const text = (path) => readFile(path, 'utf8').catch(() => '');
  const parents = new Map();
  for (const process of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    parents.set(process, /.*\) \S (\d+)/s.exec(await text(`/proc/${process}/stat`))?.[1]);
  }
  const isOurs = (id) => id === String(process.pid) || (parents.has(id) && isOurs(parents.get(id)));
  let count = 0;
  for (const id of [...parents.keys()].filter(isOurs)) {
    for (const task of await readdir(`/proc/${id}/task`).catch(() => [])) count += /^Dedicated/.test(await text(`/proc/${id}/task/${task}/comm`));
  }
  return count;
}

test("the threads of an engine in the package's own worker end with it", { skip: process.platform !== 'linux' && 'threads are counted in /proc' }, async () => {
  const { page } = await site();
  // Workers of earlier tests may still be ending: Chromium gives them 2 seconds.
  let before = await workerThreads();
  for (let last = -1; last !== before; ) {
    last = before;
    await new Promise((done) => setTimeout(done, 3000));
    before = await workerThreads();
  }
  await page.evaluate(async () => {
    globalThis.reranker = await Reranker.load({ threads: 4 });
    globalThis.call = reranker.rerank(QUERY, many(5000)).catch(({ code }) => code);
  });
  assert.equal(await workerThreads(), before + 4);
  assert.equal(await page.evaluate(() => reranker.unload().then(() => call)), 'not-loaded');
  for (let n = 0; n < 40 && (await workerThreads()) > before; n++) await new Promise((done) => setTimeout(done, 250)); // Chromium gives a worker 2 seconds
  assert.equal(await workerThreads(), before);
});

test('a smaller memory does where a large one is refused, and one thread where all are', async () => {
  const { page } = await site();
  const got = await page.evaluate(async () => {
    const out = [];
    for (const most of [20_000, 0]) {
      const { worker, tell } = await counting();
      worker.postMessage({ most });
      out.push({ ...(await logits({ worker, threads: 2 })), ...(await tell()), scores: undefined });
      worker.terminate();
    }
    return out;
  });
  assert.deepEqual(got.map(({ threads }) => threads), [2, 1]);
  assert.deepEqual(got[0].asked, [65_536, 32_768, 16_384]);
  assert.match(got[1].warnings.join(), /threads: 2 was asked for, but no shared memory/);
});

test('where the script of the threads is missing or refused, one thread computes and a warning says so', async () => {
  for (const act of [() => "throw new Error('broken');", () => 'self.close();']) {
    const { page } = await site({ change: { 'edge-reranker/src/thread.js': act, 'edge-reranker/src/pool.js': (text) => text.replace('10_000', '1000') } });
    const got = await page.evaluate(() => logits({ threads: 2 }));
    assert.equal(got.threads, 1);
    assert.match(got.warnings.join(), /Only 1 of 2 threads started/);
    assert.equal(got.scores.length, 30);
  }
});

test('a thread that traps fails the calls of its engine at once', async () => {
  // One of the two workers that help stands for the one that traps.
  const change = {
    'edge-reranker/src/serve-thread.js': (text) => text.replace("glue.Engine.serveThread(() => say('ready'));", `
      const first = Atomics.add(new Int32Array(memory.buffer), 1, 1) === 0; // a word at the far end of a stack
      if (first) {
        new BroadcastChannel('trap').onmessage = () => glue.Engine.failThread();
        return say('ready');
      }
      glue.Engine.serveThread(() => say('ready'));`),
  };
  const { page } = await site({ change });
  const got = await page.evaluate(async () => {
    const reranker = await Reranker.load({ threads: 3 });
    new BroadcastChannel('trap').postMessage('now');
    await new Promise((done) => setTimeout(done, 1000));
    const told = await reranker.rerank(QUERY, many(3000)).then(() => 'fine', ({ code, message }) => `${code}: ${message}`);
    const { reason } = await reranker.lost;
    await reranker.unload();
    return { told, reason, fresh: (await logits({ threads: 1 })).scores.length };
  });
  assert.match(got.told, /^oom: .*fresh worker/);
  assert.deepEqual([got.reason, got.fresh], ['oom', 30]);
});

test('a call on several threads is aborted within 200 ms', async () => {
  const { page } = await site();
  const waits = await page.evaluate(async () => {
    const reranker = await Reranker.load({ threads: 2 });
    const waits = [];
    for (let attempt = 0; attempt < 3; attempt++) {
      const controller = new AbortController();
      const call = reranker.rerank(QUERY, many(3000), { signal: controller.signal }).then(() => 'fine', ({ code }) => code);
      await new Promise((done) => setTimeout(done, 300));
      const asked = performance.now();
      controller.abort();
      if ((await call) !== 'aborted') return ['not aborted'];
      await reranker.tokenize(QUERY, 'one'); // waits until the work has really stopped
      waits.push(performance.now() - asked);
    }
    await reranker.unload();
    return waits;
  });
  assert.ok(Math.min(...waits) < 200, `took ${waits} ms`);
});
