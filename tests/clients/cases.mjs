// What real JavaScript clients of other rerankers must get from a server, whichever it is: each case takes
// { url, key, query, documents, order, scores } with the documents' order and their scores, the best first; the server takes only that key.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const client = (name) => import(pathToFileURL(createRequire(import.meta.url).resolve(name)).href);

const near = (got, wanted) => {
  assert.equal(got.length, wanted.length);
  got.forEach((score, at) => assert.ok(Math.abs(score - wanted[at]) < 1e-6, `${got}, not ${wanted}`));
};

function ranked(results, score, { order, scores }) {
  assert.deepEqual(results.map(({ index }) => index), order);
  near(results.map((one) => one[score]), scores);
}

async function cohere(server) {
  const { url, key, query, documents, order } = server;
  const { CohereClient, CohereClientV2, CohereError } = await client('cohere-ai');
  for (const Client of [CohereClient, CohereClientV2]) {
    const cohere = new Client({ token: key, environment: url, maxRetries: 0 });
    const reply = await cohere.rerank({ model: 'rerank-v3.5', query, documents });
    ranked(reply.results, 'relevanceScore', server);
    assert.equal(reply.meta.billedUnits.searchUnits, 1);
    assert.equal((await cohere.rerank({ model: 'm', query, documents, topN: 1 })).results.length, 1);
    await assert.rejects(cohere.rerank({ model: 'm', query: '', documents }), (error) => error instanceof CohereError && error.statusCode === 400 && /query is empty/.test(error.message));
    const stranger = new Client({ token: 'wrong', environment: url, maxRetries: 0 });
    await assert.rejects(stranger.rerank({ model: 'm', query, documents }), (error) => error.statusCode === 401);
  }
  const v1 = new CohereClient({ token: key, environment: url });
  const { results } = await v1.rerank({ query, documents: documents.map((text) => ({ text })), returnDocuments: true });
  assert.deepEqual(results.map(({ document }) => document.text), order.map((at) => documents[at]));
}

async function voyage(server) {
  const { url, key, query, documents, order } = server;
  const { VoyageAIClient } = await client('voyageai');
  const voyage = new VoyageAIClient({ apiKey: key, environment: `${url}/voyage/v1` });
  const reply = await voyage.rerank({ model: 'rerank-2.5', query, documents, returnDocuments: true });
  ranked(reply.data, 'relevanceScore', server);
  assert.deepEqual(reply.data.map(({ document }) => document), order.map((at) => documents[at]));
  assert.ok(reply.usage.totalTokens > documents.length);
  const two = await new VoyageAIClient({ apiKey: key, environment: `${url}/v1` }).rerank({ model: 'm', query, documents, topK: 2 });
  assert.equal(two.data.length, 2);
}

async function aiSdk({ url, key, query, documents, order, scores }) {
  const { rerank } = await client('ai');
  const { createCohere } = await client('@ai-sdk/cohere');
  const { createTogetherAI } = await client('@ai-sdk/togetherai');
  const models = [
    createCohere({ baseURL: `${url}/v2`, apiKey: key }).reranking('rerank-v3.5'),
    createTogetherAI({ baseURL: `${url}/v1`, apiKey: key }).reranking('Salesforce/Llama-Rank-v1'),
  ];
  for (const model of models) {
    const { ranking, rerankedDocuments } = await rerank({ model, query, documents, topN: 2, maxRetries: 0 });
    assert.deepEqual(ranking.map(({ originalIndex }) => originalIndex), order.slice(0, 2));
    near(ranking.map(({ score }) => score), scores.slice(0, 2));
    assert.deepEqual(rerankedDocuments, order.slice(0, 2).map((at) => documents[at]));
    await assert.rejects(rerank({ model, query: '', documents, maxRetries: 0 }), (error) => error.statusCode === 400 && /query is empty/.test(error.message));
  }
}

export const cases = {
  'Cohere, v1 and v2': cohere,
  Voyage: voyage,
  'the AI SDK with its providers for Cohere and Together': aiSdk,
};
