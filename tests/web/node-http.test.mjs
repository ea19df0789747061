// Models that come over HTTP: with and without Range, broken off, changed half way, refused; and the hub's ids.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { fromBucket, Reranker } from '../../pkg/src/node.js';
import { openPlain } from '../../pkg/src/http-plain.js';
import { parseId } from '../../pkg/src/hub.js';
import * as platform from '../../pkg/src/platform/node.js';
import { Progress } from '../../pkg/src/progress.js';
import { readAhead, RESIDENT } from '../../pkg/src/read-ahead.js';
import { openSources } from '../../pkg/src/sources.js';
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
    const controller = new AbortController();
    let aborted;
    const { url } = await server(t, tiny, () => {
      setTimeout(() => {
        aborted ??= performance.now();
        controller.abort();
      }, 100);
      return { delayMs: 5000 };
    });
    await fails(Reranker.load({ model: `${url}/model.gguf`, worker, signal: controller.signal }), 'aborted');
    assert.ok(performance.now() - aborted < 1000);
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

// Reads from a file of numbered bytes, noting what is asked of it.
function noted(size) {
  const asked = [];
  const bytes = Uint8Array.from({ length: size }, (_, at) => at % 251);
  const read = async (start, end) => {
    asked.push([start, end]);
    return bytes.subarray(start, end);
  };
  return { file: { name: 'a', size, read }, bytes, asked };
}

test('reads that go on are served in blocks, all others as they are asked', async () => {
  const size = 1_000_000;
  const { file, bytes, asked } = noted(size);
  const ahead = readAhead(file, { block: 100_000, ahead: 2, keep: 4 });
  const read = async (start, end) => assert.deepEqual(await ahead.read(start, end), bytes.subarray(start, end), `${start} to ${end}`);
  await read(0, 8);
  assert.deepEqual(asked.splice(0), [[0, 100_000], [100_000, 200_000], [200_000, 300_000]]);
  await read(8, 50_000);
  await read(50_100, 150_000); // over a gap
  assert.deepEqual(asked.splice(0), [[300_000, 400_000]]);
  for (const [start, end] of [[700_000, 700_050], [900_000, 900_050], [820_000, 820_050]]) await read(start, end);
  assert.deepEqual(asked.splice(0), [[700_000, 700_050], [900_000, 900_050], [820_000, 820_050]]);
  await read(150_000, 160_000); // its window is still held
  assert.deepEqual(asked.splice(0), []);
  await read(900_050, 999_999);
  await read(999_999, 1_000_000);
  assert.deepEqual(asked.splice(0), [[900_000, 1_000_000]]);
  await read(5, 5);
  await Promise.all([read(0, size), read(300_000, 300_010), read(10, 20)]);
});

test('a block that failed is asked for again', async () => {
  const { file } = noted(1000);
  let fail = true;
  const ahead = readAhead({ ...file, read: async (start, end) => (fail ? Promise.reject(new Error('no')) : file.read(start, end)) }, { block: 100, ahead: 2, keep: 4 });
  await assert.rejects(ahead.read(0, 10), /no/);
  fail = false;
  assert.equal((await ahead.read(0, 10)).length, 10);
});

const sources = (model, more) =>
  openSources([{ kind: 'address', name: 'model.gguf', url: model }], { platform, fetch, cache: 'none', progress: new Progress(), ...more });

test('files that are streamed are read until they are closed, in small windows', async (t) => {
  const { url, log } = await server(t, random);
  const controller = new AbortController();
  const { files, close } = await sources(`${url}/model.gguf`, { streaming: true, signal: controller.signal });
  const [file] = files;
  await file.read(0, 100);
  await file.done();
  controller.abort(); // of the load, which is over
  await file.read(100, 2_097_162);
  const parts = log.map((line) => Number(/bytes=(\d+)/.exec(line)[1]) / 2 ** 21).sort();
  assert.deepEqual(parts.slice(0, 2), [0, 1]);
  assert.ok(parts.length <= 5, `${parts} of 2 MB`);
  for (const [start, end] of [[12_000_000, 12_000_064], [0, 5_000_000], [SIZE - 10, SIZE]]) {
    assert.ok(random.subarray(start, end).equals(await file.read(start, end)));
  }
  assert.ok(log.some((line) => line.endsWith('bytes=12000000-12000063')));
  await close();
  await fails(file.read(7_000_000, 7_000_001), 'aborted');
});

test('what cannot be streamed is refused: no ranges and no cache, or a hash and no cache', async (t) => {
  const { url } = await server(t, tiny, () => ({ noRange: true }));
  const integrity = { 'model.gguf': createHash('sha256').update(tiny).digest('hex') };
  await fails(sources(`${url}/model.gguf`, { streaming: true }), 'download', /Range.*cache/);
  await fails(sources(`${url}/model.gguf`, { streaming: true, integrity }), 'unsupported', /integrity.*Allow a cache/);
  const { files, close, warnings } = await sources(`${url}/model.gguf`, { streaming: true, integrity, cache: 'auto' });
  await files[0].done();
  assert.ok(tiny.subarray(100, 5000).equals(await files[0].read(100, 5000)));
  assert.deepEqual(warnings, []);
  await close();
  const wrong = { 'model.gguf': '0'.repeat(64) };
  await fails(sources(`${url}/model.gguf?2`, { streaming: true, integrity: wrong, cache: 'auto' }), 'integrity');
});

test('bytes and local files are checked before they are streamed', async () => {
  const hash = createHash('sha256').update(tiny).digest('hex');
  const spec = { kind: 'bytes', name: 'model.gguf', bytes: tiny };
  const open = (integrity, more) => openSources([spec], { platform, fetch, integrity, progress: new Progress(), streaming: true, ...more });
  const { files, close } = await open({ 'model.gguf': hash });
  await files[0].done();
  assert.ok(tiny.equals(await files[0].read(0, tiny.length)));
  await close();
  await fails(open({ 'model.gguf': '0'.repeat(64) }), 'integrity');
  await fails(open({ 'model.gguf': hash, 'tokenizer.json': hash }), 'bad-input', /'tokenizer\.json'/);
});

test('a stream is stored meanwhile, and its file checked before it is used where a hash is given', async (t) => {
  const { url, log } = await server(t, random);
  const integrity = { 'model.gguf': createHash('sha256').update(random).digest('hex') };
  const open = async (more) => {
    const { files, close } = await sources(`${url}/model.gguf`, { streaming: true, cache: 'auto', ...more });
    await files[0].done();
    assert.ok(random.equals(await files[0].read(0, SIZE)));
    await close();
  };
  await open({ integrity });
  const asked = log.length;
  await open({});
  assert.equal(log.slice(asked).filter((line) => line.startsWith('GET')).length, 0);
});

test('a model in a bucket is read by ranges, again after a failure', async (t) => {
  let failures = 3;
  const gets = [];
  const bucket = {
    head: async (key) => (key === 'models/tiny.gguf' ? { size: tiny.length, etag: 'one' } : null),
    async get(key, { range: { offset, length } }) {
      if (failures-- > 0) throw new Error('internal error');
      gets.push(length);
      const bytes = Uint8Array.from(tiny.subarray(offset, offset + length));
      return { etag: 'one', arrayBuffer: async () => bytes.buffer };
    },
  };
  const model = await fromBucket(bucket, 'models/tiny.gguf');
  assert.deepEqual([model.name, model.size], ['tiny.gguf', tiny.length]);
  const reranker = await open(t, { model });
  assert.equal((await reranker.rerank('q', ['a'])).results.length, 1);
  assert.ok(gets.length > 3);
  failures = Infinity;
  await fails(model.read(0, 10), 'download', /tiny\.gguf.*4 times.*internal error/);
  await fails(fromBucket(bucket, 'nothing'), 'download', /no object 'nothing'/);
  await fails(fromBucket({}, 'a'), 'bad-input', /binding/);
  await fails(fromBucket(bucket, ''), 'bad-input');
  const changing = await fromBucket({ ...bucket, get: async () => ({ etag: 'two' }) }, 'models/tiny.gguf');
  await fails(changing.read(0, 10), 'download', /changed/);
});

test('progress: the speed is that of the last seconds, and what comes after the end is no news', (t) => {
  let clock = 0;
  t.mock.method(performance, 'now', () => clock);
  const events = [];
  const meter = new Progress((event) => events.push(event), 'a model').file('a.gguf');
  meter.start(10_000, { here: 1000 });
  const step = (bytes) => {
    clock += 1000;
    meter.add(bytes);
  };
  for (let second = 0; second < 10; second++) step(100);
  assert.ok(Math.abs(events.at(-1).bytesPerSecond - 100) < 1);
  for (let second = 0; second < 5; second++) step(1000);
  const { loaded, total, progress, bytesPerSecond, etaMs } = events.at(-1);
  assert.deepEqual([loaded, total, progress], [7000, 10_000, 70]);
  assert.ok(Math.abs(bytesPerSecond - 1000) < 1 && Math.abs(etaMs - 3000) < 10, `${bytesPerSecond} ${etaMs}`);
  meter.verify(10_000);
  meter.done(10_000);
  const count = events.length;
  step(5000);
  meter.done(10_000);
  assert.equal(events.length, count);
  assert.deepEqual([...new Set(events.map((event) => event.status))], ['initiate', 'download', 'progress', 'verify', 'done']);
});

test('progress: without a length there is no end to tell', (t) => {
  let clock = 0;
  t.mock.method(performance, 'now', () => clock);
  const events = [];
  const meter = new Progress((event) => events.push(event), 'a model').file('a.gguf');
  meter.start(0);
  clock = 1000;
  meter.add(5000);
  const { status, loaded, bytesPerSecond, etaMs } = events.at(-1);
  assert.deepEqual([status, loaded, bytesPerSecond, etaMs], ['progress', 5000, 5000, null]);
});

test('ids are told from addresses', () => {
  assert.deepEqual({ ...parseId('Qwen/Qwen3-Reranker-0.6B') }, { repo: 'Qwen/Qwen3-Reranker-0.6B', revision: undefined, quant: undefined, file: undefined });
  assert.equal(parseId('a/b@refs/pr/1:Q4_0').revision, 'refs/pr/1');
  assert.equal(parseId('a/b@v1.0/c.gguf').file, 'c.gguf');
  assert.equal(parseId('models/mini.gguf'), null);
  assert.equal(parseId('mini'), null);
  assert.equal(parseId('a b/c'), null);
});
