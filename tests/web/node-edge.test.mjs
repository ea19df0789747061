// The entry for edge runtimes, which compile nothing and read no files: the caller gives the module and the model.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { capabilities, Reranker, RerankError } from '../../pkg/src/edge.js';
import { fails, modelBytes } from './node-common.mjs';

test('the module and the model are given', async () => {
  const model = await modelBytes('tiny-f32.gguf');
  await fails(Reranker.load({ model }), 'bad-input', /edge_reranker_bg\.wasm/);
  await fails(Reranker.load({ model, worker: true }), 'unsupported', /no workers/);
  const compiled = async (name) => WebAssembly.compile(await readFile(new URL(`../../pkg/dist/${name}_bg.wasm`, import.meta.url)));
  const wasm = await compiled('edge_reranker');
  await fails(Reranker.load({ wasm: await compiled('edge_reranker_threads'), model }), 'unsupported', /simd128-threads.*does not run here.*edge_reranker_bg\.wasm/);
  await fails(Reranker.load({ wasm }), 'bad-input', /mini\.gguf/);
  await fails(Reranker.load({ wasm, model: './model.gguf' }), 'bad-input', /not a full address/);
  const reranker = await Reranker.load({ wasm, model });
  const { results } = await reranker.rerank('q', ['a', 'b']);
  assert.equal(results.length, 2);
  await reranker.unload();
  assert.equal((await capabilities()).threads, 1);
  const asked = await Reranker.load({ wasm, model, threads: 4 });
  assert.equal(asked.info().threads, 1);
  assert.match(asked.info().warnings.join(), /threads: 4 was asked for, but this runtime has no threads/);
  await asked.unload();
});

test('a file that is no module is named, and the next load may bring a better one', async (t) => {
  const node = await import('../../pkg/src/node.js');
  const worker = new Worker(new URL('../../pkg/src/node-worker.js', import.meta.url)); // a thread in which nothing was loaded yet
  t.after(() => worker.terminate());
  const load = (wasm) => node.Reranker.load({ wasm, worker, model });
  const model = await modelBytes('tiny-f32.gguf');
  await fails(load(new Uint8Array(5)), 'unsupported', /does not start/);
  await fails(load('./nope.wasm'), 'download', /nope\.wasm/);
  const reranker = await load(new URL('../../pkg/dist/edge_reranker_bg.wasm', import.meta.url));
  assert.equal((await reranker.rerank('q', ['a'])).results.length, 1);
  await reranker.unload();
  assert.equal(node.RerankError, RerankError);
});
