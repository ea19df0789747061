// The cache in Chromium: the private file system from a worker and from the page, the Cache API; pages that close half way, two tabs at
// once, a full disk, a damaged block, no storage at all.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { faultServer } from './fault-server.mjs';
import { launchWith } from './package-chromium.mjs';
import { serve } from './serve.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src *; worker-src 'self'; base-uri 'none'";
const BLOCK = 8 << 20;
const tiny = await readFile(here('../golden/q8_0.gguf'));
const large = Buffer.concat([tiny, randomBytes(3 * BLOCK - tiny.length + 1000)]);
const hashOf = (bytes) => createHash('sha256').update(bytes).digest('hex');

let browser;
let root;
let site;

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'edge-reranker-'));
  // Under another name than localhost the page comes over an insecure connection, where browsers offer no storage.
  browser = await launchWith(['--disable-gpu', '--host-resolver-rules=MAP insecure.test 127.0.0.1']);
  await cp(here('../../pkg/src'), join(root, 'edge-reranker/src'), { recursive: true });
  await cp(here('../../pkg/dist'), join(root, 'edge-reranker/dist'), { recursive: true });
  await writeFile(join(root, 'index.html'), `<!doctype html><meta http-equiv="Content-Security-Policy" content="${POLICY}"><title>A page</title>`);
  site = await serve({ root });
});

after(async () => {
  await browser?.close();
  await site?.close();
  await rm(root, { recursive: true, force: true });
});

// A site of its own for one test: what it stores goes with it.
async function newSite(t, address = site.url) {
  const context = await browser.newContext();
  t.after(() => context.close());
  return async () => {
    const page = await context.newPage();
    await page.goto(address);
    return page;
  };
}

async function serving(t, bytes, behave) {
  const server = await faultServer(bytes, behave);
  t.after(server.close);
  return { ...server, model: `${server.url}/model.gguf` };
}

// Runs in the page.
async function visiting({ model, ...options }) {
  const { Reranker } = await import('./edge-reranker/src/index.js');
  try {
    const events = [];
    const reranker = await Reranker.load({ model, onProgress: (event) => events.push(event), ...options });
    const { results } = await reranker.rerank('q', ['a', 'b']);
    const { warnings } = reranker.info();
    await reranker.unload();
    const fromCache = events.find((event) => event.status === 'done').fromCache;
    return { results: results.length, warnings, fromCache, begun: events.find((event) => event.status === 'download').loaded };
  } catch (error) {
    return { code: error.code, message: error.message };
  }
}

async function visit(page, server, options = {}) {
  server.reset();
  const got = await page.evaluate(visiting, { model: server.model, ...options });
  return { ...got, bytes: server.served.bytes };
}

const usage = (page, cache) => page.evaluate(async (cache) => (await (await import('./edge-reranker/src/index.js')).models.usage({ cache })), cache);
async function until(condition) {
  for (const late = Date.now() + 20_000; !(await condition()); ) {
    assert.ok(Date.now() < late, 'it never happened');
    await new Promise((done) => setTimeout(done, 30));
  }
}
const storedIn = async (page) => (await usage(page)).bytes;

for (const options of [{}, { worker: false }, { cache: 'cache-api' }, { cache: 'opfs', worker: false }]) {
  test(`a model is fetched once: ${JSON.stringify(options)}`, async (t) => {
    const open = await newSite(t);
    const server = await serving(t, large);
    const first = await visit(await open(), server, options);
    assert.deepEqual(first, { results: 2, warnings: [], fromCache: false, begun: 0, bytes: large.length });
    const page = await open();
    assert.deepEqual(await visit(page, server, options), { results: 2, warnings: [], fromCache: true, begun: 0, bytes: 0 });
    await server.close();
    assert.equal((await visit(page, server, options)).fromCache, true);
    const { models, quota } = await usage(page, options.cache);
    assert.ok(quota > 0);
    assert.deepEqual(models, [{ id: server.model, files: ['model.gguf'], bytes: large.length, partial: false }]);
    const gone = await page.evaluate(async ({ model, cache }) => {
      const { models } = await import('./edge-reranker/src/index.js');
      const isCached = () => models.isCached(model, { cache });
      return [await isCached(), await models.delete(model, { cache }), await isCached(), (await models.usage({ cache })).bytes, typeof (await models.persist())];
    }, { model: server.model, cache: options.cache });
    assert.deepEqual(gone, [true, true, false, 0, 'boolean']);
  });
}

test('where pages cannot write the private file system, page and worker keep a model in the Cache', async (t) => {
  const open = await newSite(t);
  const server = await serving(t, large);
  const page = await open();
  await page.context().addInitScript(() => delete FileSystemFileHandle.prototype.createWritable);
  await page.reload();
  const first = await visit(page, server, { worker: false });
  assert.deepEqual([first.results, first.warnings, first.bytes], [2, [], large.length], first.message);
  assert.equal(await page.evaluate(async (model) => (await import('./edge-reranker/src/index.js')).models.isCached(model, { cache: 'cache-api' }), server.model), true);
  assert.equal((await visit(page, server, { cache: 'opfs', worker: false })).code, 'unsupported');
});

for (const worker of [true, false]) {
  test(`a page that closes leaves a part, which the next one completes (worker: ${worker})`, async (t) => {
    const open = await newSite(t);
    let held = true;
    const server = await serving(t, large, ({ start }) => (held && start >= 2 * BLOCK ? { stall: 0 } : {}));
    const watcher = await open();
    const page = await open();
    page.evaluate(visiting, { model: server.model, worker }).catch(() => {});
    await until(async () => (await storedIn(watcher)) >= 2 * BLOCK);
    await page.close();
    held = false;
    await until(() => server.served.running === 0);
    const kept = await storedIn(watcher);
    assert.equal(kept, 2 * BLOCK);
    const got = await visit(watcher, server, { worker, integrity: { 'model.gguf': hashOf(large) } });
    assert.deepEqual(got, { results: 2, warnings: [], fromCache: false, begun: kept, bytes: large.length - kept });
    assert.equal((await visit(watcher, server)).bytes, 0);
  });
}

test('two tabs fetch a model once; when the first closes, the second goes on', async (t) => {
  const open = await newSite(t);
  let held = false;
  const server = await serving(t, large, ({ start }) => (held && start >= BLOCK ? { stall: 0 } : {}));
  const [one, two] = [await open(), await open()];
  const args = { model: server.model };
  const both = await Promise.all([one.evaluate(visiting, args), two.evaluate(visiting, args)]);
  assert.equal(server.served.bytes, large.length);
  assert.deepEqual(both.map((got) => got.results), [2, 2]);
  await two.evaluate(async (model) => (await import('./edge-reranker/src/index.js')).models.delete(model), server.model);
  server.reset();
  held = true;
  one.evaluate(visiting, args).catch(() => {});
  await until(async () => (await storedIn(two)) >= BLOCK);
  const second = two.evaluate(visiting, args);
  await new Promise((done) => setTimeout(done, 300));
  const kept = await storedIn(two);
  held = false;
  await one.close();
  const got = await second;
  assert.equal(got.results, 2, got.message);
  assert.deepEqual([kept, got.begun], [BLOCK, BLOCK]);
});

test('where the storage is full the model loads all the same, and a download says so', async (t) => {
  const open = await newSite(t);
  const server = await serving(t, large);
  const page = await open();
  const session = await page.context().newCDPSession(page);
  await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(site.url).origin, quotaSize: 9_000_000 });
  for (const options of [{}, { worker: false }, { cache: 'cache-api' }]) {
    const got = await visit(page, server, { ...options, integrity: { 'model.gguf': hashOf(large) } });
    assert.equal(got.results, 2, got.message);
    assert.match(got.warnings.join(), /not kept for later loads, since the storage is full/);
    assert.equal(await storedIn(page), 0);
  }
  // Several times, since browsers may tell another error than the quota, by chance.
  const asked = await page.evaluate(async (model) => {
    const { models } = await import('./edge-reranker/src/index.js');
    const errors = [];
    for (let time = 0; time < 10; time++) errors.push(await models.download(model).then(() => 'fine', (error) => `${error.name} ${error.code}: ${error.message}`));
    return errors;
  }, server.model);
  for (const error of asked) assert.match(error, /^RerankError quota: .*Free some space/);
});

test('a wrong hash keeps nothing, a damaged block is fetched anew', async (t) => {
  const open = await newSite(t);
  const server = await serving(t, large);
  const page = await open();
  const wrong = await visit(page, server, { integrity: { 'model.gguf': hashOf(tiny) } });
  assert.equal(wrong.code, 'integrity', wrong.message);
  assert.equal(await storedIn(page), 0);
  await visit(page, server);
  const spoilt = await page.evaluate(async () => {
    const root = await (await navigator.storage.getDirectory()).getDirectoryHandle('edge-reranker');
    let count = 0;
    for await (const folder of root.values()) {
      for await (const file of folder.values()) {
        if (!file.name.startsWith('0-')) continue;
        const writable = await file.createWritable({ keepExistingData: true });
        await writable.write({ type: 'write', position: 500, data: new Uint8Array(100) });
        await writable.close();
        count++;
      }
    }
    return count;
  });
  assert.equal(spoilt, 1);
  const healed = await visit(page, server);
  assert.deepEqual([healed.results, healed.bytes <= BLOCK + 1, healed.bytes >= BLOCK], [2, true, true]);
  assert.equal((await visit(page, server)).bytes, 0);
});

test('without any storage a model loads, and a warning says that it is not kept', async (t) => {
  const server = await serving(t, large);
  const address = site.url.replace('127.0.0.1', 'insecure.test');
  const page = await (await newSite(t, address))();
  assert.equal(await page.evaluate(() => globalThis.isSecureContext), false);
  const got = await visit(page, server, { integrity: { 'model.gguf': hashOf(large) } });
  assert.deepEqual([got.results, got.fromCache], [2, false], got.message);
  assert.match(got.warnings.join(), /not kept.*https/);
  const none = await visit(page, server, { cache: 'none' });
  assert.deepEqual(none.warnings, []);
  assert.equal((await visit(page, server, { cache: 'opfs' })).code, 'unsupported');
  const told = await page.evaluate(async () => {
    const { models } = await import('./edge-reranker/src/index.js');
    return [await models.isCached('0.6b-q8'), await models.delete('0.6b-q8'), (await models.usage()).bytes, (await models.list()).length, await models.download('0.6b-q8').catch((error) => error.code)];
  });
  assert.deepEqual(told, [false, false, 0, 3, 'unsupported']);
});
