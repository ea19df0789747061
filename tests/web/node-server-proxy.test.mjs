// createProxyHandler between a client and a real server.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { createFetchHandler, createProxyHandler } from '../../pkg/src/server.js';
import { FakeReranker, requestOf } from './node-server-fake.mjs';
import { listen } from './node-server-http.mjs';

const BODY = { query: 'red apple', documents: ['green apple', 'red apple', 'blue'] };
const ask = (handler, more = {}, signal) => {
  const request = requestOf({ path: '/v1/rerank', body: BODY, ...more });
  return handler(signal ? new Request(request, { signal }) : request);
};

// A server that answers as `behave(number of the request, request, response)` says.
async function behind(t, behave) {
  const seen = [];
  const server = createServer((request, response) => {
    seen.push(request);
    behave(seen.length, request, response);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, seen };
}
const well = (response) => response.writeHead(200, { 'content-type': 'application/json', 'set-cookie': 'a=b' }).end('{"ok":true}');

test('what goes through is what the server answers; keys do not', async (t) => {
  const url = await listen(t, createFetchHandler(new FakeReranker(), { apiKey: 'behind' }));
  const handler = createProxyHandler({ url: `${url}/`, apiKey: 'behind' }, { apiKey: 'front', cors: '*', basePath: '/api' });
  const good = await ask(handler, { path: '/api/v1/rerank', headers: { authorization: 'Bearer front', origin: 'https://a.example' } });
  assert.equal(good.status, 200);
  assert.equal(good.headers.get('access-control-allow-origin'), '*');
  assert.deepEqual((await good.json()).results.map(({ index }) => index), [1, 0, 2]);
  const key = { 'x-api-key': 'front' };
  assert.equal((await ask(handler, { path: '/api/rerank', body: { query: '' }, headers: key })).status, 400);
  assert.equal((await ask(handler, { path: '/api/nope', headers: key })).status, 404);
  assert.equal((await ask(handler, { path: '/nope', headers: key })).status, 404);
  assert.equal((await ask(handler, { path: '/api/v1/rerank', headers: { 'x-api-key': 'behind' } })).status, 401);
  assert.equal((await handler(requestOf({ method: 'GET', path: '/api/health' }))).status, 200);
  assert.equal((await handler(requestOf({ method: 'OPTIONS', path: '/api/v1/rerank', headers: { origin: 'https://a.example' } }))).status, 204);
});

test('a busy server is asked again when it says, but not for ever', async (t) => {
  const { url, seen } = await behind(t, (n, request, response) => (n < 3 ? response.writeHead(n === 1 ? 429 : 503, { 'retry-after': '0' }).end() : well(response)));
  const response = await ask(createProxyHandler({ url }));
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('set-cookie'), null);
  assert.equal(seen.length, 3);
  const always = await behind(t, (n, request, response) => response.writeHead(429, { 'retry-after': n === 1 ? new Date(Date.now() - 5000).toUTCString() : '0' }).end('{}'));
  assert.equal((await ask(createProxyHandler({ url: always.url }))).status, 429);
  assert.equal(always.seen.length, 3);
  const long = await behind(t, (n, request, response) => response.writeHead(503, { 'retry-after': '3600' }).end('{}'));
  const told = await ask(createProxyHandler({ url: long.url, timeoutMs: 5000 }));
  assert.deepEqual([told.status, told.headers.get('retry-after'), long.seen.length], [503, '3600', 1]);
});

test('broken connections are tried again; what stays broken is 502', async (t) => {
  const { url } = await behind(t, (n, request, response) => (n === 1 ? request.socket.destroy() : well(response)));
  assert.equal((await ask(createProxyHandler({ url }))).status, 200);
  const events = [];
  const log = (event) => events.push(event);
  const refused = await behind(t, (n, request, response) => response.writeHead(401).end('key behind'));
  const moved = await behind(t, (n, request, response) => response.writeHead(302, { location: 'https://evil.example' }).end());
  for (const one of [refused, moved]) {
    const response = await ask(createProxyHandler({ url: one.url, apiKey: 'k' }, { log }));
    assert.equal(response.status, 502);
    assert.doesNotMatch(await response.text(), /evil|key behind/);
  }
  assert.equal(events.length, 2);
  assert.equal(moved.seen[0].headers.authorization, 'Bearer k');
});

test('a server that is silent is given up, and a client that leaves takes its request along', async (t) => {
  const silent = await behind(t, () => {});
  assert.equal((await ask(createProxyHandler({ url: silent.url, timeoutMs: 50 }))).status, 504);
  const { url, seen } = await behind(t, () => {});
  const leaver = new AbortController();
  const left = ask(createProxyHandler({ url }), {}, leaver.signal);
  while (!seen.length) await new Promise((done) => setTimeout(done, 2));
  const closed = new Promise((done) => seen[0].on('close', done));
  leaver.abort();
  assert.equal((await left).status, 499);
  await closed;
});

test('nothing is passed on but what is served, and pages that may not ask are refused', async () => {
  const sent = [];
  const fetch = async (url, { method, body }) => {
    sent.push(`${method} ${url} ${body?.length ?? 0}`);
    return new Response('{}');
  };
  const handler = createProxyHandler({ url: 'https://gpu.example/base', apiKey: 'behind', fetch }, { apiKey: 'front' });
  const status = async (method, path, headers = {}) => (await handler(requestOf({ method, path, headers: { 'x-api-key': 'front', ...headers }, text: method === 'POST' ? '{}' : undefined }))).status;
  for (const path of ['/admin/models/1', '/v1/chat/completions', '//evil.example/a', '/%2e%2e/secret', '/x/..%2Fai/run/m', '/ai/run/..%2f..%2fadmin', '/ai/run/%252e']) {
    for (const method of ['GET', 'POST', 'DELETE', 'OPTIONS']) assert.equal(await status(method, path), 404, `${method} ${path}`);
  }
  for (const [method, path] of [['POST', '/health'], ['POST', '/ping?x=1'], ['DELETE', '/v1/rerank'], ['GET', '/v1/rerank'], ['PUT', '/metrics']]) assert.equal(await status(method, path), 405, path);
  assert.equal(await status('POST', '/v1/rerank', { 'content-type': null, origin: 'https://evil.example' }), 415);
  assert.equal(await status('POST', '/v1/rerank', { 'content-type': 'text/plain' }), 415);
  assert.deepEqual(sent, []);
  for (const [method, path] of [['GET', '/health'], ['HEAD', '/ping'], ['GET', '/metrics?a=b'], ['POST', '/tokenize'], ['POST', '/client/v4/accounts/1/ai/run/@cf/baai/m']]) assert.equal(await status(method, path), 200, path);
  const base = 'https://gpu.example/base';
  assert.deepEqual(sent, [`GET ${base}/health 0`, `HEAD ${base}/ping 0`, `GET ${base}/metrics 0`, `POST ${base}/tokenize 2`, `POST ${base}/client/v4/accounts/1/ai/run/@cf/baai/m 2`]);
});

test('bodies are bounded, options are checked', async (t) => {
  const { url, seen } = await behind(t, (n, request, response) => well(response));
  assert.equal((await ask(createProxyHandler({ url }, { maxBody: 10 }))).status, 413);
  assert.equal(seen.length, 0);
  for (const target of [null, {}, { url: 'nope' }, { url: 'ftp://x' }, { url, apiKey: '' }, { url, timeoutMs: 0 }, { url, fetch: 5 }]) {
    assert.throws(() => createProxyHandler(target), { code: 'bad-input' });
  }
});
