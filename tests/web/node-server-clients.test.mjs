// Real clients of others against a real port. They lie in tests/clients: `npm ci --prefix tests/clients`.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { createFetchHandler } from '../../pkg/src/server.js';
import { cases } from '../clients/cases.mjs';
import { FakeReranker } from './node-server-fake.mjs';
import { listen } from './node-server-http.mjs';

const skip = existsSync(new URL('../clients/node_modules', import.meta.url)) ? false : 'the clients are not installed: npm ci --prefix tests/clients';

const key = 'a-key';
const QUERY = 'red apple';
const DOCUMENTS = ['green apple', 'red apple', 'blue'];

for (const [name, run] of Object.entries(cases)) {
  test(name, { skip }, async (t) => {
    const url = await listen(t, createFetchHandler(new FakeReranker(), { apiKey: key }));
    await run({ url, key, query: QUERY, documents: DOCUMENTS, order: [1, 0, 2], scores: [0.75, 0.5, 1 / 3] });
  });
}

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
