// Real clients of others against a real port. They lie in tests/clients: `npm ci --prefix tests/clients`.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { createFetchHandler } from '../../pkg/src/server.js';
import { FakeReranker } from './node-server-fake.mjs';
import { listen } from './node-server-http.mjs';

const clients = fileURLToPath(new URL('../clients/package.json', import.meta.url));
const skip = existsSync(new URL('../clients/node_modules', import.meta.url)) ? false : 'the clients are not installed: npm ci --prefix tests/clients';
const client = (name) => import(pathToFileURL(createRequire(clients).resolve(name)).href);

const KEY = 'a-key';
const QUERY = 'red apple';
const DOCUMENTS = ['green apple', 'red apple', 'blue'];
const ORDER = [1, 0, 2];
const SCORES = [0.75, 0.5, 1 / 3];
const start = (t, options) => listen(t, createFetchHandler(new FakeReranker(), { apiKey: KEY, ...options }));
const near = (got, wanted) => got.forEach((score, at) => assert.ok(Math.abs(score - wanted[at]) < 1e-6, `${got}`));

function ranked(results, score) {
  assert.deepEqual(results.map(({ index }) => index), ORDER);
  near(results.map((one) => one[score]), SCORES);
}

test('Cohere, v1 and v2', { skip }, async (t) => {
  const url = await start(t);
  const { CohereClient, CohereClientV2, CohereError } = await client('cohere-ai');
  for (const Client of [CohereClient, CohereClientV2]) {
    const cohere = new Client({ token: KEY, environment: url, maxRetries: 0 });
    const reply = await cohere.rerank({ model: 'rerank-v3.5', query: QUERY, documents: DOCUMENTS });
    ranked(reply.results, 'relevanceScore');
    assert.equal(reply.meta.billedUnits.searchUnits, 1);
    assert.equal((await cohere.rerank({ model: 'm', query: QUERY, documents: DOCUMENTS, topN: 1 })).results.length, 1);
    await assert.rejects(cohere.rerank({ model: 'm', query: '', documents: DOCUMENTS }), (error) => error instanceof CohereError && error.statusCode === 400 && /query is empty/.test(error.message));
    const stranger = new Client({ token: 'wrong', environment: url, maxRetries: 0 });
    await assert.rejects(stranger.rerank({ model: 'm', query: QUERY, documents: DOCUMENTS }), (error) => error.statusCode === 401);
  }
  const v1 = new CohereClient({ token: KEY, environment: url });
  const { results } = await v1.rerank({ query: QUERY, documents: DOCUMENTS.map((text) => ({ text })), returnDocuments: true });
  assert.deepEqual(results.map(({ document }) => document.text), ORDER.map((at) => DOCUMENTS[at]));
});

test('Voyage', { skip }, async (t) => {
  const url = await start(t);
  const { VoyageAIClient } = await client('voyageai');
  const voyage = new VoyageAIClient({ apiKey: KEY, environment: `${url}/voyage/v1` });
  const reply = await voyage.rerank({ model: 'rerank-2.5', query: QUERY, documents: DOCUMENTS, returnDocuments: true });
  ranked(reply.data, 'relevanceScore');
  assert.deepEqual(reply.data.map(({ document }) => document), ORDER.map((at) => DOCUMENTS[at]));
  assert.equal(reply.usage.totalTokens, 17);
  const two = await new VoyageAIClient({ apiKey: KEY, environment: `${url}/v1` }).rerank({ model: 'm', query: QUERY, documents: DOCUMENTS, topK: 2 });
  assert.equal(two.data.length, 2);
});

test('the AI SDK with its providers for Cohere and Together', { skip }, async (t) => {
  const url = await start(t);
  const { rerank } = await client('ai');
  const { createCohere } = await client('@ai-sdk/cohere');
  const { createTogetherAI } = await client('@ai-sdk/togetherai');
  const models = [
    createCohere({ baseURL: `${url}/v2`, apiKey: KEY }).reranking('rerank-v3.5'),
    createTogetherAI({ baseURL: `${url}/v1`, apiKey: KEY }).reranking('Salesforce/Llama-Rank-v1'),
  ];
  for (const model of models) {
    const { ranking, rerankedDocuments } = await rerank({ model, query: QUERY, documents: DOCUMENTS, topN: 2, maxRetries: 0 });
    assert.deepEqual(ranking.map(({ originalIndex }) => originalIndex), [1, 0]);
    near(ranking.map(({ score }) => score), SCORES.slice(0, 2));
    assert.deepEqual(rerankedDocuments, ['red apple', 'green apple']);
    await assert.rejects(rerank({ model, query: '', documents: DOCUMENTS, maxRetries: 0 }), (error) => error.statusCode === 400 && /query is empty/.test(error.message));
  }
});

test('a client that leaves a real connection stops its work', async (t) => {
  const reranker = new FakeReranker();
  let stopped;
  const left = new Promise((resolve) => (stopped = resolve));
  reranker.rerank = (query, documents, { signal }) =>
    new Promise((resolve, reject) =>
      signal.addEventListener('abort', () => {
        stopped();
        reject(Object.assign(new Error('aborted'), { code: 'aborted' }));
      }),
    );
  const url = await listen(t, createFetchHandler(reranker));
  const leaver = new AbortController();
  const call = fetch(`${url}/rerank`, { method: 'POST', body: JSON.stringify({ query: QUERY, documents: DOCUMENTS }), headers: { 'content-type': 'application/json' }, signal: leaver.signal });
  call.catch(() => {});
  while (!(await (await fetch(`${url}/metrics`)).text()).includes('edge_reranker_busy 1')) await new Promise((done) => setTimeout(done, 5));
  leaver.abort();
  await left;
});
