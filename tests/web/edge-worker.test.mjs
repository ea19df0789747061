// The example worker in the runtime of Cloudflare Workers, on this machine.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { Miniflare } from 'miniflare';
import { checkLoad } from '../../pkg/src/check.js';
import { createFetchHandler } from '../../pkg/src/server.js';
import { bundle } from './edge-bundle.mjs';
import { modelBytes, modelPath, open } from './node-common.mjs';
import { FakeReranker, fixtures, matches, requestOf } from './node-server-fake.mjs';
import { listen } from './node-server-http.mjs';

const QUERY = 'What is the capital of China?';
const DOCUMENTS = ['Bananas are yellow.', 'Beijing is the capital of China.', 'The capital of Korea is Seoul.'];
const LIMIT = 10 * 1024 * 1024; // what a worker may have, compressed

let modules;
before(async () => {
  modules = await bundle({ minify: true });
});

async function start(t, bindings, more = {}) {
  const options = { modules, compatibilityDate: '2026-03-01', compatibilityFlags: ['enable_request_signal'], bindings: { PUBLIC: 'true', CACHE: 'off', ...bindings }, ...more };
  const miniflare = new Miniflare(options);
  t.after(() => miniflare.dispose());
  const url = String(await miniflare.ready).replace(/\/$/, '');
  const ask = (body, { path = '/v1/rerank', headers, signal } = {}) =>
    fetch(`${url}${path}`, { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers }, signal });
  return { miniflare, options, url, ask };
}

// Instruction sets round inputs of 8-bit weights differently: 0.3 on a logit is the bound for all of them.
const nearLogit = (got, wanted, what) => assert.ok(Math.abs(got - wanted) < 0.3, `${what}: ${got}, wanted ${wanted}`);
const logitOf = (score) => Math.log(score / (1 - score));
function sameScores({ results }, wanted) {
  assert.equal(results.length, wanted.results.length);
  for (const { index, logit, tokens } of results) {
    const one = wanted.results.find((two) => two.index === index);
    nearLogit(logit, one.logit, `document ${index}`);
    assert.equal(tokens, one.tokens);
  }
}

test('script, module and built-in model are within 10 MB compressed', (t) => {
  const sizes = modules.map(({ path, contents }) => [path, gzipSync(contents).length]);
  const total = sizes.reduce((sum, [, size]) => sum + size, 0);
  t.diagnostic(`${sizes.map(([path, size]) => `${path} ${size}`).join(', ')}: ${total} of ${LIMIT} bytes`);
  assert.ok(total < LIMIT, `${total} bytes`);
});

test('mini: ranks as Node does, in several dialects', async (t) => {
  const { ask, url } = await start(t, {});
  const reranker = await open(t, { threads: 1 });
  const wanted = await reranker.rerank(QUERY, DOCUMENTS);
  const response = await ask({ query: QUERY, documents: DOCUMENTS });
  assert.equal(response.status, 200);
  const reply = await response.json();
  assert.equal(reply.model, 'mini');
  assert.deepEqual(reply.results.map(({ index }) => index), wanted.results.map(({ index }) => index));
  sameScores(reply, wanted);
  assert.equal(reply.usage.prompt_tokens, wanted.usage.promptTokens);
  const best = wanted.results[0];
  const tei = await (await ask({ query: QUERY, texts: DOCUMENTS }, { path: '/rerank' })).json();
  nearLogit(logitOf(tei[0].score), best.logit, 'texts');
  const vllm = await (await ask({ text_1: QUERY, text_2: DOCUMENTS }, { path: '/score' })).json();
  nearLogit(logitOf(vllm.data[best.index].score), best.logit, 'text_2');
  const cloudflare = await (await ask({ query: QUERY, contexts: DOCUMENTS.map((text) => ({ text })) }, { path: '/ai/run/@cf/baai/bge-reranker-base' })).json();
  nearLogit(logitOf(cloudflare.result.response[0].score), best.logit, 'contexts');
  const cut = await (await ask({ query: QUERY, documents: ['Beijing '.repeat(100)], max_tokens_per_doc: 10 })).json();
  assert.equal(cut.results[0].truncated, true);
  for (const path of ['/health', '/info', '/v1/models', '/metrics', '/openapi.json']) assert.equal((await fetch(`${url}${path}`)).status, 200, path);
});

test('keys, origins and limits are variables of the worker', async (t) => {
  const { ask, url } = await start(t, { PUBLIC: '', API_KEY: 'one, two', CORS_ORIGIN: 'https://a.example,https://b.example', MAX_DOCUMENTS: '3', MAX_BODY: '2000', MAX_TOKENS: '300' });
  const body = { query: QUERY, documents: DOCUMENTS };
  assert.equal((await ask(body)).status, 401);
  assert.equal((await fetch(`${url}/health`)).status, 200);
  const headers = { 'x-api-key': 'two', origin: 'https://b.example' };
  const good = await ask(body, { headers });
  assert.equal(good.status, 200);
  assert.equal(good.headers.get('access-control-allow-origin'), 'https://b.example');
  const preflight = await fetch(`${url}/v1/rerank`, { method: 'OPTIONS', headers: { origin: 'https://a.example', 'access-control-request-method': 'POST' } });
  assert.equal(preflight.headers.get('access-control-allow-origin'), 'https://a.example');
  const over = async (more) => {
    const response = await ask({ ...body, ...more }, { headers });
    assert.equal(response.status, 413);
    return (await response.json()).message;
  };
  assert.match(await over({ documents: [...DOCUMENTS, 'x'] }), /4 documents, at most 3/);
  assert.match(await over({ documents: ['x'.repeat(3000)] }), /larger than 2000 bytes/);
  assert.match(await over({ documents: ['China '.repeat(300)] }), /more than 300 tokens/);
});

test('a worker that is not set up refuses, and tells its log why', async (t) => {
  for (const bindings of [{ PUBLIC: '' }, { MODE: 'nope' }, { MODE: 'stream' }, { MODE: 'proxy' }, { MAX_DOCUMENTS: 'many' }, { MEMORY_MB: 'abc' }, { MEMORY_MB: '-1' }]) {
    const said = [];
    const { ask } = await start(t, bindings, { handleRuntimeStdio: (out, err) => err.on('data', (data) => said.push(String(data))) });
    const response = await ask({ query: QUERY, documents: DOCUMENTS });
    assert.equal(response.status, 503, JSON.stringify(bindings));
    assert.match((await response.json()).message, /not set up/);
    while (!/API_KEY|MODE|MAX_DOCUMENTS|MEMORY_MB/.test(said.join(''))) await new Promise((done) => setTimeout(done, 10));
  }
});

test('requests at once are all answered, and one whose client leaves does not hold up the rest', async (t) => {
  const { ask, url } = await start(t, { MAX_TOKENS: '1000000', MAX_DOCUMENTS: '1000' });
  const all = await Promise.all(Array.from({ length: 6 }, () => ask({ query: QUERY, documents: DOCUMENTS })));
  assert.deepEqual(all.map(({ status }) => status), [200, 200, 200, 200, 200, 200]);
  const leaver = new AbortController();
  const long = Array.from({ length: 200 }, (_, n) => `Document ${n} about ${'rivers and trains '.repeat(10)}`);
  const left = ask({ query: QUERY, documents: long }, { signal: leaver.signal });
  left.catch(() => {});
  const waiting = ask({ query: QUERY, documents: DOCUMENTS });
  await new Promise((done) => setTimeout(done, 300));
  leaver.abort();
  await assert.rejects(left, { name: 'AbortError' });
  assert.equal((await waiting).status, 200);
  assert.equal((await ask({ query: QUERY, documents: DOCUMENTS })).status, 200);
  assert.match(await (await fetch(`${url}/metrics`)).text(), /edge_reranker_busy 0/);
});

test('known scores are found in memory, and in the cache of the data centre by another isolate', async (t) => {
  const cachePersist = await mkdtemp(join(tmpdir(), 'edge-reranker-cache-'));
  const { miniflare, options, ask } = await start(t, { CACHE: 'on' }, { cachePersist });
  t.after(() => rm(cachePersist, { recursive: true, force: true }));
  const body = { query: QUERY, documents: DOCUMENTS };
  const first = await ask(body);
  assert.equal(first.headers.get('x-cache'), '0/3');
  const { results } = await first.json();
  assert.equal((await ask(body)).headers.get('x-cache'), '3/3');
  await new Promise((done) => setTimeout(done, 1000)); // scores are kept after the answer
  await miniflare.setOptions({ ...options, bindings: { ...options.bindings, MAX_DOCUMENTS: '50' } }); // begins anew
  const url = String(await miniflare.ready);
  const again = await fetch(`${url}v1/rerank`, { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } });
  assert.equal(again.headers.get('x-cache'), '3/3');
  assert.deepEqual((await again.json()).results, results);
});

test('nothing waits for a clock that stands still', async (t) => {
  const frozen = await bundle({ entry: fileURLToPath(new URL('edge-frozen-worker.js', import.meta.url)) });
  const { ask } = await start(t, {}, { modules: frozen });
  const documents = Array.from({ length: 20 }, (_, n) => `${DOCUMENTS[n % 3]} ${n}`);
  const response = await ask({ query: QUERY, documents });
  assert.equal(response.status, 200);
  assert.equal((await response.json()).results.length, 20);
});

// Whether this build reads layers when it needs them.
function streams() {
  try {
    checkLoad({ streaming: { memoryMB: 96 } });
    return true;
  } catch (error) {
    if (error.code === 'unsupported') return false;
    throw error;
  }
}

const noStreaming = streams() ? false : 'streaming is not supported by this version';

async function startStreaming(t, bindings, more) {
  const started = await start(t, { MODE: 'stream', MODEL_KEY: 'models/q8_0.gguf', ...bindings }, { r2Buckets: ['MODELS'], ...more });
  const bucket = await started.miniflare.getR2Bucket('MODELS');
  await bucket.put('models/q8_0.gguf', new Uint8Array(await modelBytes('q8_0.gguf')).buffer);
  return started;
}

test('stream: a runtime that drops requests of clients who left does not stop the line', { skip: noStreaming }, async (t) => {
  const { ask } = await startStreaming(t, { MAX_TOKENS: '1000000' }, { compatibilityFlags: [] }); // no signal: nobody hears of it
  const body = { query: QUERY, documents: DOCUMENTS };
  const long = { query: QUERY, documents: Array.from({ length: 30 }, (_, n) => `Document ${n} about rivers, trains and old towns`) };
  assert.equal((await ask(body)).status, 200);
  for (const delay of [5, 20, 60]) {
    const inside = ask(long);
    await new Promise((done) => setTimeout(done, 5));
    const leavers = [1, 2].map(() => new AbortController());
    for (const { signal } of leavers) ask(body, { signal }).catch(() => {});
    await new Promise((done) => setTimeout(done, 5));
    const patient = ask(body);
    await new Promise((done) => setTimeout(done, delay));
    for (const leaver of leavers) leaver.abort();
    assert.deepEqual([(await inside).status, (await patient).status, (await ask(body)).status], [200, 200, 200]);
  }
});

for (const [memory, skip] of [['0', false], ['96', noStreaming]]) {
  test(`stream: a model in a bucket, MEMORY_MB ${memory}`, { skip }, async (t) => {
    const { ask } = await startStreaming(t, { MEMORY_MB: memory, MAX_TOKENS: '2000' });
    const reranker = await open(t, { model: modelPath('q8_0.gguf'), threads: 1 });
    const wanted = await reranker.rerank(QUERY, DOCUMENTS);
    const body = { query: QUERY, documents: DOCUMENTS };
    const hasty = new AbortController();
    const left = ask(body, { signal: hasty.signal }); // its client leaves while it loads the model
    left.catch(() => {});
    await new Promise((done) => setTimeout(done, 50));
    hasty.abort();
    // What one request has begun the next ones go on with, each reading in its own name.
    for (const response of await Promise.all([ask(body), ask(body), ask(body)])) {
      assert.equal(response.status, 200);
      const reply = await response.json();
      assert.equal(reply.model, 'q8_0.gguf');
      sameScores(reply, wanted);
    }
    const over = await ask({ query: QUERY, documents: ['China '.repeat(2500)] });
    assert.equal(over.status, 413);
    assert.match((await over.json()).message, /more than 2000 tokens/);
    const word = 'a'.repeat(900_000);
    for (const hostile of [{ query: word, documents: DOCUMENTS }, { query: QUERY, documents: [word] }, { query: 'word '.repeat(180_000), documents: DOCUMENTS }, { text_1: DOCUMENTS.flatMap((text) => Array.from({ length: 6 }, (_, n) => text + n)), text_2: new Array(18).fill('x') }]) {
      assert.equal((await ask(hostile)).status, 413);
    }
    assert.equal((await ask(body)).status, 200);
  });
}

test('stream: a model that is not in the bucket is told to the log alone', async (t) => {
  const said = [];
  const more = { r2Buckets: ['MODELS'], handleRuntimeStdio: (out, err) => err.on('data', (data) => said.push(String(data))) };
  const { ask } = await start(t, { MODE: 'stream', MODEL_KEY: 'secret.gguf', MEMORY_MB: '0' }, more);
  const response = await ask({ query: QUERY, documents: DOCUMENTS });
  assert.equal(response.status, 503);
  assert.doesNotMatch(await response.text(), /secret/);
  while (!said.join('').includes("The bucket has no object 'secret.gguf'")) await new Promise((done) => setTimeout(done, 10));
});

test('proxy: a server behind', async (t) => {
  const reranker = new FakeReranker();
  const behind = await listen(t, createFetchHandler(reranker, { apiKey: 'behind' }));
  const { url } = await start(t, { MODE: 'proxy', PUBLIC: '', API_KEY: 'front', PROXY_URL: behind, PROXY_KEY: 'behind', MAX_BODY: '100000' });
  const [, canonical] = fixtures.find(([name]) => name === 'canonical.json');
  for (const { name, request, reply } of canonical) {
    const sent = requestOf(request);
    const response = await fetch(`${url}${request.path}`, { method: sent.method, body: await sent.text(), headers: { ...Object.fromEntries(sent.headers), 'x-api-key': 'front' } });
    assert.equal(response.status, reply.status, name);
    matches(await response.json(), reply.body);
  }
  assert.equal((await fetch(`${url}/v1/rerank`, { method: 'POST', body: '{}', headers: { 'x-api-key': 'behind' } })).status, 401);
  assert.equal((await fetch(`${url}/admin`, { method: 'DELETE', headers: { 'x-api-key': 'front' } })).status, 404);
});
