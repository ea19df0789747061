// Models that come over HTTP: with and without Range, broken off, changed half way, refused; and the hub's ids.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { Reranker } from '../../pkg/src/node.js';
import { openPlain } from '../../pkg/src/http-plain.js';
import { parseId } from '../../pkg/src/hub.js';
import { readAhead, RESIDENT } from '../../pkg/src/read-ahead.js';
import { badServer } from './node-server.mjs';
import { fails, modelBytes, open } from './node-common.mjs';

const SIZE = 20_000_003; // three blocks, the last one short
const random = randomBytes(SIZE);
const tiny = await modelBytes('tiny-f32.gguf');

async function server(t, bytes, behave) {
  const one = await badServer(bytes, behave);
  t.after(one.close);
  return one;
}

const meter = { start() {}, add() {}, done() {} };
async function file(url) {
  const context = { fetch, platform: { requestInit: {} } };
  return readAhead(await openPlain({ name: 'model.gguf', url: `${url}/model.gguf` }, context, { meter, first: RESIDENT.block }), RESIDENT);
}

async function sameBytes(opened) {
  assert.equal(opened.size, SIZE);
  const places = [[0, 4], [SIZE - 5, SIZE], [0, SIZE], [8_388_600, 8_388_620], [8_388_608, 16_777_216], [5, 5], [SIZE, SIZE]];
  const parts = await Promise.all(places.map(([start, end]) => opened.read(start, end)));
  for (const [at, [start, end]] of places.entries()) assert.ok(random.subarray(start, end).equals(parts[at]), `${start} to ${end}`);
  opened.close();
}

test('a file is read in blocks, not read by read', async (t) => {
  const { url, log } = await server(t, random);
  const opened = await file(url);
  for (let at = 0; at + 10_000 < SIZE; at += 10_000) await opened.read(at, at + 10_000);
  assert.equal(log.length, 3, log.join('\n'));
  await sameBytes(opened);
});

test('a server without Range sends the file once', async (t) => {
  const { url, log } = await server(t, random, () => ({ noRange: true }));
  await sameBytes(await file(url));
  assert.equal(log.length, 1);
});

test('a connection that breaks off is taken up where it ended', async (t) => {
  const { url, log } = await server(t, random, (n) => (n <= 2 ? { breakAfter: 3_000_000 } : {}));
  await sameBytes(await file(url));
  assert.ok(log.some((line) => /bytes=[1-9]\d*-8388607/.test(line)), log.join('\n'));
});

test('without Range a broken download starts again', async (t) => {
  const { url, log } = await server(t, random, (n) => ({ noRange: true, breakAfter: n === 1 ? 1000 : undefined }));
  await sameBytes(await file(url));
  assert.equal(log.length, 2);
});

test('a busy server is asked again', async (t) => {
  const { url } = await server(t, random, (n) => (n % 2 ? { status: n % 4 === 1 ? 503 : 429 } : {}));
  await sameBytes(await file(url));
});

test('a hidden Content-Range is replaced by Content-Length', async (t) => {
  const { url, log } = await server(t, random, () => ({ hideRange: true }));
  await sameBytes(await file(url));
  assert.ok(log[1].startsWith('HEAD'));
});

test('a file that changes half way is refused', async (t) => {
  const tag = await server(t, random, (n) => ({ etag: n > 1 ? '"two"' : '"one"' }));
  await fails(file(tag.url).then((opened) => opened.read(0, SIZE)), 'download', /changed while it was read/);
  const size = await server(t, random, (n) => (n > 1 ? { bytes: random.subarray(0, SIZE - 1) } : {}));
  await fails(file(size.url).then((opened) => opened.read(0, SIZE)), 'download', /changed while it was read/);
  const whole = await server(t, random, (n) => ({ noRange: n > 1 }));
  await fails(file(whole.url).then((opened) => opened.read(0, SIZE)), 'download', /answered 200/);
});

test('errors name the address, the answer and what to do', async (t) => {
  for (const [status, words] of [[404, /Check the address/], [401, /Authorization/], [403, /Authorization/], [410, /gone/]]) {
    const { url, log } = await server(t, tiny, () => ({ status }));
    const error = await fails(Reranker.load({ model: `${url}/model.gguf` }), 'download', words);
    assert.ok(error.message.includes(`${url}/model.gguf`) && error.message.includes(String(status)));
    assert.equal(log.length, 1, 'not asked again');
  }
  const dead = await server(t, tiny, () => ({ status: 500 }));
  await fails(Reranker.load({ model: `${dead.url}/model.gguf` }), 'download', /500.*4 times/);
  await dead.close();
  await fails(Reranker.load({ model: `${dead.url}/model.gguf` }), 'download', /network failed/);
});

for (const worker of [false, true]) {
  const where = worker ? 'in a worker' : 'in this thread';

  test(`a model loads from an address, ${where}`, async (t) => {
    for (const noRange of [false, true]) {
      const { url } = await server(t, tiny, () => ({ noRange }));
      const events = [];
      const reranker = await open(t, { model: `${url}/model.gguf`, worker, onProgress: (event) => events.push(event) });
      assert.equal((await reranker.rerank('q', ['a', 'b'])).results.length, 2);
      assert.equal(events[0].status, 'initiate');
      assert.equal(events.at(-1).status, 'ready');
      const done = events.find((event) => event.status === 'done');
      assert.deepEqual([done.file, done.loaded, done.total, done.progress], ['model.gguf', tiny.length, tiny.length, 100]);
    }
  });

  test(`an own fetch is used, ${where}`, async (t) => {
    const { url } = await server(t, tiny, (n, request) => (request.headers.authorization === 'Bearer me' ? {} : { status: 401 }));
    const asked = [];
    const own = (address, init) => {
      asked.push(String(address));
      return fetch(address, { ...init, headers: { ...init.headers, authorization: 'Bearer me' } });
    };
    const reranker = await open(t, { model: `${url}/model.gguf`, worker, fetch: own });
    assert.equal((await reranker.rerank('q', ['a'])).results.length, 1);
    assert.deepEqual([...new Set(asked)], [`${url}/model.gguf`]);
  });

  test(`a download is aborted at once, ${where}`, async (t) => {
    const { url } = await server(t, tiny, () => ({ delayMs: 5000 }));
    const started = performance.now();
    await fails(Reranker.load({ model: `${url}/model.gguf`, worker, signal: AbortSignal.timeout(200) }), 'aborted');
    assert.ok(performance.now() - started < 1000);
  });

  test(`the hub's ids find their files, ${where}`, async (t) => {
    const listing = ['README.md', 'tiny-Q4_K_M.gguf', 'tiny-Q8_0.gguf'];
    const { url, log } = await server(t, tiny, (n, request) => (request.url.startsWith('/api/') ? { listing } : {}));
    const load = (model, more) => Reranker.load({ model, remoteHost: url, worker, cache: 'none', ...more });
    const paths = async (loading) => {
      log.length = 0;
      const reranker = await loading;
      await reranker.unload();
      return log.map((line) => line.split(' ')[1]);
    };
    assert.deepEqual(await paths(load('own/name:q8_0')), ['/api/models/own/name/revision/main?blobs=true', '/own/name/resolve/main/tiny-Q8_0.gguf']);
    assert.deepEqual(await paths(load('own/name@v1/tiny-Q4_K_M.gguf')), ['/own/name/resolve/v1/tiny-Q4_K_M.gguf']);
    assert.deepEqual(await paths(load('own/name/sub/x.gguf', { revision: 'abc' })), ['/own/name/resolve/abc/sub/x.gguf']);
    assert.deepEqual(await paths(load('0.6b-q8')), ['/ggml-org/Qwen3-Reranker-0.6B-Q8_0-GGUF/resolve/main/qwen3-reranker-0.6b-q8_0.gguf']);
    await fails(load('own/name:Q5_1'), 'bad-input', /no GGUF file of type Q5_1.*tiny-Q8_0\.gguf/);
    await fails(load('own/name'), 'bad-input', /several GGUF files/);
  });
}

test('a repository or folder of safetensors loads from its address', async (t) => {
  for (const folder of ['tiny-f32', 'odd-bf16']) {
    const names = folder === 'tiny-f32' ? ['model.safetensors'] : ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors', 'model.safetensors.index.json'];
    const listing = ['config.json', 'tokenizer.json', ...names];
    const files = Object.fromEntries(await Promise.all(listing.map(async (name) => [name, await modelBytes(`${folder}/${name}`)])));
    const behave = (n, request) => {
      if (request.url === '/api/models/own/name/revision/main') return { listing };
      const bytes = files[request.url.split('/').pop()];
      return bytes ? { bytes } : { status: 404 };
    };
    const { url } = await server(t, tiny, behave);
    const scores = [];
    for (const options of [{ model: 'own/name', remoteHost: url }, { model: `${url}/some/folder/` }]) {
      const reranker = await open(t, options);
      assert.equal(reranker.info().format, 'safetensors');
      scores.push((await reranker.score([['q', 'a']]))[0]);
    }
    assert.equal(scores[0], scores[1]);
  }
});

test('ids are told from addresses', () => {
  assert.deepEqual({ ...parseId('Qwen/Qwen3-Reranker-0.6B') }, { repo: 'Qwen/Qwen3-Reranker-0.6B', revision: undefined, quant: undefined, file: undefined });
  assert.equal(parseId('a/b@refs/pr/1:Q4_0').revision, 'refs/pr/1');
  assert.equal(parseId('a/b@v1.0/c.gguf').file, 'c.gguf');
  assert.equal(parseId('models/mini.gguf'), null);
  assert.equal(parseId('mini'), null);
  assert.equal(parseId('a b/c'), null);
});
