// The package in Node, with the engine in this thread and in a worker thread: scores against the goldens, and every promise of the class.
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { capabilities, models, Reranker } from '../../pkg/src/node.js';
import { fails, goldens, many, modelBytes, modelPath, open, optionsOf } from './node-common.mjs';

const BOUND = { exact: { max: 1e-3, mean: 1e-3 }, quantised: { max: 0.3, mean: 0.05 } };
const QUERY = 'What is the capital of China?';
const TINY = modelPath('tiny-f32.gguf');

for (const model of goldens.models) {
  test(`scores of ${model.path} are the goldens'`, async (t) => {
    const reranker = await open(t, { model: modelPath(model.path) });
    const differences = [];
    for (const [at, request] of goldens.requests.entries()) {
      const options = { ...optionsOf(request), rawScores: true };
      const pairs = request.documents.map((document) => [request.query, document]);
      if (request.error) {
        await fails(reranker.score(pairs, options), request.error);
        continue;
      }
      const wanted = model.scores[at].map((score) => score.logit);
      const got = await reranker.score(pairs, options);
      assert.ok(got instanceof Float32Array);
      const ranked = await reranker.rerank(request.query, request.documents, options);
      for (const result of ranked.results) {
        differences.push(Math.abs(got[result.index] - wanted[result.index]), Math.abs(result.logit - wanted[result.index]));
        assert.equal(result.truncated, request.expected[result.index].truncated, request.name);
        assert.equal(result.tokens, request.expected[result.index].ids.length, request.name);
      }
    }
    const { max, mean } = BOUND[model.class];
    assert.ok(Math.max(...differences) <= max, `worst ${Math.max(...differences)}, allowed ${max}`);
    assert.ok(differences.reduce((a, b) => a + b, 0) / differences.length <= mean);
  });
}

test('token ids are the goldens', async (t) => {
  const reranker = await open(t, { model: TINY });
  for (const request of goldens.requests) {
    if (request.error) continue;
    for (const [at, document] of request.documents.entries()) {
      const { ids, sharedPrefix } = await reranker.tokenize(request.query, document, optionsOf(request));
      assert.ok(ids instanceof Uint32Array);
      assert.deepEqual([...ids], request.expected[at].ids, `${request.name}, document ${at}`);
      assert.equal(sharedPrefix, request.shared_prefix, request.name);
    }
  }
});

test('a path, a file: address, bytes, a Blob, a reader and a folder load the same model', async (t) => {
  const bytes = await modelBytes('tiny-f32.gguf');
  const reader = { size: bytes.length, read: async (start, end) => new Uint8Array(bytes.subarray(start, end)) };
  const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
  shared.set(bytes);
  const given = [TINY, new URL(`file://${TINY}`), `file://${TINY}`, bytes, new Uint8Array(bytes).buffer, shared, new Blob([bytes]), reader, modelPath('tiny-f32')];
  const seen = new Set();
  for (const worker of [false, true]) {
    for (const model of given) {
      const reranker = await open(t, { model, worker });
      const [score] = await reranker.score([[QUERY, 'The capital of China is Beijing.']], { rawScores: true });
      seen.add(score.toFixed(4));
    }
  }
  assert.equal(seen.size, 1, [...seen].join(' '));
});

test('a tokenizer.json may be given beside a model', async (t) => {
  const reranker = await open(t, { model: TINY, tokenizer: modelPath('tokenizer/tokenizer.json') });
  const [request] = goldens.requests;
  const { ids } = await reranker.tokenize(request.query, request.documents[0]);
  assert.deepEqual([...ids], request.expected[0].ids);
});

test('the built-in model needs no options', async (t) => {
  const events = [];
  const reranker = await open(t, { onProgress: (event) => events.push(event) });
  const { results, model, device } = await reranker.rerank(QUERY, ['Bananas are yellow.', 'Beijing is the capital city of China.']);
  assert.equal(results[0].index, 1);
  assert.equal(model, 'mini');
  assert.equal(device, 'wasm');
  assert.deepEqual([...new Set(events.map((event) => event.status))], ['initiate', 'download', 'progress', 'done', 'ready']);
  const done = events.find((event) => event.status === 'done');
  assert.equal(done.progress, 100);
  assert.equal(done.loaded, done.total);
});

for (const worker of [false, true]) {
  const where = worker ? 'in a worker' : 'in this thread';
  const load = (t) => open(t, { model: TINY, worker });

  test(`rerank sorts, cuts and returns what is asked, ${where}`, async (t) => {
    const reranker = await load(t);
    const documents = ['Bananas are yellow.', { text: 'The capital of China is Beijing.', id: 'b', page: 7 }, 'The capital of Korea is Seoul.'];
    const all = await reranker.rerank(QUERY, documents, { returnDocuments: true, topN: null, threshold: null });
    assert.deepEqual(all.results.map((result) => result.index).sort(), [0, 1, 2]);
    for (let i = 1; i < 3; i++) assert.ok(all.results[i - 1].relevanceScore >= all.results[i].relevanceScore);
    for (const result of all.results) {
      assert.ok(Math.abs(result.relevanceScore - 1 / (1 + Math.exp(-result.logit))) < 1e-6);
      assert.equal(result.document.text, documents[result.index].text ?? documents[result.index]);
      assert.equal(result.id, documents[result.index].id);
    }
    assert.ok(all.usage.promptTokens > 0 && all.usage.totalTokens > 0 && all.usage.prefixReusedTokens > 0);
    assert.ok(all.timings.totalMs >= all.timings.inferMs);
    const top = await reranker.rerank(QUERY, documents, { topN: 1 });
    assert.deepEqual(top.results.map((result) => result.index), [all.results[0].index]);
    assert.equal('document' in top.results[0], false);
    const threshold = all.results[1].relevanceScore;
    assert.equal((await reranker.rerank(QUERY, documents, { threshold })).results.length, 2);
    assert.equal((await reranker.rerank(QUERY, documents, { topN: 99 })).results.length, 3);
    const none = await reranker.rerank(QUERY, []);
    assert.deepEqual(none.results, []);
    assert.equal(none.usage.totalTokens, 0);
    assert.equal((await reranker.score([])).length, 0);
    const heard = [];
    const pairs = [['one', 'a'], ['one', 'b'], ['two', 'c']];
    const scores = await reranker.score(pairs, { onScore: ({ index, score, total }) => heard.push([index, score, total]) });
    assert.deepEqual(heard.sort((a, b) => a[0] - b[0]), [...scores].map((score, index) => [index, score, 3]));
  });

  test(`calls at the same time are answered one after the other, ${where}`, async (t) => {
    const reranker = await load(t);
    const documents = many(6);
    const single = await reranker.rerank(QUERY, documents);
    const twins = await Promise.all([1, 2, 3].map(() => reranker.rerank(QUERY, documents)));
    for (const twin of twins) assert.deepEqual(twin.results, single.results);
  });

  test(`the stream gives every score once, and leaving it stops the work, ${where}`, async (t) => {
    const reranker = await load(t);
    const documents = many(12);
    const seen = new Map();
    for await (const { index, relevanceScore } of reranker.rerankStream(QUERY, documents)) seen.set(index, relevanceScore);
    const { results } = await reranker.rerank(QUERY, documents);
    assert.equal(seen.size, 12);
    for (const { index, relevanceScore } of results) assert.equal(seen.get(index), relevanceScore);
    for await (const event of reranker.rerankStream(QUERY, many(20_000))) {
      assert.ok(event);
      break;
    }
    let scored = 0;
    const watched = reranker.rerankStream(QUERY, many(20_000), { onScore: () => scored++ });
    await watched.next();
    await watched.return();
    await reranker.rerank(QUERY, ['one']);
    assert.ok(scored > 0 && scored < 20_000, 'the work of the stream went on');
    const least = results[5].relevanceScore;
    const kept = [];
    for await (const { index } of reranker.rerankStream(QUERY, documents, { threshold: least })) kept.push(index);
    const wanted = results.filter((result) => result.relevanceScore >= least);
    assert.deepEqual(kept.sort(), wanted.map((result) => result.index).sort());
    await fails(reranker.rerankStream(QUERY, documents, { topN: 3 }).next(), 'bad-input', /topN/);
    await fails(reranker.rerankStream(QUERY, [null])[Symbol.asyncIterator]().next(), 'bad-input', /documents\[0\]/);
  });

  test(`a running call is aborted within 100 ms, a waiting one at once, ${where}`, async (t) => {
    const reranker = await load(t);
    const waits = [];
    for (let attempt = 0; attempt < 3; attempt++) {
      const running = new AbortController();
      const waiting = new AbortController();
      let scored = 0;
      let ended = 0;
      const first = fails(reranker.rerank(QUERY, many(5000), { signal: running.signal, onScore: () => scored++ }), 'aborted');
      const watched = first.then(() => (ended = performance.now()));
      const second = reranker.rerank(QUERY, ['one'], { signal: waiting.signal });
      waiting.abort();
      await fails(second, 'aborted');
      await new Promise((done) => setTimeout(done, 100 + 200 * attempt));
      assert.equal(ended, 0, 'still running');
      const asked = performance.now();
      running.abort();
      await watched;
      waits.push(ended - asked);
      const heard = scored;
      await reranker.rerank(QUERY, ['one']);
      assert.ok(performance.now() - asked < 2000, 'the work went on');
      assert.ok(scored === heard && heard < 5000, 'scores came after the abort');
    }
    assert.ok(Math.min(...waits) < 100, `took ${waits} ms`); // the best of three: the machine may be busy
    await fails(reranker.rerank(QUERY, ['one'], { signal: AbortSignal.abort() }), 'aborted');
    assert.equal((await reranker.rerank(QUERY, ['one'])).results.length, 1);
  });

  test(`one signal may end any number of calls, ${where}`, async (t) => {
    const reranker = await load(t);
    const ending = new AbortController();
    const warnings = [];
    const hear = (warning) => warnings.push(warning.message);
    process.on('warning', hear);
    t.after(() => process.off('warning', hear));
    const call = () => reranker.rerank(QUERY, ['one'], { signal: ending.signal });
    await Promise.all(Array.from({ length: 20 }, call));
    assert.equal(getEventListeners(ending.signal, 'abort').length, 0, 'what is over does not keep the signal');
    const calls = Array.from({ length: 20 }, () => fails(call(), 'aborted'));
    ending.abort();
    await Promise.all(calls);
    await new Promise(setImmediate);
    assert.deepEqual(warnings, []);
  });

  test(`the thread is given back while it computes, ${where}`, async (t) => {
    const reranker = await load(t);
    let turns = 0;
    const timer = setInterval(() => turns++, 5);
    const started = performance.now();
    await reranker.rerank(QUERY, many(400));
    clearInterval(timer);
    const pace = (performance.now() - started) / (turns + 1);
    assert.ok(pace < 150, `a turn only every ${pace} ms`);
  });

  test(`unload ends everything, ${where}`, async () => {
    const reranker = await Reranker.load({ model: TINY, worker });
    const running = fails(reranker.rerank(QUERY, many(20_000)), 'not-loaded');
    const waiting = fails(reranker.rerank(QUERY, ['one']), 'not-loaded');
    await new Promise((done) => setTimeout(done, 50));
    await reranker.unload();
    await running;
    await waiting;
    await fails(reranker.rerank(QUERY, ['one']), 'not-loaded');
    assert.deepEqual(await reranker.lost, { reason: 'destroyed' });
    assert.equal(reranker.info().architecture, 'qwen3');
    await reranker.unload();
  });

  test(`a bad file is refused with bad-model, ${where}`, async () => {
    const bytes = await modelBytes('tiny-f32.gguf');
    const refused = (model) => fails(Reranker.load({ model, worker }), 'bad-model');
    await refused(new Uint8Array(0));
    await refused(new TextEncoder().encode('<!doctype html><title>Not found</title>'));
    await refused(bytes.subarray(0, 1000));
    await refused(bytes.subarray(0, bytes.length - 100));
    const hostile = new Uint8Array(bytes);
    hostile.fill(0xff, 8, 24);
    await refused(hostile);
  });

  test(`a reader that fails is told apart from a bad file, ${where}`, async () => {
    const short = { size: 1000, read: () => new Uint8Array(3) };
    await fails(Reranker.load({ model: short, worker }), 'bad-input', /must give a Uint8Array of \d+ bytes, got 3 bytes/);
    const broken = { size: 1000, read: () => Promise.reject(new Error('the disk is gone')) };
    await fails(Reranker.load({ model: broken, worker }), 'download', /the disk is gone/);
  });
}

test('a worker that was given is used, kept at unload, and its death is told', async () => {
  const worker = new Worker(new URL('../../pkg/src/node-worker.js', import.meta.url));
  const first = await Reranker.load({ model: TINY, worker });
  assert.equal((await first.rerank(QUERY, ['one'])).results.length, 1);
  await first.unload();
  const second = await Reranker.load({ model: TINY, worker });
  const running = fails(second.rerank(QUERY, many(5000)), 'oom', /worker/);
  const waiting = fails(second.rerank(QUERY, ['one']), 'not-loaded', /lost/);
  await worker.terminate();
  await running;
  await waiting;
  assert.deepEqual(await second.lost, { reason: 'oom' });
  await fails(second.rerank(QUERY, ['one']), 'not-loaded', /load the model again/);
  await second.unload();
});

test('arguments are checked with their place', async (t) => {
  const reranker = await open(t, { model: TINY });
  const rerank = (...given) => reranker.rerank(...given);
  await fails(rerank(undefined, []), 'bad-input', /query must be a string/);
  await fails(rerank(QUERY, 'text'), 'bad-input', /documents must be an array/);
  await fails(rerank(QUERY, ['a', null]), 'bad-input', /documents\[1\] must be a string or an object/);
  await fails(rerank({}, []), 'bad-input', /got an object\./);
  await fails(rerank(QUERY), 'bad-input', /got undefined\./);
  await fails(rerank(QUERY, ['a', 'b', 'c', { text: 4 }]), 'bad-input', /documents\[3\]\.text must be a string/);
  await fails(rerank(QUERY, [{ text: 'a', id: 4 }]), 'bad-input', /documents\[0\]\.id/);
  await fails(rerank(QUERY, new Array(2)), 'bad-input', /documents\[0\]/);
  for (const topN of [-1, 1.5, NaN, '3']) await fails(rerank(QUERY, ['a'], { topN }), 'bad-input', /options\.topN/);
  for (const threshold of [NaN, Infinity, '0.5']) await fails(rerank(QUERY, ['a'], { threshold }), 'bad-input', /options\.threshold/);
  for (const maxLength of [0, -5, 2.5]) await fails(rerank(QUERY, ['a'], { maxLength }), 'bad-input', /options\.maxLength/);
  await fails(rerank(QUERY, ['a'], { instruction: 5 }), 'bad-input', /options\.instruction/);
  await fails(rerank(QUERY, ['a'], { template: 'other' }), 'bad-input', /options\.template/);
  await fails(rerank(QUERY, ['a'], { signal: {} }), 'bad-input', /options\.signal/);
  await fails(rerank(QUERY, ['a'], 'fast'), 'bad-input', /options must be an object/);
  await fails(reranker.score([['a']]), 'bad-input', /pairs\[0\]/);
  await fails(reranker.score([['a', 4]]), 'bad-input', /pairs\[0\]\[1\]/);
  await fails(reranker.tokenize(QUERY, null), 'bad-input', /document/);
  await fails(rerank(QUERY, ['a'], { chunk: { tokens: 100 } }), 'unsupported', /chunk/);
  await fails(rerank(QUERY, ['a'], { expand: () => [] }), 'unsupported', /expand/);
  await fails(reranker.explain(QUERY, 'a'), 'unsupported');
  const nothing = { topN: null, threshold: null, maxLength: null, instruction: null, signal: null, onScore: null, unknown: 5 };
  assert.equal((await rerank(QUERY, ['a'], nothing)).results.length, 1);
  assert.equal((await rerank(QUERY, [{ text: 'a', id: null, other: () => 1 }], null)).results.length, 1);
});

test('load options that cannot be honoured are refused', async (t) => {
  await fails(Reranker.load({ device: 'webgpu' }), 'webgpu-unavailable');
  await fails(Reranker.load({ device: 'npu' }), 'bad-input', /options\.device/);
  await fails(Reranker.load({ streaming: { memoryMB: 1 } }), 'bad-input', /streaming/);
  await fails(Reranker.load({ integrity: 'sha256-x' }), 'bad-input', /integrity/);
  await fails(Reranker.load({ cache: 'opfs' }), 'unsupported', /cache/);
  await fails(Reranker.load({ model: 42 }), 'bad-input', /model/);
  await fails(Reranker.load({ model: 'gigantic' }), 'bad-input', /no model 'gigantic'.*0\.6b-q8/);
  await fails(Reranker.load({ model: './nowhere.gguf' }), 'bad-input', /nowhere\.gguf/);
  await fails(Reranker.load({ model: modelPath('tokenizer') }), 'bad-input', /not a model folder/);
  await fails(Reranker.load({ wasm: 5 }), 'bad-input', /wasm/);
  await fails(Reranker.load({ worker: 'yes' }), 'bad-input', /options\.worker/);
  await fails(Reranker.load({ signal: AbortSignal.abort() }), 'aborted');
  const threaded = await open(t, { model: TINY, threads: 4, device: 'wasm', cache: 'none', tokenizer: null });
  assert.deepEqual([threaded.info().threads, threaded.info().warnings], [4, []]);
});

test('capabilities and models tell what is there', async () => {
  const able = await capabilities();
  assert.equal(able.simd, true);
  assert.equal(able.recommended.device, 'wasm');
  assert.equal(able.threads, Math.min(availableParallelism(), 8));
  assert.ok(able.recommended.reason);
  const ids = (await models.list()).map((model) => model.id);
  assert.deepEqual(ids, ['mini', '0.6b-q8', '0.6b-q4']);
});

test('information about the model', async (t) => {
  const reranker = await open(t, { model: modelPath('q8_0.gguf') });
  const info = reranker.info();
  assert.equal(info.name, 'q8_0.gguf');
  assert.equal(info.format, 'gguf');
  assert.equal(info.quantization, 'Q8_0');
  assert.equal(info.device, 'wasm');
  for (const field of ['parameters', 'bytes', 'layers', 'hidden', 'intermediate', 'heads', 'kvHeads', 'headDim', 'vocabulary', 'contextLength']) {
    assert.ok(Number.isSafeInteger(info[field]) && info[field] > 0, field);
  }
});
