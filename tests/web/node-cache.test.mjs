// Models that are kept: whole, in parts, resumed, shared, damaged, refused. The store is a folder of the disk here.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { models, Reranker } from '../../pkg/src/node.js';
import { BLOCK, Entry } from '../../pkg/src/cache/entry.js';
import { openFiles } from '../../pkg/src/cache/files.js';
import * as platform from '../../pkg/src/platform/node.js';
import { Progress } from '../../pkg/src/progress.js';
import { patience } from '../../pkg/src/request.js';
import { Sha256 } from '../../pkg/src/sha256.js';
import { openSources } from '../../pkg/src/sources.js';
import { faultServer } from './fault-server.mjs';
import { fails, modelBytes } from './node-common.mjs';

const tiny = await modelBytes('q8_0.gguf');
const large = Buffer.concat([tiny, randomBytes(3 * BLOCK - tiny.length + 1000)]); // three blocks and a bit
const hashOf = (bytes) => createHash('sha256').update(bytes).digest('hex');
const base64Of = (bytes) => `sha256-${createHash('sha256').update(bytes).digest('base64')}`;

patience.firstWaitMs = 20;

let folder;
beforeEach(async () => {
  folder = process.env.EDGE_RERANKER_CACHE = await mkdtemp(join(tmpdir(), 'edge-reranker-cache-'));
});
afterEach(async () => {
  await chmod(folder, 0o700);
  await rm(folder, { recursive: true, force: true });
});

async function serving(t, bytes, behave) {
  const server = await faultServer(bytes, behave);
  t.after(server.close);
  return { ...server, model: `${server.url}/model.gguf` };
}

// Loads, ranks and unloads; gives what was served meanwhile, the warnings and the events.
async function visit(server, options = {}) {
  server.reset?.();
  const events = [];
  const reranker = await Reranker.load({ model: server.model, onProgress: (event) => events.push(event), ...options });
  const { results } = await reranker.rerank('q', ['a', 'b']);
  assert.equal(results.length, 2);
  const { warnings } = reranker.info();
  await reranker.unload();
  return { warnings, events, bytes: server.served?.bytes };
}

const gets = ({ served }) => served.requests.filter((one) => one.method === 'GET');
const entryOf = async (address) => Entry.open(await openFiles(), address);

const folders = async () => (await readdir(join(folder, 'models'))).filter((name) => name.startsWith('f') && !name.endsWith('.lock'));

async function storedBytes(address) {
  const entry = await entryOf(address);
  return Buffer.concat(await Promise.all(Array.from({ length: entry.count }, (_, index) => entry.get(index, 0, entry.lengthOf(index)))));
}

// The file as an engine reads it that streams it.
async function streamed(t, { model }) {
  const spec = { kind: 'address', name: 'model.gguf', url: model };
  const { files, close } = await openSources([spec], { platform, fetch, cache: 'auto', progress: new Progress(), streaming: true });
  t.after(close);
  await files[0].done();
  return files[0];
}

// Starts a download and ends it when a block is stored.
async function partly({ model }, start) {
  const controller = new AbortController();
  const loading = start(controller.signal);
  loading.catch(() => {}); // heard below
  await until(async () => (await entryOf(model)).blocks.size > 0);
  controller.abort();
  await fails(loading, 'aborted');
}

async function until(condition) {
  for (const late = Date.now() + 20_000; !(await condition()); ) {
    assert.ok(Date.now() < late, 'it never happened');
    await new Promise((done) => setTimeout(done, 20));
  }
}

test('a model is fetched once, and read from the disk from then on', async (t) => {
  const server = await serving(t, large);
  const first = await visit(server);
  assert.equal(first.bytes, large.length);
  assert.ok(server.served.most <= 4, `${server.served.most} requests at once`);
  assert.deepEqual(first.warnings, []);
  assert.ok(first.events.every((event) => event.status === 'ready' || event.fromCache === false));
  const second = await visit(server);
  assert.deepEqual([second.bytes, gets(server).length], [0, 0]);
  assert.equal(second.events.find((event) => event.status === 'done').fromCache, true);
  assert.equal(await models.isCached(server.model), true);
  await server.close();
  await visit(server); // without a network
});

test('with none nothing is kept', async (t) => {
  const server = await serving(t, tiny);
  await visit(server, { cache: 'none' });
  assert.deepEqual(await readdir(folder), []);
  await visit(server, { cache: 'none' });
  assert.equal(gets(server).length, 1);
  await fails(Reranker.load({ model: server.model, cache: 'opfs' }), 'unsupported', /one of browsers/);
});

test('a file that changed on its server is fetched anew', async (t) => {
  let file = { etag: '"one"' };
  const server = await serving(t, large, () => file);
  await visit(server);
  const bytes = Buffer.concat([tiny, randomBytes(1000)]);
  file = { bytes, etag: '"two"' };
  assert.equal((await visit(server)).bytes, bytes.length);
  assert.equal((await visit(server)).bytes, 0);
});

const LOADER = fileURLToPath(new URL('./node-cache-load.mjs', import.meta.url));
const start = (model, where = 'thread') => spawn(process.execPath, [LOADER, model, where], { stdio: ['ignore', 'inherit', 'inherit'] });
const ended = (child) => new Promise((done) => child.once('exit', (code, signal) => done({ code, signal })));

for (const where of ['thread', 'worker']) {
  test(`a process that is killed leaves a part, which the next one completes (${where})`, async (t) => {
    let held = true;
    const server = await serving(t, large, ({ start }) => (held && start >= 2 * BLOCK ? { stall: 0 } : {}));
    const child = start(server.model, where);
    await until(async () => (await entryOf(server.model)).blocks.size >= 2);
    child.kill('SIGKILL');
    await ended(child);
    const part = await entryOf(server.model);
    assert.deepEqual([part.whole, part.bytes], [false, 2 * BLOCK]);
    assert.equal(await models.isCached(server.model), false);
    assert.deepEqual((await models.usage()).models.map((one) => [one.partial, one.bytes]), [[true, part.bytes]]);
    held = false;
    await until(() => server.served.running === 0);
    const { bytes, events } = await visit(server);
    assert.equal(bytes, large.length - 2 * BLOCK);
    assert.equal(events.find((event) => event.status === 'download').loaded, part.bytes);
    assert.equal((await visit(server)).bytes, 0);
  });
}

test('a part of a file that changed is not gone on with', async (t) => {
  let act = { etag: '"one"', stall: 0 };
  const server = await serving(t, large, ({ start }) => (start >= BLOCK ? act : { ...act, stall: undefined }));
  await partly(server, (signal) => Reranker.load({ model: server.model, signal }));
  assert.ok((await entryOf(server.model)).blocks.size > 0);
  act = { etag: '"two"' };
  assert.ok((await visit(server)).bytes >= large.length);
  await models.delete(server.model);
  act = { stall: 0 };
  await partly(server, (signal) => Reranker.load({ model: server.model, signal }));
  act = { bytes: Buffer.concat([tiny, randomBytes(100)]) };
  assert.equal((await visit(server)).bytes, act.bytes.length);
});

for (const [what, ...tags] of [['weak tags', 'W/"one"', 'W/"two"'], ['no tags and no dates', '', '']]) {
  test(`a part is never mixed with another file of its length: ${what}`, async (t) => {
    const other = Buffer.concat([tiny, randomBytes(large.length - tiny.length)]);
    let act = { etag: tags[0], stall: 0 };
    const server = await serving(t, large, ({ start }) => (start >= BLOCK ? act : { ...act, stall: undefined }));
    await partly(server, (signal) => models.download(server.model, { signal }));
    act = { etag: tags[1], bytes: other };
    const events = [];
    await models.download(server.model, { onProgress: (event) => events.push(event) });
    assert.equal(events.find((event) => event.status === 'download').loaded, 0);
    assert.ok(other.equals(await storedBytes(server.model)));
  });
}

test('with a hash a part is gone on with where there are no tags and no dates', async (t) => {
  let act = { etag: '', stall: 0 };
  const server = await serving(t, large, ({ start }) => (start >= BLOCK ? act : { ...act, stall: undefined }));
  const integrity = { 'model.gguf': hashOf(large) };
  await partly(server, (signal) => models.download(server.model, { signal, integrity }));
  act = { etag: '' };
  server.reset();
  await models.download(server.model, { integrity });
  assert.equal(server.served.bytes, large.length - BLOCK);
});

test('who reads the old file does not remove the new one', async (t) => {
  let act = { etag: '"one"' };
  const server = await serving(t, large, () => act);
  await models.download(server.model);
  const reader = await streamed(t, server);
  const other = Buffer.concat([tiny, randomBytes(large.length - tiny.length)]);
  act = { etag: '"two"', bytes: other };
  await models.download(server.model);
  for (let round = 0; round < 2; round++) await fails(reader.read(BLOCK, 2 * BLOCK), 'download', /another one by now.*Load again/);
  assert.equal(await models.isCached(server.model), true);
  assert.ok(other.equals(await storedBytes(server.model)));
});

test('a lost block is not replaced by one of another file, though tags are missing', async (t) => {
  let act = { etag: '' };
  const server = await serving(t, large, () => act);
  await models.download(server.model);
  const reader = await streamed(t, server);
  const { key, blocks } = await entryOf(server.model);
  await rm(join(folder, 'models', key, blocks.get(1)));
  act = { etag: '', bytes: randomBytes(large.length) };
  await fails(reader.read(BLOCK, 2 * BLOCK), 'download', /another one by now/);
  assert.equal(await models.isCached(server.model), false);
});

for (const stored of [true, false]) {
  test(`a model that is deleted while it is streamed stays deleted, and is read on (stored before: ${stored})`, async (t) => {
    const server = await serving(t, large);
    if (stored) await models.download(server.model);
    const reader = await streamed(t, server);
    await until(() => models.isCached(server.model));
    await until(async () => !(await readdir(join(folder, 'models'))).some((name) => name.endsWith('.lock')));
    assert.equal(await models.delete(server.model), true);
    for (let at = 0; at < large.length; at += BLOCK) assert.ok(large.subarray(at, at + BLOCK).equals(await reader.read(at, Math.min(at + BLOCK, large.length))));
    assert.deepEqual([await folders(), (await models.usage()).models], [[], []]);
  });
}

test('an abort ends a download whose fetch does not hear of it', async (t) => {
  const server = await serving(t, large, ({ start }) => (start >= BLOCK ? { stall: 0 } : {}));
  const deaf = (url, { signal, ...init }) => fetch(url, init);
  await partly(server, (signal) => models.download(server.model, { signal, fetch: deaf }));
  assert.equal(await models.delete(server.model), true);
  assert.deepEqual(await folders(), []);
});

test('what a write that was cut short has left is removed by the next download', async (t) => {
  let held = true;
  const server = await serving(t, large, ({ start }) => (held && start >= BLOCK ? { stall: 0 } : {}));
  await partly(server, (signal) => models.download(server.model, { signal }));
  held = false;
  const { key } = await entryOf(server.model);
  await writeFile(join(folder, 'models', key, `.1-${BLOCK}-0123456789abcdef.77.3`), randomBytes(1000));
  await models.download(server.model);
  assert.equal((await readdir(join(folder, 'models', key))).length, 5); // four blocks and the journal
});

test('files of the hub are of the commit that its listing names', async (t) => {
  const commits = ['1'.repeat(40), '2'.repeat(40), '3'.repeat(40)];
  let [sha] = commits;
  let sha256 = hashOf(large);
  let held = true;
  const json = () => ({ sha, siblings: [{ rfilename: 'model.gguf', lfs: { sha256 } }] });
  const server = await serving(t, large, ({ path, start }) => (path.startsWith('/api/') ? { json: json() } : held && start >= BLOCK ? { stall: 0 } : {}));
  const options = { remoteHost: server.url };
  const addressAt = (commit) => `${server.url}/own/name/resolve/${commit}/model.gguf`;
  await partly({ model: addressAt(sha) }, (signal) => models.download('own/name', { ...options, signal }));
  held = false;
  [, sha] = commits; // with the same file
  server.reset();
  await models.download('own/name', { ...options, integrity: { [addressAt('main')]: sha256 } });
  assert.equal(server.served.bytes, large.length - BLOCK);
  assert.equal((await folders()).length, 1);
  [, , sha] = commits;
  const other = randomBytes(1000);
  sha256 = hashOf(other);
  const before = await entryOf(addressAt(commits[0]));
  await before.begin({ address: addressAt(commits[0]), name: 'model.gguf', size: large.length });
  const next = await faultServer(other, ({ path }) => (path.startsWith('/api/') ? { json: json() } : {}));
  t.after(next.close);
  const through = (url, init) => fetch(String(url).replace(server.url, next.url), init);
  await models.download('own/name', { ...options, fetch: through });
  assert.equal((await entryOf(addressAt(sha))).whole, true);
  assert.deepEqual((await models.usage()).models.map((one) => one.bytes), [1000]); // the old commit's part is gone
  assert.equal((await folders()).length, 1);
});

test('two processes fetch a model once; when the first dies, the second goes on', async (t) => {
  let held = false;
  const server = await serving(t, large, ({ start }) => (held && start >= BLOCK ? { stall: 0 } : {}));
  const both = [start(server.model), start(server.model)];
  for (const { code } of await Promise.all(both.map(ended))) assert.equal(code, 0);
  assert.equal(server.served.bytes, large.length);
  await models.delete(server.model);
  server.reset();
  held = true;
  const first = start(server.model);
  await until(async () => (await entryOf(server.model)).blocks.size >= 1);
  const second = start(server.model);
  await new Promise((done) => setTimeout(done, 400));
  first.kill('SIGKILL');
  held = false;
  server.reset(); // before the second one asks: what is stalled has sent nothing
  assert.equal((await ended(second)).code, 0);
  assert.equal(server.served.bytes, large.length - BLOCK);
});

test('two loads at once in one thread fetch a model once', async (t) => {
  const server = await serving(t, large);
  await Promise.all([visit(server), visit({ model: server.model })]);
  assert.equal(server.served.bytes, large.length);
});

test('who waits for another one hears of the progress, and can leave', async (t) => {
  const server = await serving(t, large, ({ start }) => (start >= 2 * BLOCK ? { stall: 0 } : {}));
  const first = new AbortController();
  const loading = Reranker.load({ model: server.model, signal: first.signal });
  await until(async () => (await entryOf(server.model)).blocks.size === 2);
  const second = new AbortController();
  const onProgress = ({ status, loaded }) => status === 'progress' && loaded === 2 * BLOCK && second.abort();
  await fails(Reranker.load({ model: server.model, signal: second.signal, onProgress }), 'aborted');
  await fails(models.delete(server.model), 'unsupported', /being downloaded/);
  first.abort();
  await fails(loading, 'aborted');
  await models.delete(server.model);
});

test('what is no model is not kept', async (t) => {
  let act = { bytes: Buffer.from('<html>Log in to this network</html>'), noRange: true };
  const server = await serving(t, tiny, ({ path }) => (path.startsWith('/api/') ? { status: 404 } : act));
  const load = () => Reranker.load({ model: 'own/name/model.gguf', remoteHost: server.url });
  await fails(load(), 'bad-model');
  await fails(load(), 'bad-model');
  act = {};
  await (await load()).unload();
  assert.equal(await models.isCached('own/name/model.gguf', { remoteHost: server.url }), true);
});

test('a lock whose holder is gone, or silent, is taken over', async (t) => {
  const server = await serving(t, tiny);
  const { key } = await entryOf(server.model);
  const lock = join(folder, 'models', `${key}.lock`);
  await writeFile(lock, JSON.stringify({ pid: 2 ** 22 + 1, host: (await import('node:os')).hostname(), id: 'x' }));
  await visit(server);
  await models.delete(server.model);
  await writeFile(lock, 'of another machine');
  await utimes(lock, new Date(0), new Date(0));
  await visit(server);
});

test('hashes: right, wrong, of nothing', async (t) => {
  const server = await serving(t, large);
  const name = 'model.gguf';
  for (const cache of ['none', 'auto']) {
    for (const hash of [hashOf(large), base64Of(large)]) await visit(server, { cache, integrity: { [name]: hash } });
    await visit(server, { cache, integrity: { [server.model]: hashOf(large).toUpperCase() } });
    const error = await fails(visit(server, { cache, integrity: { [name]: hashOf(tiny) } }), 'integrity', /model\.gguf/);
    assert.ok(error.message.includes(hashOf(tiny)) && error.message.includes(hashOf(large)));
    await fails(visit(server, { cache, integrity: { 'other.gguf': hashOf(large) } }), 'bad-input', /'other\.gguf'.*model\.gguf/);
  }
  assert.deepEqual((await models.usage()).models, []);
  for (const bad of ['md5-x', 'abc', 5, '']) await fails(Reranker.load({ integrity: { 'mini.gguf': bad } }), 'bad-input', /integrity\['mini\.gguf'\]/);
  await fails(Reranker.load({ model: tiny, integrity: { 'model.gguf': hashOf(large) } }), 'integrity');
  await visit({ model: tiny }, { integrity: { 'model.gguf': hashOf(tiny) } });
});

test('what is stored without a hash is hashed when one is asked for', async (t) => {
  const server = await serving(t, large);
  await visit(server);
  const { bytes, events } = await visit(server, { integrity: { 'model.gguf': hashOf(large) } });
  assert.equal(bytes, 0);
  assert.ok(events.some((event) => event.status === 'verify' && event.loaded === large.length));
  await fails(visit(server, { integrity: { 'model.gguf': hashOf(tiny) } }), 'integrity');
  assert.equal(await models.isCached(server.model), false);
});

test('a damaged block is fetched anew; a damaged journal drops the file', async (t) => {
  const server = await serving(t, large);
  await visit(server);
  const { key, blocks } = await entryOf(server.model);
  const at = (name) => join(folder, 'models', key, name);
  const spoil = async (index, change) => writeFile(at(blocks.get(index)), change(await readFile(at(blocks.get(index)))));
  await spoil(0, (bytes) => bytes.fill(1, 100, 200));
  assert.equal((await visit(server)).bytes, BLOCK + 1);
  await spoil(0, (bytes) => bytes.subarray(0, 1000));
  assert.equal((await visit(server)).bytes, BLOCK + 1);
  await rm(at(blocks.get(1)));
  assert.equal((await visit(server)).bytes, BLOCK);
  await spoil(0, (bytes) => bytes.fill(1, 100, 200));
  assert.equal((await visit(server, { integrity: { 'model.gguf': hashOf(large) } })).bytes, BLOCK);
  await writeFile(at('journal.json'), '{"version":1,"wh');
  assert.equal((await visit(server)).bytes, large.length);
  assert.equal((await visit(server)).bytes, 0);
});

test('a folder that cannot be written: the load goes on, a download says so', async (t) => {
  const server = await serving(t, large);
  process.env.EDGE_RERANKER_CACHE = join(folder, 'file');
  await writeFile(join(folder, 'file'), '');
  const { warnings } = await visit(server);
  assert.match(warnings.join(), /not kept for later loads/);
  await fails(models.download(server.model), 'unsupported', /cannot be stored/);
  process.env.EDGE_RERANKER_CACHE = folder;
});

test('servers with faults', async (t) => {
  const { stallMs } = patience;
  t.after(() => (patience.stallMs = stallMs));
  patience.stallMs = 400;
  const once = (act) => (request) => (request.number === 2 ? act : {});
  const faults = {
    stalls: once({ stall: 100_000 }),
    breaks: once({ breakAfter: 3_000_000 }),
    'ends too early': once({ short: 5000 }),
    'is busy': (request) => (request.number === 2 ? { status: 429, headers: { 'Retry-After': '0' } } : request.number === 3 ? { status: 500 } : {}),
    'knows no ranges': () => ({ noRange: true }),
    'knows no ranges and breaks': (request) => ({ noRange: true, breakAfter: request.number === 1 ? 12_000_000 : undefined }),
    'tells no length': () => ({ noRange: true, noLength: true }),
  };
  for (const [name, behave] of Object.entries(faults)) {
    const server = await serving(t, large, behave);
    const { warnings } = await visit(server, { integrity: { 'model.gguf': hashOf(large) } });
    assert.deepEqual(warnings, [], name);
    assert.equal((await visit(server)).bytes, 0, name);
  }
  const refused = {
    'sends another part': [once({ shift: 10 }), /another part/],
    'sends too much': [once({ extra: 10 }), /more than was asked for/],
    'forgets ranges': [once({ noRange: true }), /answered 200/],
    'changes the file': [once({ etag: '"two"' }), /changed while it was read/],
    'loses the file': [once({ status: 404 }), /404.*Check the address/],
    'refuses the range': [once({ status: 416 }), /416/],
    'is broken': [(request) => (request.number > 1 ? { status: 500 } : {}), /500.*4 times/],
    'stalls for good': [(request) => (request.number > 1 ? { stall: 0 } : {}), /nothing arrived.*4 times/],
  };
  for (const [name, [behave, words]] of Object.entries(refused)) {
    let act = behave;
    const server = await serving(t, large, (request) => act(request));
    await fails(visit(server), 'download', words);
    assert.equal(await models.isCached(server.model), false, name);
    act = () => ({});
    await visit(server, { integrity: { 'model.gguf': hashOf(large) } });
  }
});

test('models: download, usage, delete, list; an abort is resumed', async (t) => {
  let held = true;
  const server = await serving(t, large, ({ start }) => (held && start >= BLOCK ? { stall: 0 } : {}));
  await partly(server, (signal) => models.download(server.model, { signal }));
  const kept = (await entryOf(server.model)).bytes;
  assert.equal(kept, BLOCK);
  held = false;
  await until(() => server.served.running === 0);
  server.reset();
  const events = [];
  await models.download(server.model, { onProgress: (event) => events.push(event), integrity: { 'model.gguf': hashOf(large) } });
  assert.equal(server.served.bytes, large.length - kept);
  assert.deepEqual([...new Set(events.map((event) => event.status))].sort(), ['done', 'download', 'initiate', 'progress', 'verify']);
  const done = events.find((event) => event.status === 'done');
  assert.deepEqual([done.loaded, done.total, done.progress, done.etaMs ?? 0], [large.length, large.length, 100, 0]);
  const usage = await models.usage();
  assert.ok(usage.quota > 0);
  assert.deepEqual([usage.bytes, usage.models], [large.length, [{ id: server.model, files: ['model.gguf'], bytes: large.length, partial: false }]]);
  assert.equal((await visit(server)).bytes, 0);
  assert.equal(await models.delete(server.model), true);
  assert.equal(await models.delete(server.model), false);
  assert.deepEqual([await models.isCached(server.model), (await models.usage()).models], [false, []]);
  assert.equal(await models.isCached('mini'), true);
  assert.equal(await models.persist(), true);
  await fails(models.download(''), 'bad-input');
  await fails(models.isCached(5), 'bad-input');
  const mine = new Error('mine');
  const thrown = await fails(models.download(server.model, { onProgress: () => { throw mine; } }), 'aborted');
  assert.equal(thrown.cause, mine);
});

test("a model of the hub: by its listing's hash, by its ids, without the network", async (t) => {
  const path = '/ggml-org/Qwen3-Reranker-0.6B-Q8_0-GGUF/resolve/main/qwen3-reranker-0.6b-q8_0.gguf';
  let sha256 = hashOf(tiny);
  const siblings = () => [{ rfilename: 'qwen3-reranker-0.6b-q8_0.gguf', lfs: { sha256, size: tiny.length } }];
  const server = await serving(t, tiny, ({ path: asked }) => (asked.startsWith('/api/') ? { json: { siblings: siblings() } } : [path, '/own/name/resolve/v1/qwen3-reranker-0.6b-q8_0.gguf'].includes(asked) ? {} : { status: 404 }));
  const options = { remoteHost: server.url };
  const load = async () => (await Reranker.load({ model: '0.6b-q8', ...options })).unload();
  sha256 = hashOf(large);
  await fails(load(), 'integrity');
  sha256 = hashOf(tiny);
  await load();
  assert.equal(await models.isCached('0.6b-q8', options), true);
  assert.equal(await models.isCached('0.6b-q8', { ...options, revision: 'other' }), false);
  assert.equal(await models.isCached('0.6b-q8'), false);
  assert.equal((await entryOf(server.url + path)).journal.sha256, sha256);
  await models.download('own/name/qwen3-reranker-0.6b-q8_0.gguf', { ...options, revision: 'v1' });
  await server.close();
  await load();
  const list = await models.list();
  assert.deepEqual(list.map((one) => [one.id, one.cached]), [['mini', true], ['0.6b-q8', false], ['0.6b-q4', false]]);
  const named = (await models.usage()).models;
  assert.deepEqual(named.map((one) => [one.id, one.remoteHost]).sort(), [['0.6b-q8', server.url], ['own/name@v1/qwen3-reranker-0.6b-q8_0.gguf', server.url]]);
  for (const { id, remoteHost } of named) assert.equal(await models.delete(id, { remoteHost }), true);
  assert.deepEqual((await models.usage()).models, []);
  await fails(load(), 'download');
});

test('old parts are cleared away when a download begins, and nothing else', async (t) => {
  let held = true;
  const server = await serving(t, large, ({ start }) => (held && start >= BLOCK ? { stall: 0 } : {}));
  await partly(server, (signal) => Reranker.load({ model: server.model, signal }));
  held = false;
  const { key, journal } = await entryOf(server.model);
  const other = { model: `${server.url}/other.gguf` };
  await visit(other);
  assert.ok((await entryOf(server.model)).journal, 'a young part stays');
  await writeFile(join(folder, 'models', key, 'journal.json'), JSON.stringify({ ...journal, at: Date.now() - 31 * 24 * 3600 * 1000 }));
  await models.delete(other.model);
  await visit(other);
  assert.equal((await entryOf(server.model)).journal, null);
  assert.equal(await models.isCached(other.model), true);
});

test('SHA-256 in pieces is that of the whole', () => {
  const bytes = randomBytes(100_000);
  for (let round = 0; round < 300; round++) {
    const length = round < 130 ? round : Math.floor(Math.random() * bytes.length);
    const hash = new Sha256();
    for (let at = 0; at < length; ) {
      const end = Math.min(length, at + Math.floor(Math.random() * (round % 3 ? 200 : 5000)));
      hash.update(bytes.subarray(at, end));
      at = end;
    }
    assert.equal(hash.digest(), hashOf(bytes.subarray(0, length)), `${length} bytes`);
  }
});
