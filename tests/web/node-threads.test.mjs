// The four builds and their threads in Node: equal scores, no worker left over, and what happens where threads do not start.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { capabilities, Reranker } from '../../pkg/src/node.js';
import { fails, many, modelPath, open } from './node-common.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const QUERY = 'What is the capital of China?';
const DOCUMENTS = ['The capital of China is Beijing.', 'Bananas are yellow.', '', ...many(20)];
const TINY = modelPath('tiny-f32.gguf');
const { relaxedSimd } = await capabilities();
const RELAXED_FLAG = '--experimental-wasm-relaxed-simd'; // of older versions

const moduleOf = (build) => here(`../../pkg/dist/edge_reranker${build}_bg.wasm`);

// The logits of `DOCUMENTS` by one build on so many threads, and what its engine says of itself.
async function scored(wasm, threads) {
  const reranker = await Reranker.load({ wasm, threads, worker: true });
  try {
    const { instructions, threads, warnings } = reranker.info();
    return { logits: [...(await reranker.score(DOCUMENTS.map((document) => [QUERY, document]), { rawScores: true }))], instructions, threads, warnings };
  } finally {
    await reranker.unload();
  }
}

// Run as a program of its own, since a thread of Node that knows no relaxed SIMD must be started with it.
if (process.argv.includes('--score')) {
  console.log(JSON.stringify(await scored(process.argv.at(-2), Number(process.argv.at(-1)))));
  process.exit();
}

async function scoredAnywhere(build, threads) {
  if (relaxedSimd || !build.includes('relaxed')) return scored(moduleOf(build), threads);
  return JSON.parse(execFileSync(process.execPath, [RELAXED_FLAG, fileURLToPath(import.meta.url), '--score', moduleOf(build), String(threads)], { encoding: 'utf8' }));
}

const knowsFlag = () => spawnSync(process.execPath, [RELAXED_FLAG, '-e', '0']).status === 0;

test('all builds score alike, and one build scores the same on any number of threads', { skip: !relaxedSimd && !knowsFlag() && 'no relaxed SIMD' }, async () => {
  const wanted = (await scored(moduleOf(''), 1)).logits;
  assert.equal(new Set(wanted).size > 20, true, 'scores differ from document to document');
  for (const instructions of ['simd128', 'relaxed-simd']) {
    const mark = instructions === 'simd128' ? '' : '_relaxed';
    const alone = await scoredAnywhere(mark, 1);
    const threaded = await Promise.all([1, 2, 3].map((threads) => scoredAnywhere(`${mark}_threads`, threads)));
    for (const [at, got] of [alone, ...threaded].entries()) {
      assert.deepEqual([got.instructions, got.threads, got.warnings], [instructions, Math.max(at, 1), []]);
      for (const [i, logit] of got.logits.entries()) assert.ok(Math.abs(logit - wanted[i]) < 0.3, `${instructions}, document ${i}: ${logit}, wanted ${wanted[i]}`);
    }
    for (const got of threaded) assert.deepEqual(got.logits, threaded[0].logits);
  }
});

test('the build with relaxed SIMD is chosen where it is known', async (t) => {
  const reranker = await open(t, { model: TINY });
  assert.equal(reranker.info().instructions, relaxedSimd ? 'relaxed-simd' : 'simd128');
});

// The workers that Node starts while `act` runs.
async function workersOf(act) {
  const workers = [];
  const hear = (worker) => {
    workers.push(worker);
    worker.once('exit', () => (worker.gone = true));
  };
  process.on('worker', hear);
  await act();
  process.off('worker', hear);
  return workers;
}

test('models in one thread share its threads, which end with the last model', async () => {
  const workers = await workersOf(async () => {
    const load = (threads) => Reranker.load({ model: TINY, threads });
    const [first, second] = await Promise.all([load(3), load(2)]);
    assert.deepEqual([first.info().threads, second.info().threads], [3, 2]);
    const both = await Promise.all([first, second].map((reranker) => reranker.score([[QUERY, 'one']])));
    assert.deepEqual(both[0], both[1]);
    await first.unload();
    const [score] = await second.score([[QUERY, 'one']]);
    assert.equal(score, both[0][0]);
    await second.unload();
    const again = await load(2);
    assert.equal((await again.score([[QUERY, 'one']]))[0], score);
    await again.unload();
    await fails(Reranker.load({ model: new Uint8Array(9), threads: 2 }), 'bad-model');
    await (await load(1)).unload();
  });
  for (let n = 0; n < 500 && !workers.every((worker) => worker.gone); n++) await new Promise((done) => setTimeout(done, 20)); // a failure is told at once
  assert.equal(workers.length, 2 + 1 + 1);
  assert.ok(workers.every((worker) => worker.gone), 'a worker is left');
});

test('loading and unloading again and again takes no more memory', async () => {
  const memories = [];
  const real = WebAssembly.Memory;
  WebAssembly.Memory = function (...given) {
    memories.push(new real(...given));
    return memories.at(-1);
  };
  const copy = await import(`${await copied()}/src/node.js`);
  const round = async () => (await copy.Reranker.load({ model: TINY, threads: 3 })).unload();
  for (let n = 0; n < 3; n++) await round();
  const before = memories[0].buffer.byteLength;
  for (let n = 0; n < 20; n++) await round();
  WebAssembly.Memory = real;
  assert.equal(memories.length, 1);
  assert.ok(memories[0].buffer.byteLength <= before, `${before} bytes became ${memories[0].buffer.byteLength}`);
});

test('no thread is left when the engine has its own worker', { skip: process.platform !== 'linux' && 'threads are counted in /proc' }, async () => {
  const count = async () => (await readdir('/proc/self/task')).length;
  const before = await count();
  const reranker = await Reranker.load({ model: TINY, threads: 4, worker: true });
  assert.equal(reranker.info().threads, 4);
  const running = fails(reranker.rerank(QUERY, many(5000)), 'not-loaded');
  await new Promise((done) => setTimeout(done, 100));
  assert.ok((await count()) >= before + 4);
  await reranker.unload();
  await running;
  for (let n = 0; n < 500 && (await count()) > before; n++) await new Promise((done) => setTimeout(done, 20));
  assert.equal(await count(), before);
});

test('a process ends by itself, however many threads wait', async () => {
  const script = `
    import { Reranker } from ${JSON.stringify(new URL('../../pkg/src/node.js', import.meta.url).href)};
    for (const worker of [false, true]) await (await Reranker.load({ model: ${JSON.stringify(TINY)}, threads: 3, worker })).rerank('q', ['a']);
    console.log('done');`;
  const place = join(fileURLToPath(await copied()), 'user.js');
  await writeFile(place, script);
  assert.equal(execFileSync(process.execPath, [place], { encoding: 'utf8', timeout: 20_000 }), 'done\n');
});

for (const worker of [false, true]) {
  test(`a call on several threads is aborted within 200 ms, ${worker ? 'in a worker' : 'in this thread'}`, async (t) => {
    const reranker = await open(t, { threads: 2, worker });
    const waits = [];
    for (let attempt = 0; attempt < 3; attempt++) {
      const controller = new AbortController();
      const call = fails(reranker.rerank(QUERY, many(3000), { signal: controller.signal }), 'aborted');
      await new Promise((done) => setTimeout(done, 300));
      const asked = performance.now();
      controller.abort();
      await call;
      await reranker.tokenize(QUERY, 'one'); // waits until the work has really stopped
      waits.push(performance.now() - asked);
    }
    assert.ok(Math.min(...waits) < 200, `took ${waits} ms`);
  });
}

// A copy of the package, some of its files replaced; imported from there it has an engine of its own.
const copies = [];
async function copied(files = {}) {
  const root = await mkdtemp(join(tmpdir(), 'edge-reranker-'));
  copies.push(root);
  await cp(here('../../pkg/src'), join(root, 'src'), { recursive: true });
  await mkdir(join(root, 'dist'));
  for (const file of await readdir(here('../../pkg/dist'))) {
    const take = file.endsWith('.js') ? cp : symlink; // a link to a script would be the same script
    await take(here(`../../pkg/dist/${file}`), join(root, 'dist', file));
  }
  await writeFile(join(root, 'package.json'), '{ "type": "module" }');
  for (const [path, change] of Object.entries(files)) {
    const text = await readFile(join(root, 'src', path), 'utf8');
    const changed = change(text);
    assert.notEqual(changed, text, `${path} was to be changed`);
    await writeFile(join(root, 'src', path), changed);
  }
  return pathToFileURL(root).href;
}
test.after(() => Promise.all(copies.map((root) => rm(root, { recursive: true }))));

const BROKEN = {
  'a script that fails': [{ 'node-thread.js': () => "throw new Error('not today');" }, /not today/],
  'a script that never answers': [{ 'node-thread.js': () => 'setInterval(() => {}, 1000);', 'pool.js': (text) => text.replace('10_000', '300') }, /no answer within 0\.3 seconds/],
  'a worker that ends': [{ 'node-thread.js': () => 'process.exit();' }, /it ended/],
  'a system that refuses workers': [{ 'platform/node.js': (text) => text.replace(/(spawnThread = \(\) => ).*/, "$1{ throw new Error('no more'); };") }, /no more/],
};

for (const [name, [files, words]] of Object.entries(BROKEN)) {
  test(`${name} leaves one thread, and a warning`, async () => {
    const copy = await import(`${await copied(files)}/src/node.js`);
    const reranker = await copy.Reranker.load({ model: TINY, threads: 3 });
    const { threads, warnings } = reranker.info();
    assert.equal(threads, 1);
    assert.match(warnings.join(), /Only 1 of 3 threads started/);
    assert.match(warnings.join(), words);
    const result = await reranker.rerank(QUERY, ['one', 'two']);
    assert.equal(result.results.length, 2);
    assert.deepEqual(result.warnings, warnings);
    await reranker.unload();
  });
}

test('without memory to share, one thread computes', async () => {
  const copy = await import(`${await copied({ 'engine.js': (text) => text.replace('return new WebAssembly.Memory', "if (shared) throw new RangeError('no'); return new WebAssembly.Memory") })}/src/node.js`);
  for (const [threads, warned] of [['auto', 0], [2, 1]]) {
    const reranker = await copy.Reranker.load({ model: TINY, threads });
    const info = reranker.info();
    assert.deepEqual([info.threads, info.warnings.length], [1, warned]);
    if (warned) assert.match(info.warnings[0], /threads: 2 was asked for, but no shared memory/);
    assert.equal((await reranker.rerank(QUERY, ['one'])).results.length, 1);
    await reranker.unload();
  }
});

test('a smaller memory does where a large one is refused', async () => {
  const real = WebAssembly.Memory;
  const asked = [];
  WebAssembly.Memory = function (descriptor) {
    asked.push(descriptor.maximum);
    if (descriptor.maximum > 20_000) throw new RangeError('too large');
    return new real(descriptor);
  };
  try {
    const copy = await import(`${await copied()}/src/node.js`);
    const reranker = await copy.Reranker.load({ model: TINY, threads: 2 });
    assert.equal(reranker.info().threads, 2);
    assert.equal((await reranker.rerank(QUERY, ['one'])).results.length, 1);
    await reranker.unload();
  } finally {
    WebAssembly.Memory = real;
  }
  assert.deepEqual(asked, [65_536, 32_768, 16_384]);
});

test('a thread that traps fails the calls of its engine at once', { timeout: 60_000 }, async () => {
  const trapping = (text) => text.replace("glue.Engine.serveThread(() => say('ready'));", `
    const first = Atomics.add(new Int32Array(memory.buffer), 1, 1) === 0; // a word at the far end of a stack
    if (first) {
        say('ready');
        return setTimeout(() => glue.Engine.failThread(), 300);
      }
    glue.Engine.serveThread(() => say('ready'));`);
  const copy = await import(`${await copied({ 'serve-thread.js': trapping })}/src/node.js`);
  const reranker = await copy.Reranker.load({ model: TINY, threads: 3, worker: true });
  const error = await reranker.rerank(QUERY, many(5000)).then(() => assert.fail('should fail'), (error) => error);
  assert.equal(error.code, 'oom', error.message);
  assert.match(error.message, /fresh worker/);
  assert.deepEqual(await reranker.lost, { reason: 'oom' });
  await reranker.unload();
});

test('threads out of range are refused', async () => {
  for (const threads of [0, -1, 1.5, 65, '4', NaN]) await fails(Reranker.load({ threads }), 'bad-input', /options\.threads must be 'auto' or a whole number from 1 to 64/);
});
