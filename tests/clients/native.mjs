// Rerank clients of others and clients' paths into replies, against the native server: node --test tests/clients/native.mjs, with the binary in
// EDGE_RERANKER_BINARY or in target/release. Needs `npm ci --ignore-scripts --prefix tests/clients`.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { JSONPath } from 'jsonpath-plus';
import { cases } from './cases.mjs';

const BINARY = process.env.EDGE_RERANKER_BINARY ?? fileURLToPath(new URL('../../target/release/edge-reranker', import.meta.url));
const server = {
  key: 'a-key',
  query: 'What is the capital of China?',
  documents: ['Bananas are yellow.', 'Beijing is the capital of China.', 'The capital of Korea is Seoul.'],
};
let child;

const ask = async (path, body) => {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${server.key}` };
  const response = await fetch(`${server.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
  assert.equal(response.status, 200);
  return response.json();
};

before(async () => {
  child = spawn(BINARY, ['serve', '--port', '0', '--api-key', server.key, '--quiet'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(child.stdout, 'data');
  server.url = String(line).trim();
  while ((await fetch(`${server.url}/health`)).status !== 200) await new Promise((done) => setTimeout(done, 20));
  const { results } = await ask('/v1/rerank', server);
  server.order = results.map(({ index }) => index);
  server.scores = results.map(({ relevance_score: score }) => score);
  assert.equal(server.order[0], 1);
});

after(async () => {
  child.kill('SIGTERM');
  assert.deepEqual(await once(child, 'exit'), [0, null]);
});

for (const [name, run] of Object.entries(cases)) test(name, () => run(server));

// Its service `custom` takes JSONPath expressions for the parts of a rerank reply.
test("Elasticsearch's custom inference finds its way in the replies", async () => {
  const { query, documents, order, scores } = server;
  const paths = [
    ['/v1/rerank', { query, documents }, { relevance_score: '$.results[*].relevance_score', reranked_index: '$.results[*].index' }],
    ['/v1/rerank', { query, documents, return_documents: true }, { relevance_score: '$.results[*].relevance_score', reranked_index: '$.results[*].index', document_text: '$.results[*].document.text' }],
    ['/rerank', { query, texts: documents, return_text: true }, { relevance_score: '$[*].score', reranked_index: '$[*].index', document_text: '$[*].text' }],
    ['/v1/reranks', { input: { query, documents }, parameters: { return_documents: true } }, { relevance_score: '$.output.results[*].relevance_score', reranked_index: '$.output.results[*].index', document_text: '$.output.results[*].document.text' }],
  ];
  const wanted = { relevance_score: scores, reranked_index: order, document_text: order.map((at) => documents[at]) };
  for (const [path, body, expressions] of paths) {
    const json = await ask(path, body);
    for (const [name, expression] of Object.entries(expressions)) assert.deepEqual(JSONPath({ path: expression, json }), wanted[name], `${path} ${expression}`);
  }
});
