// createFetchHandler over time: bodies that stream, clients that leave, queues, models that load, fail and get lost, stores of scores.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Gate } from '../../pkg/src/server/gate.js';
import { Uploads } from '../../pkg/src/server/uploads.js';
import { createFetchHandler } from '../../pkg/src/server.js';
import { RerankError } from '../../pkg/src/node.js';
import { open } from './node-common.mjs';
import { FakeReranker, requestOf } from './node-server-fake.mjs';

const P = '/v1/rerank';
const DOCUMENTS = ['green apple', 'red apple', 'blue'];
const ask = (handler, body = {}, { signal, ...rest } = {}, ctx) => {
  const request = requestOf({ path: P, body: { query: 'red apple', documents: DOCUMENTS, ...body }, ...rest });
  return handler(signal ? new Request(request, { signal }) : request, {}, ctx);
};
const deferred = () => {
  const one = {};
  one.promise = new Promise((resolve, reject) => Object.assign(one, { resolve, reject }));
  return one;
};
const tick = () => new Promise((done) => setTimeout(done));
const until = async (condition) => {
  while (!(await condition())) await tick();
};
const gauge = (handler, line) => async () => (await (await handler(requestOf({ method: 'GET', path: '/metrics' }))).text()).includes(`\nedge_reranker_${line}\n`);

// A reranker whose calls wait until they are let go, one after the other.
class SlowReranker extends FakeReranker {
  waiting = [];
  active = 0;

  async rerank(...args) {
    this.active += 1;
    assert.equal(this.active, 1, 'one request computes at a time');
    const turn = deferred();
    this.waiting.push(turn);
    args[2].signal.addEventListener('abort', () => turn.reject(new RerankError('aborted', 'Aborted.')));
    try {
      await turn.promise;
      return await super.rerank(...args);
    } finally {
      this.active -= 1;
    }
  }

  async next() {
    await until(() => this.waiting.length);
    this.waiting.shift().resolve();
  }
}

test('a body without a length is counted while it arrives, and the rest of it is not read', async () => {
  const handler = createFetchHandler(new FakeReranker(), { maxBody: 1000 });
  let sent = 0;
  const body = new ReadableStream({
    pull(stream) {
      sent += 1;
      stream.enqueue(new Uint8Array(400).fill(32));
    },
  });
  const response = await handler(new Request('http://x/v1/rerank', { method: 'POST', body, duplex: 'half' }));
  assert.equal(response.status, 413);
  assert.ok(sent < 10, `${sent} pieces were read`);
});

test('a length that lies is not believed', async () => {
  const handler = createFetchHandler(new FakeReranker(), { maxBody: 1000 });
  const long = new Request('http://x/v1/rerank', { method: 'POST', body: ' '.repeat(2000), headers: { 'content-length': '5', 'content-type': 'application/json' } });
  assert.equal((await handler(long)).status, 413);
  const short = new Request('http://x/v1/rerank', { method: 'POST', body: '{}', headers: { 'content-length': '9999', 'content-type': 'application/json' } });
  assert.equal((await handler(short)).status, 413);
});

test('a body that breaks off is of a client that is gone', async () => {
  const events = [];
  const handler = createFetchHandler(new FakeReranker(), { log: (event) => events.push(event) });
  const body = new ReadableStream({ pull: (stream) => stream.error(new Error('gone')) });
  assert.equal((await handler(new Request('http://x/v1/rerank', { method: 'POST', body, duplex: 'half' }))).status, 499);
  assert.deepEqual(events, []);
});

test('requests compute one after the other, in their order; beyond the queue there is 429', async () => {
  const reranker = new SlowReranker();
  const handler = createFetchHandler(reranker, { maxQueue: 2, retryAfter: 7 });
  const order = [];
  const all = [1, 2, 3].map(async (n) => {
    await until(async () => n === 1 || (n === 2 ? reranker.waiting.length : gauge(handler, 'queue_length 1')()));
    const { status } = await ask(handler, { documents: [`d${n}`] });
    order.push([n, status]);
  });
  await until(gauge(handler, 'queue_length 2'));
  const refused = await ask(handler);
  assert.equal(refused.status, 429);
  assert.equal(refused.headers.get('retry-after'), '7');
  for (let n = 0; n < 3; n++) await reranker.next();
  await Promise.all(all);
  assert.deepEqual(order, [[1, 200], [2, 200], [3, 200]]);
  const after = ask(handler);
  await reranker.next();
  assert.equal((await after).status, 200);
});

test('a client that leaves stops its work, running or waiting, and the next one goes on', async () => {
  const reranker = new SlowReranker();
  const events = [];
  const handler = createFetchHandler(reranker, { log: (event) => events.push(event) });
  const [running, waiting] = [new AbortController(), new AbortController()];
  const first = ask(handler, {}, { signal: running.signal });
  await until(() => reranker.waiting.length);
  const second = ask(handler, {}, { signal: waiting.signal });
  await until(gauge(handler, 'queue_length 1'));
  const third = ask(handler);
  await until(gauge(handler, 'queue_length 2'));
  waiting.abort();
  assert.equal((await second).status, 499);
  reranker.waiting.shift();
  running.abort();
  assert.equal((await first).status, 499);
  await reranker.next();
  assert.equal((await third).status, 200);
  const gone = new AbortController();
  gone.abort();
  assert.equal((await ask(handler, {}, { signal: gone.signal })).status, 499);
  assert.deepEqual(events, []);
});

test('the next one is let in when the engine has stopped, not when the client has left', async () => {
  const reranker = new SlowReranker();
  const stopped = deferred();
  reranker.score = async () => stopped.promise; // an empty call comes after what runs
  const handler = createFetchHandler(reranker);
  const leaver = new AbortController();
  const first = ask(handler, {}, { signal: leaver.signal });
  await until(() => reranker.waiting.shift());
  leaver.abort();
  assert.equal((await first).status, 499);
  const second = ask(handler);
  await until(gauge(handler, 'queue_length 1'));
  assert.equal(reranker.waiting.length, 0);
  stopped.resolve(new Float32Array(0));
  await reranker.next();
  assert.equal((await second).status, 200);
});

test('one who is inside without a sign of life holds nobody up for ever', async (t) => {
  const gate = new Gate(9, 1);
  const calls = { full: () => new Error('full'), stuck: () => new Error('stuck') };
  t.mock.method(globalThis, 'setInterval', () => 0, { times: 1 }); // a runtime that dropped the request fires no timers of it
  const leave = await gate.enter(undefined, calls);
  const waiting = [gate.enter(undefined, calls), gate.enter(undefined, calls)];
  for (const one of waiting) await assert.rejects(one, { message: 'stuck' });
  const next = await gate.enter(undefined, calls);
  leave(); // late, and heard no more
  assert.ok(gate.busy);
  const patient = gate.enter(undefined, calls);
  await new Promise((done) => setTimeout(done, 400)); // one who is alive may take its time
  next();
  (await patient)();
  assert.ok(!gate.busy && gate.length === 0);
});

test('a runtime is asked to let work go on after the client has left', async () => {
  const kept = [];
  const ctx = { waitUntil: (promise) => kept.push(promise) };
  const handler = createFetchHandler(async () => new FakeReranker(), { cache: { store: { get: () => null, put: async () => {} } } });
  assert.equal((await ask(handler, {}, {}, ctx)).status, 200);
  assert.equal(kept.length, 3); // the load, the work, the store
  await Promise.all(kept);
});

test('the model is loaded by the first request that needs it, once', async () => {
  let loads = 0;
  const loading = deferred();
  const handler = createFetchHandler(() => (loads++, loading.promise), { loadWaitMs: 20 });
  const get = (path) => handler(requestOf({ method: 'GET', path }));
  assert.equal((await get('/health')).status, 200);
  assert.equal((await get('/metrics')).status, 200);
  assert.equal(loads, 0);
  const early = await Promise.all([ask(handler), ask(handler), get('/info')]);
  assert.deepEqual(early.map(({ status }) => status), [503, 503, 503]);
  for (const response of early) assert.equal(response.headers.get('retry-after'), '5');
  assert.equal((await get('/health')).status, 503);
  const patient = ask(handler);
  loading.resolve(new FakeReranker());
  assert.equal((await patient).status, 200);
  assert.equal((await get('/health')).status, 200);
  assert.equal(loads, 1);
});

test('a load that failed is told to the operator alone, and tried again', async () => {
  let loads = 0;
  const events = [];
  const load = async () => {
    loads += 1;
    if (loads === 1) throw new RerankError('download', 'Cannot download https://secret.example/model.gguf');
    return new FakeReranker();
  };
  const handler = createFetchHandler(load, { retryAfter: 0, log: (event) => events.push(event) });
  const failed = await ask(handler);
  assert.equal(failed.status, 503);
  assert.doesNotMatch(await failed.text(), /secret/);
  assert.equal(events.length, 1);
  assert.match(events[0].error.message, /secret/);
  assert.equal((await ask(handler)).status, 200);
  assert.equal(loads, 2);
  const slow = createFetchHandler(async () => Promise.reject(new Error('no')), { retryAfter: 60 });
  assert.deepEqual([(await ask(slow)).status, (await ask(slow)).status], [503, 503]);
  const wrong = createFetchHandler(async () => ({}), { log: (event) => events.push(event) });
  assert.equal((await ask(wrong)).status, 503);
  assert.match(events[1].error.message, /must give a Reranker/);
});

test('a reranker that was lost is loaded again', async () => {
  let loads = 0;
  let lose;
  const load = async () => {
    loads += 1;
    return Object.assign(new FakeReranker(), { lost: new Promise((resolve) => (lose = resolve)) });
  };
  for (const [reason, wanted] of [['device-lost', 1], ['oom', 2]]) {
    loads = 0;
    const handler = createFetchHandler(load);
    assert.equal((await ask(handler)).status, 200);
    lose({ reason }); // of a GPU, it mends that itself
    await tick();
    assert.equal((await ask(handler)).status, 200);
    assert.equal(loads, wanted, reason);
  }
  loads = 0;
  const unloaded = createFetchHandler(async () => {
    loads += 1;
    const one = new FakeReranker();
    one.rerank = async () => {
      throw new RerankError('not-loaded', 'Unloaded.');
    };
    return loads > 1 ? new FakeReranker() : one;
  });
  assert.equal((await ask(unloaded)).status, 503);
  assert.equal((await ask(unloaded)).status, 200);
});

test('a reranker that failed for good is unloaded, and the next request loads another one', async () => {
  for (const [code, status] of [['oom', 500], ['download', 503], ['integrity', 503], ['not-loaded', 503]]) {
    let loads = 0;
    let unloads = 0;
    const events = [];
    const load = async () => {
      loads += 1;
      const one = new FakeReranker();
      one.unload = async () => {
        unloads += 1;
        throw new Error('already gone');
      };
      if (loads === 1) one.rerank = async () => Promise.reject(new RerankError(code, 'secret.gguf has changed.'));
      return one;
    };
    const handler = createFetchHandler(load, { log: (event) => events.push(event) });
    const failed = await ask(handler);
    assert.equal(failed.status, status, code);
    assert.equal(failed.headers.get('retry-after'), status === 503 ? '5' : null);
    assert.doesNotMatch(await failed.text(), /secret/);
    assert.equal((await ask(handler)).status, 200, code);
    assert.deepEqual([loads, unloads], [2, 1], code);
    assert.match(events[0].error.message, /secret/);
    const given = Object.assign(await load(), { rerank: async () => Promise.reject(new RerankError(code, 'x')), unload: () => assert.fail('it is the caller\'s') });
    const own = createFetchHandler(given);
    assert.deepEqual([(await ask(own)).status, (await ask(own)).status], [status, status], code);
  }
});

test('a model with a short context needs no option, and no bound is beyond it', async () => {
  const seen = [];
  const reranker = new FakeReranker();
  reranker.info = () => ({ name: 'short', contextLength: 2048, warnings: [] });
  reranker.rerank = (query, documents, options) => {
    seen.push(options.maxLength);
    return FakeReranker.prototype.rerank.call(reranker, query, documents, options);
  };
  for (const options of [{}, { maxLength: 8192 }, { maxLength: 100 }]) {
    const handler = createFetchHandler(reranker, options);
    assert.equal((await ask(handler)).status, 200);
    assert.equal((await (await handler(requestOf({ method: 'GET', path: '/info' }))).json()).max_input_length, options.maxLength === 100 ? 100 : 2048);
  }
  assert.deepEqual(seen, [undefined, 2048, 100]);
});

test('nothing is computed of a request with too many tokens, whatever its queries', async () => {
  const reranker = new FakeReranker();
  const handler = createFetchHandler(reranker, { maxTokens: 15 });
  const pairs = (n) => ask(handler, { query: undefined, documents: undefined, text_1: Array.from({ length: n }, (_, at) => `q${at}`), text_2: new Array(n).fill('a b') });
  assert.equal((await pairs(3)).status, 200); // five tokens each
  assert.equal(reranker.calls.length, 3);
  assert.equal((await pairs(4)).status, 413);
  assert.equal(reranker.calls.length, 3);
});

test('bodies of all requests together are bounded, and room is made again', async () => {
  const reranker = new SlowReranker();
  const handler = createFetchHandler(reranker, { maxBody: 1000, maxQueue: 1 });
  const uploads = [1, 2, 3].map(() => {
    const upload = {};
    const body = new ReadableStream({ start: (stream) => Object.assign(upload, { stream }) });
    upload.stream.enqueue(new Uint8Array(700).fill(32));
    upload.answer = handler(new Request('http://x/v1/rerank', { method: 'POST', body, duplex: 'half' }));
    return upload;
  });
  assert.equal((await Promise.race(uploads.map(({ answer }) => answer))).status, 429);
  for (const { stream } of uploads) try { stream.close(); } catch { /* the one that was refused */ }
  assert.deepEqual((await Promise.all(uploads.map(({ answer }) => answer))).map(({ status }) => status).sort(), [400, 400, 429]);
  const last = ask(handler, { documents: ['x'.repeat(800)] });
  await reranker.next();
  assert.equal((await last).status, 200);
});

test('bodies that no longer arrive make room for others', async () => {
  const uploads = new Uploads(10, 5, 0);
  for (const more of [0, 1]) {
    const resume = deferred();
    const hung = uploads.during(async (keep) => {
      const chunks = keep(new Uint8Array(8));
      await resume.promise;
      assert.deepEqual(chunks, []);
      if (more) keep(new Uint8Array(more));
    });
    assert.equal(await uploads.during(async (keep) => keep(new Uint8Array(9)).length), 1);
    resume.resolve();
    await assert.rejects(hung, { status: 429 });
  }
  const patient = new Uploads(10, 5, 1e9);
  await patient.during(async (keep) => {
    keep(new Uint8Array(8));
    await assert.rejects(patient.during(async (another) => another(new Uint8Array(9))), { status: 429 });
    assert.equal(keep(new Uint8Array(2)).length, 2);
  });
  assert.equal(await patient.during(async (keep) => keep(new Uint8Array(10)).length), 1);
});

test('what the engine says of its inside goes to the log, not to the client', async () => {
  const events = [];
  const handler = createFetchHandler(new FakeReranker(), { log: (event) => events.push(event) });
  const response = await ask(handler, { query: '!oom' });
  assert.doesNotMatch(await response.text(), /0x1234/);
  assert.match(events[0].error.message, /0x1234/);
  const loud = createFetchHandler(new FakeReranker(), {
    log: () => {
      throw new Error('a log that fails');
    },
  });
  assert.equal((await ask(loud, { query: '!oom' })).status, 500);
});

test('known texts are not computed again, and the oldest are forgotten', async () => {
  const reranker = new FakeReranker();
  const handler = createFetchHandler(reranker, { cache: { entries: 2 } });
  const hits = async (...documents) => (await ask(handler, { documents })).headers.get('x-cache');
  assert.equal(await hits('a', 'a', 'b'), '0/3');
  assert.deepEqual(reranker.calls, [['a', 'b']]);
  assert.equal(await hits('a'), '1/1'); // used last: b goes first
  assert.equal(await hits('c'), '0/1');
  assert.equal(await hits('a', 'c'), '2/2');
  assert.equal(await hits('b'), '0/1');
  assert.equal(reranker.calls.length, 3);
  const metrics = await (await handler(requestOf({ method: 'GET', path: '/metrics' }))).text();
  assert.match(metrics, /edge_reranker_cache_hits_total 3\n/);
  assert.match(metrics, /edge_reranker_cache_misses_total 5\n/);
});

test('a store outlives the handler; what it gives is looked at; when it fails the engine computes', async () => {
  const known = new Map();
  const store = { get: async (key) => known.get(key), put: async (key, value) => known.set(key, value) };
  const answer = async (options, body) => {
    const response = await ask(createFetchHandler(new FakeReranker(), options), body);
    const { results } = await response.json();
    return [response.headers.get('x-cache'), results];
  };
  const [first, computed] = await answer({ cache: { store } });
  assert.equal(first, '0/3');
  await tick();
  assert.equal(known.size, 3);
  const [second, found] = await answer({ cache: { store } });
  assert.equal(second, '3/3');
  assert.deepEqual(found, computed);
  assert.equal((await answer({ cache: { store, storeLimit: 1 } }))[0], '1/3');
  for (const garbage of ['', '{}', 'null', '{"score":"1","logit":0,"tokens":1,"truncated":false}', '{"score":null,"logit":1,"tokens":1,"truncated":false}']) {
    for (const key of known.keys()) known.set(key, garbage);
    const [none, again] = await answer({ cache: { store: { ...store, put: () => {} } } });
    assert.equal(none, '0/3', garbage);
    assert.deepEqual(again, computed);
  }
  const events = [];
  const broken = { get: async () => Promise.reject(new Error('down')), put: () => { throw new Error('down'); } };
  const [miss, still] = await answer({ cache: { store: broken }, log: (event) => events.push(event) });
  assert.equal(miss, '0/3');
  assert.deepEqual(still, computed);
  await tick();
  assert.deepEqual(events.map(({ level }) => level), ['warn', 'warn']);
});

test('what the keys of a request have in common is hashed once, and few texts at a time', async (t) => {
  const digest = crypto.subtle.digest.bind(crypto.subtle);
  let [bytes, running, most] = [0, 0, 0];
  t.mock.method(crypto.subtle, 'digest', async (name, data) => {
    bytes += data.byteLength;
    most = Math.max(most, (running += 1));
    const result = await digest(name, data);
    running -= 1;
    return result;
  });
  const handler = createFetchHandler(new FakeReranker(), { cache: {} });
  const documents = Array.from({ length: 1000 }, (_, n) => `d${n}`);
  assert.equal((await ask(handler, { query: 'q'.repeat(100_000), documents })).status, 200);
  assert.ok(bytes < 300_000 && most <= 8, `${bytes} bytes, ${most} at once`);
});

test('another file, or another version, is another score; a store is asked so often a request', async () => {
  const known = new Map();
  let asked = 0;
  const store = { get: (key) => (asked++, known.get(key)), put: (key, value) => known.set(key, value) };
  const hits = async (fingerprint, version) => {
    const reranker = new FakeReranker();
    const info = { ...reranker.info(), ...(fingerprint && { fingerprint }) };
    reranker.info = () => info;
    return (await ask(createFetchHandler(reranker, { cache: { store, version } }))).headers.get('x-cache');
  };
  assert.deepEqual([await hits(), await hits('aa'), await hits('bb'), await hits('bb', '2')], ['0/3', '0/3', '0/3', '0/3']);
  assert.deepEqual([await hits(), await hits('aa'), await hits('bb'), await hits('bb', '2')], ['3/3', '3/3', '3/3', '3/3']);
  const handler = createFetchHandler(new FakeReranker(), { cache: { store, storeLimit: 2 } });
  asked = 0;
  known.clear();
  await ask(handler, { query: undefined, documents: undefined, text_1: ['a', 'b', 'c', 'd'], text_2: ['a', 'b', 'c', 'd'] });
  assert.deepEqual([asked, known.size], [2, 2]);
});

test('options are checked', () => {
  const create = (options) => () => createFetchHandler(new FakeReranker(), options);
  for (const options of [5, { apiKey: '' }, { apiKey: undefined }, { apiKey: [''] }, { apiKey: ['a', undefined] }, { apiKey: [] }, { cors: 5 }, { cors: 'https://x/page' }, { cors: ['x.example'] }, { basePath: 'api' }, { maxDocuments: 0 }, { maxBody: 1.5 }, { maxQueue: -1 }, { cache: true }, { cache: { store: {} } }, { cache: { version: 5 } }, { maxQueries: 0 }, { log: 'x' }, { loadWaitMs: NaN }]) {
    assert.throws(create(options), { code: 'bad-input' }, JSON.stringify(options));
  }
  create({ apiKey: null, cors: undefined, cache: {}, basePath: '/' })();
  for (const source of [undefined, null, {}, 'mini']) assert.throws(() => createFetchHandler(source), { code: 'bad-input' });
});

test('the histogram adds up', async () => {
  const handler = createFetchHandler(new FakeReranker());
  await ask(handler);
  await ask(handler, { query: '' });
  const text = await (await handler(requestOf({ method: 'GET', path: '/metrics' }))).text();
  for (const status of [200, 400]) {
    const buckets = [...text.matchAll(new RegExp(`_bucket\\{status="${status}",le="[^"]+"\\} (\\d+)`, 'g'))].map(([, count]) => Number(count));
    assert.equal(buckets.length, 14);
    assert.ok(buckets.every((count, at) => at === 0 || count >= buckets[at - 1]));
    assert.equal(buckets.at(-1), 1);
    assert.ok(text.includes(`edge_reranker_request_duration_seconds_count{status="${status}"} 1\n`));
  }
  assert.match(text, /edge_reranker_requests_total\{dialect="canonical",status="400"\} 1\n/);
});

test('the built-in model: the replies are those of the reranker itself, cached or not, in any company', async (t) => {
  const reranker = await open(t, { threads: 1 });
  const query = 'What is the capital of China?';
  const documents = ['Bananas are yellow.', 'Beijing is the capital of China.', '', 'Bananas are yellow.', 'The capital of Korea is Seoul.'];
  const wanted = (await reranker.rerank(query, documents)).results.map(({ index, relevanceScore, logit, tokens, truncated }) => ({ index, relevance_score: relevanceScore, logit, tokens, truncated }));
  const handler = createFetchHandler(reranker, { cache: {} });
  const cut = (list) => list.map(({ index, relevance_score, logit, tokens, truncated }) => ({ index, relevance_score, logit, tokens, truncated }));
  for (const hits of ['0/5', '5/5']) {
    const response = await ask(handler, { query, documents });
    assert.equal(response.headers.get('x-cache'), hits);
    assert.deepEqual(cut((await response.json()).results), wanted);
  }
  const one = await (await ask(handler, { query, documents: ['Paris is in France.', documents[1]], max_tokens_per_doc: 3 })).json();
  const { ids, sharedPrefix } = await reranker.tokenize(query, '');
  for (const { tokens, truncated } of one.results) {
    assert.ok(truncated);
    assert.ok(tokens >= ids.length + 1 && tokens <= ids.length + 3, `${tokens} of ${ids.length} and 3; ${sharedPrefix} are shared`);
  }
  // Long texts reach the engine in part, and their scores are those of the whole.
  const endless = ['Beijing is the capital. '.repeat(20_000), '北京是中国的首都，也是一座古城。'.repeat(20_000), '1'.repeat(90_000), 'e\u0301te\u0301 < \u0338'.repeat(60_000), ' .\n'.repeat(20)];
  for (const [maxLength, more] of [[150, {}], [undefined, { max_tokens_per_doc: 50 }]]) {
    const around = ids.length + 50;
    const whole = (await reranker.rerank(query, endless, { maxLength: maxLength ?? around })).results.map(({ index, relevanceScore, logit, tokens, truncated }) => ({ index, relevance_score: relevanceScore, logit, tokens, truncated }));
    const { rerank } = reranker;
    let sent = 0;
    reranker.rerank = (one, texts, options) => {
      sent = Math.max(...texts.map((text) => text.length));
      return rerank.call(reranker, one, texts, options);
    };
    const reply = await (await ask(createFetchHandler(reranker, { maxLength }), { query, documents: endless, ...more })).json();
    reranker.rerank = rerank;
    assert.ok(sent > 0 && sent < 100_000, `${sent}`);
    if (maxLength) assert.deepEqual(cut(reply.results), whole);
    assert.deepEqual(reply.results.map(({ truncated }) => truncated).filter(Boolean).length, 4);
  }
  const leaver = new AbortController();
  const left = ask(handler, { query, documents: Array.from({ length: 500 }, (_, n) => `Document ${n} about trains and rivers.`) }, { signal: leaver.signal });
  setTimeout(() => leaver.abort(), 100);
  assert.equal((await left).status, 499);
  assert.equal((await ask(handler, { query, documents })).status, 200);
  const limited = createFetchHandler(reranker, { maxTokens: 100 });
  assert.equal((await ask(limited, { query, documents: ['Beijing'] })).status, 200);
  assert.equal((await ask(limited, { query, documents: ['Beijing '.repeat(60)] })).status, 413);
});

test('whatever a client sends, it gets an answer that says what is wrong', async () => {
  const events = [];
  const handler = createFetchHandler(new FakeReranker(), { maxDocuments: 3, cache: {}, log: (event) => events.push(event) });
  const VALUES = [null, true, 0, -1, 1.5, 2, 1e300, '', ' ', 'red', [], {}, ['red'], ['a', 'b'], [['a']], [null], [''], { text: 'red' }, { text: null }, { text: 5 }, [{ text: 'a' }, { content: 'b' }], { query: 'red', documents: ['a'] }, ['a', 'b', 'c', 'd'], { __proto__: null, length: 3 }];
  const FIELDS = 'query queries documents passages texts contexts input parameters text_1 text_2 items top_n top_k truncation truncate return_documents return_text instruction instruct task raw_scores threshold max_tokens_per_doc model constructor __proto__ toString'.split(' ');
  const PATHS = ['/v1/rerank', '/score', '/voyage/v1/rerank', '/v1/ranking', '/ai/run/m', '/tokenize'];
  let seed = 7;
  const random = (n) => (seed = (seed * 48_271) % 2_147_483_647) % n;
  const seen = new Set();
  for (let n = 0; n < 5000; n++) {
    const body = {};
    for (let fields = random(6); fields >= 0; fields--) Object.defineProperty(body, FIELDS[random(FIELDS.length)], { value: VALUES[random(VALUES.length)], enumerable: true, configurable: true });
    const response = await handler(requestOf({ path: PATHS[random(PATHS.length)], body }));
    const reply = await response.json();
    seen.add(response.status);
    assert.ok([200, 400, 413, 422].includes(response.status), `${response.status} for ${JSON.stringify(body)}`);
    if (response.status !== 200) assert.ok(reply.message ?? reply.error, JSON.stringify(body));
  }
  assert.deepEqual([...seen].sort(), [200, 400, 413, 422]);
  assert.deepEqual(events, []);
});

test('a strict user of the types compiles', () => {
  const here = (path) => fileURLToPath(new URL(path, import.meta.url));
  execFileSync(process.execPath, [here('node_modules/typescript/bin/tsc'), '-p', here('node-server-types.json')], { stdio: 'pipe', encoding: 'utf8' });
});
