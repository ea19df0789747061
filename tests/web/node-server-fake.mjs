// The reranker of tests/dialects/README.md, the fixtures, and how one is sent.
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { createFetchHandler } from '../../pkg/src/server.js';
import { RerankError } from '../../pkg/src/node.js';

const folder = new URL('../dialects/', import.meta.url);
const names = (await readdir(folder)).filter((name) => name.endsWith('.json')).sort();
export const fixtures = await Promise.all(names.map(async (name) => [name, JSON.parse(await readFile(new URL(name, folder), 'utf8'))]));

const wordsOf = (text) => text.match(/[^ \t\r\n]+/g) ?? [];
const idOf = (word) => new TextEncoder().encode(word).reduce((sum, byte) => sum + byte, 10);

export class FakeReranker {
  calls = []; // the texts of every call of the engine
  lost = new Promise(() => {});

  info() {
    return { name: 'fake', quantization: 'F32', parameters: 1, contextLength: 8192, device: 'fake', warnings: [] };
  }

  #cut(query, document, maxLength = 8192) {
    const words = wordsOf(document);
    const room = maxLength - wordsOf(query).length - 2;
    if (room < 1) throw new RerankError('too-long', 'The query leaves no room.');
    return { words: words.slice(0, room), truncated: words.length > room };
  }

  async rerank(query, documents, { maxLength, signal } = {}) {
    this.calls.push(documents);
    if (signal?.aborted) throw new RerankError('aborted', 'Aborted.');
    if (query === '!oom') throw new RerankError('oom', 'No memory at 0x1234 of the engine.');
    if (query === '!lost') throw new RerankError('device-lost', 'The GPU was lost.');
    const asked = new Set(wordsOf(query));
    const results = documents.map((text, index) => {
      const { words, truncated } = this.#cut(query, text, maxLength);
      const score = query === '!nan' ? NaN : (words.filter((word) => asked.has(word)).length + 1) / (words.length + 2);
      const logit = Math.log(score / (1 - score));
      return { index, relevanceScore: score, logit, tokens: wordsOf(query).length + words.length + 2, truncated };
    });
    return { results: results.sort((a, b) => b.logit - a.logit || a.index - b.index) };
  }

  async tokenize(query, document, { maxLength } = {}) {
    const { words } = this.#cut(query, document, maxLength);
    const asked = wordsOf(query);
    return { ids: Uint32Array.from([1, ...[...asked, ...words].map(idOf), 2]), sharedPrefix: 1 + asked.length };
  }

  async score(pairs) {
    return new Float32Array(pairs.length);
  }
}

const repeated = (value) => {
  if (Array.isArray(value)) return value.map(repeated);
  if (value === null || typeof value !== 'object') return value;
  if (value.$repeat) return new Array(value.$repeat[1]).fill(value.$repeat[0]);
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, repeated(one)]));
};

export function requestOf({ method = 'POST', path, headers = {}, body, text, base64 }) {
  const all = new Headers(method === 'POST' ? { 'content-type': 'application/json' } : {});
  for (const [name, value] of Object.entries(headers)) value === null ? all.delete(name) : all.set(name, value);
  const plain = text ?? (base64 === undefined ? body && JSON.stringify(repeated(body)) : undefined);
  const bytes = base64 === undefined ? plain !== undefined && new TextEncoder().encode(plain) : Buffer.from(base64, 'base64');
  return new Request(`http://server.example${path}`, { method, headers: all, body: bytes || undefined });
}

// Sets a server up as a fixture says, sends its request, and gives the response.
export async function send({ server = {}, request }, log) {
  const { state, before = [] } = server;
  const reranker = new FakeReranker();
  const stuck = Promise.withResolvers?.() ?? deferred();
  if (state === 'busy') reranker.rerank = () => stuck.promise;
  const source = {
    loading: () => () => stuck.promise,
    failed: () => async () => {
      throw new Error('The operator may know.');
    },
  }[state]?.();
  const handler = createFetchHandler(source ?? reranker, {
    apiKey: server.api_key ?? null,
    cors: server.cors_origin,
    basePath: server.base_path,
    maxDocuments: server.max_documents,
    maxBody: server.max_body,
    maxTokens: server.max_tokens,
    maxQueries: server.max_queries,
    maxLength: server.max_length,
    maxQueue: state === 'busy' ? 0 : undefined,
    loadWaitMs: 1,
    cache: server.cache ? {} : undefined,
    log,
  });
  for (const one of before) await (await handler(requestOf(one))).text();
  const busy = state === 'busy' ? handler(requestOf(request)) : null;
  if (busy) await new Promise((done) => setTimeout(done, 1));
  const response = await handler(requestOf(request));
  stuck.resolve({ results: [] });
  await busy?.catch(() => {});
  return response;
}

function deferred() {
  const one = {};
  one.promise = new Promise((resolve, reject) => Object.assign(one, { resolve, reject }));
  return one;
}

export function matches(got, wanted, where = 'body') {
  if (wanted === '$any') return assert.ok(typeof got === 'string' && got, `${where}: a string that is not empty, got ${JSON.stringify(got)}`);
  if (typeof wanted === 'number') return assert.ok(Math.abs(got - wanted) <= 1e-6, `${where}: ${wanted}, got ${got}`);
  if (wanted === null || typeof wanted !== 'object') return assert.equal(got, wanted, where);
  assert.ok(got !== null && typeof got === 'object', `${where}: ${JSON.stringify(wanted)}, got ${JSON.stringify(got)}`);
  assert.equal(Array.isArray(got), Array.isArray(wanted), where);
  assert.deepEqual(Object.keys(got).sort(), Object.keys(wanted).sort(), where);
  for (const [name, value] of Object.entries(wanted)) matches(got[name], value, `${where}.${name}`);
}
