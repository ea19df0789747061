// `edge-reranker/remote` against our own server: what comes over HTTP is what the engine says.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { RemoteReranker } from '../../pkg/src/remote.js';
import { fails, modelPath, open } from './node-common.mjs';

const server = new URL('../../pkg/src/server.js', import.meta.url);
const skip = existsSync(server) ? false : 'pkg/src/server.js is not there';

const QUERY = 'What is the capital of China?';
const DOCUMENTS = ['Bananas are yellow.', 'The capital of China is Beijing.', 'Seoul is the capital of Korea.', '', 'The capital of China is Beijing.'];

async function both(t, options, handlerOptions) {
  const { createFetchHandler } = await import(server);
  const local = await open(t, { model: modelPath('tiny-f32.gguf') });
  const handler = createFetchHandler(local, handlerOptions);
  const remote = await RemoteReranker.connect({ url: 'http://server.example', fetch: async (url, init) => handler(new Request(url, init)), ...options });
  return { local, remote };
}

test('rankings, streams, scores and tokens are equal to the last bit', { skip }, async (t) => {
  const { local, remote } = await both(t);
  for (const options of [{}, { topN: 2 }, { instruction: 'Find it', returnDocuments: true }, { rawScores: true, threshold: 0 }]) {
    const [here, there] = [await local.rerank(QUERY, DOCUMENTS, options), await remote.rerank(QUERY, DOCUMENTS, options)];
    assert.deepEqual(there.results, here.results, JSON.stringify(options));
    assert.equal(there.model, here.model);
    assert.equal(there.usage.promptTokens, here.usage.promptTokens);
  }
  const pairs = DOCUMENTS.map((text, at) => [at % 2 ? QUERY : 'Which fruit is yellow?', text]);
  assert.deepEqual(await remote.score(pairs), await local.score(pairs));
  assert.deepEqual(await remote.score(pairs, { rawScores: true, instruction: 'Find it' }), await local.score(pairs, { rawScores: true, instruction: 'Find it' }));
  assert.deepEqual(await remote.tokenize(QUERY, DOCUMENTS[1]), await local.tokenize(QUERY, DOCUMENTS[1]));
  const heard = [];
  for await (const one of remote.rerankStream(QUERY, DOCUMENTS)) heard.push(one.index);
  assert.deepEqual(heard.sort(), [0, 1, 2, 3, 4]);
  assert.equal(remote.info().name, local.info().name);
});

test('lists beyond what the server takes are sent in parts', { skip }, async (t) => {
  const { local, remote } = await both(t, {}, { maxDocuments: 2 });
  assert.equal(remote.info().maxDocuments, 2);
  assert.deepEqual((await remote.rerank(QUERY, DOCUMENTS)).results, (await local.rerank(QUERY, DOCUMENTS)).results);
});

test('what the server refuses is told in its words', { skip }, async (t) => {
  const { remote } = await both(t, { maxDocuments: 99 }, { maxDocuments: 2 });
  const error = await fails(remote.rerank(QUERY, DOCUMENTS), 'too-long', /at most 2/);
  assert.equal(error.cause.status, 413);
});
