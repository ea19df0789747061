// `edge-reranker/remote` against a server: what it sends, what it makes of the replies, and what it does when things go wrong.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RemoteReranker, RerankError } from '../../pkg/src/remote.js';
import { fails } from './node-common.mjs';
import { logitOf, rerankServer, scoreOf } from './node-remote-server.mjs';

const QUERY = 'the capital of China';
const DOCUMENTS = ['bananas are yellow', 'Beijing is the capital of China', 'the capital of Korea', 'trains', 'a capital', '', 'the the', '中国 China', 'of'];
const order = DOCUMENTS.map((text, index) => ({ index, logit: logitOf(QUERY, text) })).sort((a, b) => b.logit - a.logit || a.index - b.index).map(({ index }) => index);

async function connected(t, behave, options) {
  const server = await rerankServer(behave);
  t.after(() => server.close());
  const reranker = await RemoteReranker.connect({ url: server.url, ...options });
  t.after(() => reranker.unload());
  server.log.length = 0;
  return { server, reranker };
}

// A server whose answers to all but /info are `act`.
const always = (act) => (number, path) => (path === 'GET /info' ? {} : act);
// ... and whose first `times` answers are.
function first(times, act) {
  let left = times;
  return (number, path) => (path !== 'GET /info' && left-- > 0 ? act : {});
}
const bodies = (server) => server.log.map(({ body }) => body);

test('a ranking is that of a local reranker: sorted, in parts that the server takes, indices of the whole list', async (t) => {
  const { server, reranker } = await connected(t);
  const result = await reranker.rerank(QUERY, DOCUMENTS);
  assert.deepEqual(result.results.map(({ index }) => index), order);
  assert.deepEqual(bodies(server).map(({ documents }) => documents.length), [4, 4, 1]);
  assert.deepEqual(bodies(server).flatMap(({ documents }) => documents), DOCUMENTS);
  for (const one of result.results) {
    assert.equal(one.relevanceScore, scoreOf(QUERY, DOCUMENTS[one.index]));
    assert.equal(one.logit, Math.fround(logitOf(QUERY, DOCUMENTS[one.index])));
    assert.deepEqual(Object.keys(one).sort(), ['index', 'logit', 'relevanceScore', 'tokens', 'truncated']);
  }
  assert.deepEqual(result.usage, { promptTokens: 90, totalTokens: 90, prefixReusedTokens: 0 });
  assert.equal(result.model, 'words');
  assert.equal(result.device, 'remote');
  assert.deepEqual(result.warnings, []);
  assert.ok(result.timings.totalMs > 0);
});

test('options: the best, a threshold, raw scores, ids and texts; nothing is sent that was not asked for', async (t) => {
  const { server, reranker } = await connected(t);
  const documents = DOCUMENTS.map((text, at) => (at % 2 ? { text, id: `d${at}`, page: at } : text));
  const { results } = await reranker.rerank(QUERY, documents, { topN: 2, returnDocuments: true, instruction: 'Find it', maxTokensPerDocument: 9 });
  assert.deepEqual(results.map(({ index, id, document }) => ({ index, id, document })), order.slice(0, 2).map((index) => ({ index, id: documents[index].id, document: { text: DOCUMENTS[index] } })));
  assert.deepEqual(Object.keys(server.log[0].body), ['query', 'instruction', 'top_n', 'max_tokens_per_doc', 'documents']);
  const raw = await reranker.rerank(QUERY, DOCUMENTS, { rawScores: true, threshold: 0 });
  assert.deepEqual(raw.results.map(({ index }) => index), order.filter((index) => logitOf(QUERY, DOCUMENTS[index]) >= 0));
  for (const one of raw.results) assert.equal(one.relevanceScore, one.logit);
  const bound = scoreOf(QUERY, DOCUMENTS[order[3]]);
  assert.equal((await reranker.rerank(QUERY, DOCUMENTS, { threshold: bound })).results.length, 4);
  assert.deepEqual(Object.keys(server.log.at(-1).body), ['query', 'threshold', 'documents']);
  assert.deepEqual((await reranker.rerank(QUERY, [])).results, []);
});

test('ties stay in the order of the documents, across parts; huge topN means all', async (t) => {
  const { reranker } = await connected(t);
  const same = Array.from({ length: 11 }, () => 'China');
  assert.deepEqual((await reranker.rerank(QUERY, same, { topN: 5 })).results.map(({ index }) => index), [0, 1, 2, 3, 4]);
  assert.equal((await reranker.rerank(QUERY, same, { topN: 1e9 })).results.length, 11);
});

test('onScore and streams hear every score once', async (t) => {
  const { reranker } = await connected(t);
  const heard = [];
  const { results } = await reranker.rerank(QUERY, DOCUMENTS, { topN: 1, onScore: (event) => heard.push(event) });
  assert.equal(results.length, 1);
  assert.deepEqual(heard.map(({ index }) => index).sort(), DOCUMENTS.map((_, index) => index));
  assert.deepEqual(heard.map(({ done }) => done), DOCUMENTS.map((_, index) => index + 1));
  const streamed = [];
  for await (const one of reranker.rerankStream(QUERY, DOCUMENTS, { threshold: 0.3 })) streamed.push(one);
  assert.ok(streamed.length > 1 && streamed.length < DOCUMENTS.length);
  for (const { index, relevanceScore } of streamed) assert.equal(relevanceScore, scoreOf(QUERY, DOCUMENTS[index]));
  const oops = new Error('oops');
  const error = await fails(reranker.rerank(QUERY, DOCUMENTS, { onScore: () => { throw oops; } }), 'aborted', /onScore threw/);
  assert.equal(error.cause, oops);
  await fails((async () => { for await (const one of reranker.rerankStream(QUERY, DOCUMENTS, { topN: 2 })) assert.fail(one); })(), 'bad-input', /stream/);
});

test('leaving a stream stops the requests', async (t) => {
  const { server, reranker } = await connected(t, (number, path) => (path === 'GET /info' || number === 1 ? {} : { delayMs: 5000 }), { rateLimit: { concurrent: 2 } });
  for await (const one of reranker.rerankStream(QUERY, DOCUMENTS)) {
    assert.ok(one.index < 4);
    break;
  }
  assert.ok(server.log.length <= 3);
});

test('pairs are scored in their order, in parts; with options by one ranking a query', async (t) => {
  const { server, reranker } = await connected(t);
  const pairs = DOCUMENTS.map((text, at) => [at % 2 ? QUERY : 'trains', text]);
  const wanted = Float32Array.from(pairs, ([query, text]) => scoreOf(query, text));
  assert.deepEqual(await reranker.score(pairs), wanted);
  assert.deepEqual([...new Set(server.log.map(({ path }) => path))], ['POST /score']);
  assert.equal(server.log.length, 3);
  server.log.length = 0;
  const heard = [];
  const raw = await reranker.score(pairs, { rawScores: true, onScore: (event) => heard.push(event) });
  assert.deepEqual(raw, Float32Array.from(pairs, ([query, text]) => logitOf(query, text)));
  assert.deepEqual([...new Set(server.log.map(({ path }) => path))], ['POST /v1/rerank']);
  assert.equal(heard.at(-1).done, pairs.length);
  assert.equal((await reranker.score([])).length, 0);
});

test('tokens, information, and what HTTP cannot carry', async (t) => {
  const { server, reranker } = await connected(t);
  const { ids, sharedPrefix } = await reranker.tokenize('ab', 'c');
  assert.deepEqual([...ids], [97, 98, 124, 99]);
  assert.ok(ids instanceof Uint32Array);
  assert.equal(sharedPrefix, 3);
  const { name, device, maxDocuments, maxBodyBytes, server: told } = reranker.info();
  assert.deepEqual({ name, device, maxDocuments, maxBodyBytes }, { name: 'words', device: 'remote', maxDocuments: 4, maxBodyBytes: 8_000_000 });
  assert.equal(told.max_documents, 4);
  server.log.length = 0;
  for (const options of [{ maxLength: 10 }, { template: 'raw' }, { parseSpecial: true }, { keepPrefix: true }, { chunk: { tokens: 9 } }, { expand: () => [] }]) {
    await fails(reranker.rerank(QUERY, DOCUMENTS, options), 'unsupported', new RegExp(`options\\.${Object.keys(options)[0]} `));
  }
  await fails(reranker.explain(QUERY, 'a'), 'unsupported');
  await fails(reranker.rerank(QUERY, [1]), 'bad-input', /documents\[0\]/);
  await fails(reranker.rerank(7, ['a']), 'bad-input', /query/);
  assert.equal(server.log.length, 0);
  assert.throws(() => new RemoteReranker({}), /connect/);
});

test('key, headers, model, paths of the address; a server without /info', async (t) => {
  const { server, reranker } = await connected(t, (number, path) => (path === 'GET /info' ? { status: 404 } : {}), { apiKey: 'k', headers: { 'X-Team': 'a' }, model: 'm', maxDocuments: 2 });
  assert.equal(reranker.info().name, 'm');
  assert.equal(reranker.info().server, null);
  await reranker.rerank(QUERY, DOCUMENTS.slice(0, 3));
  assert.equal(server.log.length, 2);
  for (const { headers, body } of server.log) {
    assert.equal(headers.authorization, 'Bearer k');
    assert.equal(headers['x-team'], 'a');
    assert.equal(headers['content-type'], 'application/json');
    assert.equal(body.model, 'm');
  }
  for (const url of [`${server.url}/v1/`, new URL(server.url)]) await (await RemoteReranker.connect({ url })).rerank(QUERY, ['a']);
  assert.equal(server.log.at(-3).path, 'POST /v1/rerank');
  const asked = [];
  const below = async (url) => { asked.push(url); return Response.json({}); };
  await RemoteReranker.connect({ url: 'https://host.example/api/?tenant=1', fetch: below });
  assert.deepEqual(asked, ['https://host.example/api/info?tenant=1']);
});

test('wrong options of connect are refused before anything is sent', async () => {
  const refuse = (options, words) => fails(RemoteReranker.connect({ fetch: () => assert.fail('was sent'), ...options }), 'bad-input', words);
  await refuse({}, /options\.url/);
  await refuse({ url: 'localhost' }, /full address/);
  await refuse({ url: 'ftp://a.example' }, /http/);
  await refuse({ url: 'http://me:word@a.example' }, /password/);
  await refuse({ url: 'http://a.example/v1/rerank' }, /leave '\/v1\/rerank' out/);
  await refuse({ url: 'http://a.example', apiKey: 'a\nb' }, /headers/);
  await refuse({ url: 'http://a.example', retries: -1 }, /retries/);
  await refuse({ url: 'http://a.example', timeoutMs: 1e12 }, /timeoutMs/);
  await refuse({ url: 'http://a.example', rateLimit: { requestsPerSecond: 0 } }, /requestsPerSecond/);
  await refuse({ url: 'http://a.example', rateLimit: { concurrent: 1.5 } }, /concurrent/);
  await fails(RemoteReranker.connect({ url: 'http://a.example', fetch: () => 7 }), 'bad-input', /options\.fetch must give a Response/);
});

test('requests stay below the server\'s bytes; one document above goes alone and the refusal is told', async (t) => {
  const { server, reranker } = await connected(t, undefined, { maxBodyBytes: 4000, maxDocuments: 100 });
  const documents = Array.from({ length: 12 }, (_, at) => `${'"é中'.repeat(80)} ${at}`);
  assert.equal((await reranker.rerank(QUERY, documents)).results.length, 12);
  assert.ok(server.log.length > 1 && server.log.length < 12);
  for (const { bytes } of server.log) assert.ok(bytes <= 4000, `${bytes} bytes`);
  const strict = await connected(t, always({ status: 413, body: '{"error":{"message":"body too large"}}' }), { maxBodyBytes: 1000 });
  const error = await fails(strict.reranker.rerank(QUERY, ['x'.repeat(5000)]), 'too-long', /413 \(body too large\)/);
  assert.equal(error.cause.status, 413);
  assert.equal(strict.server.log.length, 1);
});

test('busy and broken servers are asked again, refusals are not', async (t) => {
  for (const act of [{ break: true }, { cut: true }, { status: 429 }, { status: 503 }, { status: 500 }, { status: 408 }]) {
    const { server, reranker } = await connected(t, first(1, act));
    assert.equal((await reranker.rerank(QUERY, ['a', 'b'])).results.length, 2, JSON.stringify(act));
    assert.equal(server.log.length, 2);
  }
  const refusals = { 400: 'bad-input', 401: 'bad-input', 403: 'bad-input', 404: 'bad-input', 405: 'unsupported', 413: 'too-long', 422: 'bad-input', 501: 'unsupported' };
  for (const [status, code] of Object.entries(refusals)) {
    const { server, reranker } = await connected(t, always({ status: Number(status), body: '{"detail":"because of that"}' }));
    const error = await fails(reranker.rerank(QUERY, ['a', 'b']), code, /because of that/);
    assert.equal(error.cause.status, Number(status));
    assert.equal(server.log.length, 1, status);
  }
});

test('attempts are bounded, and the last failure is told', async (t) => {
  const busy = await connected(t, always({ status: 503, body: '<html>', headers: { 'retry-after': '0' } }), { retries: 1 });
  await fails(busy.reranker.rerank(QUERY, ['a']), 'download', /answered 503, 2 times in a row/);
  assert.equal(busy.server.log.length, 2);
  const gone = await connected(t, always({ break: true }), { retries: 0 });
  await fails(gone.reranker.rerank(QUERY, ['a']), 'download', /the network failed \((?:UND_ERR_SOCKET|ECONNRESET|[^)]+)\)\. Check the address/);
  await gone.server.close();
  await fails(RemoteReranker.connect({ url: gone.server.url, retries: 0 }), 'download', /the network failed \((?:ECONNREFUSED|UND_ERR_SOCKET)\)/);
  const slow = await connected(t, always({ delayMs: 5000 }), { retries: 1, timeoutMs: 500 });
  await fails(slow.reranker.rerank(QUERY, ['a']), 'download', /within 500 ms.*2 times/);
  assert.equal(slow.server.log.length, 2);
});

test('Retry-After is honoured, in seconds and as a date; more than a minute ends the call', async (t) => {
  for (const after of [() => '1', () => new Date(Date.now() + 2000).toUTCString()]) {
    const wanted = after();
    const { server, reranker } = await connected(t, first(1, { status: 429, headers: { 'retry-after': wanted } }));
    await reranker.rerank(QUERY, ['a']);
    const due = /^\d+$/.test(wanted) ? server.log[0].at + 1000 : Date.parse(wanted);
    assert.ok(server.log[1].at >= due - 20, `${server.log[1].at - due} ms after it was due`);
  }
  const { server, reranker } = await connected(t, always({ status: 429, headers: { 'retry-after': '3600' } }));
  await fails(reranker.rerank(QUERY, ['a']), 'download', /asks to wait for 3600 s/);
  assert.equal(server.log.length, 1);
});

test('aborting ends every wait: a request, a pause between attempts, a turn', async (t) => {
  const cases = [
    [always({ delayMs: 5000 }), {}],
    [always({ status: 503, headers: { 'retry-after': '30' } }), {}],
    [always({ delayMs: 5000 }), { rateLimit: { concurrent: 1 } }],
    [always({}), { rateLimit: { requestsPerSecond: 0.01 } }],
  ];
  for (const [behave, options] of cases) {
    const { server, reranker } = await connected(t, behave, options);
    const controller = new AbortController();
    const call = reranker.rerank(QUERY, DOCUMENTS, { signal: controller.signal });
    setTimeout(() => controller.abort(new Error('enough')), 100);
    const error = await fails(call, 'aborted');
    assert.equal(error.cause.message, 'enough');
    assert.ok(server.log.length <= 3);
    await fails(reranker.rerank(QUERY, DOCUMENTS, { signal: AbortSignal.abort() }), 'aborted');
  }
  await fails(RemoteReranker.connect({ url: 'http://a.example', signal: AbortSignal.abort() }), 'aborted');
});

test('a fetch of the caller\'s that does not listen to signals is left behind', async () => {
  const fetch = (url) => (url.endsWith('/info') ? Response.json({}) : new Promise(() => {}));
  const reranker = await RemoteReranker.connect({ url: 'http://a.example', fetch, timeoutMs: 50, retries: 0 });
  await fails(reranker.rerank(QUERY, ['a']), 'download', /within 50 ms/);
  await fails(reranker.rerank(QUERY, ['a'], { signal: AbortSignal.timeout(10) }), 'aborted');
});

test('an aborted request is closed, so that the server hears of it', async (t) => {
  const { server, reranker } = await connected(t, always({ delayMs: 5000 }));
  const controller = new AbortController();
  const call = reranker.rerank(QUERY, ['a'], { signal: controller.signal });
  while (!server.log.length) await new Promise((done) => setTimeout(done, 5));
  controller.abort();
  await fails(call, 'aborted');
  assert.equal(await server.log[0].cut, true, 'the connection was closed before the reply');
});

test('unload stops what runs and refuses what comes', async (t) => {
  const { reranker } = await connected(t, always({ delayMs: 5000 }));
  const call = reranker.rerank(QUERY, DOCUMENTS);
  setTimeout(() => reranker.unload(), 50);
  await fails(call, 'not-loaded');
  assert.deepEqual(await reranker.lost, { reason: 'destroyed' });
  await fails(reranker.rerank(QUERY, DOCUMENTS), 'not-loaded');
  await fails(reranker.rerank(QUERY, []), 'not-loaded');
  await reranker[Symbol.asyncDispose ?? 'asyncDispose']();
});

test('never more requests at once than allowed, and not faster', async (t) => {
  let running = 0;
  let most = 0;
  const fetch = async (url, init) => {
    running += 1;
    most = Math.max(most, running);
    await new Promise((done) => setTimeout(done, 20));
    running -= 1;
    return globalThis.fetch(url, init);
  };
  const { reranker } = await connected(t, undefined, { fetch, maxDocuments: 1, rateLimit: { concurrent: 2 } });
  await reranker.rerank(QUERY, DOCUMENTS);
  assert.equal(most, 2);
  const times = [];
  const timed = (url, init) => {
    if (!url.endsWith('/info')) times.push(performance.now());
    return globalThis.fetch(url, init);
  };
  const paced = await connected(t, undefined, { fetch: timed, maxDocuments: 1, rateLimit: { requestsPerSecond: 20, concurrent: 9 } });
  await paced.reranker.rerank(QUERY, DOCUMENTS.slice(0, 6));
  assert.equal(times.length, 6);
  assert.ok(times.at(-1) - times[0] >= 150, `six requests, 50 ms apart, within ${times.at(-1) - times[0]} ms`);
});

test('a reply that is not what the API promises is told, not believed', async (t) => {
  const edits = [
    [() => [], /must be an object, got an array/],
    [() => ({}), /'results' must be an array, got undefined/],
    [({ results, ...rest }) => ({ ...rest, results: results.slice(1), data: null }), /1 results where 2 were asked for/],
    [({ results }) => ({ results: results.map((one) => ({ ...one, index: 0 })) }), /index 0 is there twice/],
    [({ results }) => ({ results: results.map((one) => ({ ...one, index: 9 })) }), /index is 9, of 2 that were sent/],
    [({ results }) => ({ results: results.map((one) => ({ ...one, relevance_score: null })) }), /relevance_score must be a number, got undefined/],
    [({ results }) => ({ results: results.map((one) => ({ ...one, relevance_score: '0.5' })) }), /must be a number, got a string/],
    [({ results }) => ({ results: results.map((one) => ({ ...one, logit: 'x' })) }), /logit must be a number/],
    [() => ({ results: [7, 8] }), /results\[0\] must be an object, got a number/],
  ];
  for (const [alter, words] of edits) {
    const { server, reranker } = await connected(t, always({ alter }));
    await fails(reranker.rerank(QUERY, ['a', 'b']), 'download', words);
    assert.equal(server.log.length, 1);
  }
  const page = await connected(t, always({ status: 200, headers: { 'content-type': 'text/html' }, body: '<html>log in' }));
  await fails(page.reranker.rerank(QUERY, ['a']), 'download', /not JSON \(text\/html, it begins with "<html>log in"\)/);
  const few = await connected(t, always({ alter: (reply) => ({ ...reply, data: reply.data?.slice(1), shared_prefix: 99 }) }));
  await fails(few.reranker.score([['q', 'a'], ['q', 'b']]), 'download', /1 results where 2/);
  await fails(few.reranker.tokenize('q', 'a'), 'download', /shared_prefix/);
});

test('a server without logits: they follow from the scores and are finite; unknown fields do no harm', async (t) => {
  const scores = [1, 0, 0.5, 0.25];
  const alter = () => ({ data: scores.map((relevance_score, index) => ({ index, relevance_score, extra: null })), warnings: ['slow', 7] });
  const { reranker } = await connected(t, always({ alter }));
  const { results, model, usage, warnings } = await reranker.rerank(QUERY, ['a', 'b', 'c', 'd']);
  assert.deepEqual(results.map(({ index }) => index), [0, 2, 3, 1]);
  for (const { logit } of results) assert.ok(Number.isFinite(logit));
  assert.equal(results[1].logit, 0);
  assert.ok(Math.abs(results[2].logit + Math.log(3)) < 1e-6);
  assert.equal(model, 'words');
  assert.equal(usage.totalTokens, 0);
  assert.deepEqual(warnings, ['slow']);
});

test('it loads no engine', async () => {
  assert.equal((await import('../../pkg/src/errors.js')).RerankError, RerankError);
  const { readFile } = await import('node:fs/promises');
  const seen = new Set();
  const walk = async (url) => {
    if (seen.has(url)) return;
    seen.add(url);
    for (const [, path] of (await readFile(new URL(url), 'utf8')).matchAll(/from '(\.[^']+)'/g)) await walk(new URL(path, url).href);
  };
  await walk(new URL('../../pkg/src/remote.js', import.meta.url).href);
  assert.deepEqual([...seen].filter((url) => /engine|local|platform|dist/.test(url)), []);
});
