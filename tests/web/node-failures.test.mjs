// What goes wrong leaves the package as a RerankError with a code of the known set, whoever threw it, in this thread and from a worker.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { asRerankError } from '../../pkg/src/errors.js';
import { Reranker } from '../../pkg/src/node.js';
import { fails, many, modelBytes, modelPath, open } from './node-common.mjs';

const TINY = modelPath('tiny-f32.gguf');
const WORKER = new URL('../../pkg/src/node-worker.js', import.meta.url);

for (const worker of [false, true]) {
  const where = worker ? 'in a worker' : 'in this thread';

  test(`what a callback throws ends the work and comes back as the cause, ${where}`, async (t) => {
    const mine = Object.assign(new TypeError('mine'), { code: 'download' });
    const throwing = (n) => () => {
      if (!n--) throw mine;
    };
    const reranker = await open(t, { model: TINY, worker });
    const heard = [];
    const onScore = ({ index }) => {
      heard.push(index);
      if (index === 2) throw mine;
    };
    const calls = [
      () => reranker.rerank('q', many(2000), { onScore }),
      () => reranker.score(many(2000).map((text) => ['q', text]), { onScore }),
      () => reranker.rerankStream('q', many(2000), { onScore: throwing(0) }).next(),
    ];
    for (const call of calls) {
      heard.length = 0;
      assert.equal((await fails(call(), 'aborted', /onScore threw.*mine/)).cause, mine);
      assert.ok(heard.length <= 3, 'no score is told after that');
    }
    assert.equal((await reranker.rerank('q', ['a'])).results.length, 1);
    for (const status of ['initiate', 'download', 'done', 'ready']) {
      const onProgress = (event) => {
        if (event.status === status) throw mine;
      };
      assert.equal((await fails(Reranker.load({ model: TINY, worker, onProgress }), 'aborted', /onProgress threw.*mine/)).cause, mine, status);
    }
  });

  test(`a fetch that gives no Response is refused at once, ${where}`, async () => {
    for (const given of [undefined, {}, 'text', { status: 200, headers: new Headers(), body: 'text' }]) {
      let asked = 0;
      const own = async () => (asked++, given);
      await fails(Reranker.load({ model: 'https://models.invalid/a.gguf', fetch: own, worker }), 'bad-input', /options\.fetch must give a Response, got/);
      assert.equal(asked, 1);
    }
    const failing = () => Promise.reject(Object.assign(new Error('no way'), { code: 42 }));
    await fails(Reranker.load({ model: 'data:,x', fetch: failing, worker }), 'bad-input', /no way/);
  });

  test(`addresses that hold their bytes are read once, ${where}`, async (t) => {
    const bytes = await modelBytes('tiny-f32.gguf');
    const place = URL.createObjectURL(new Blob([bytes]));
    for (const model of [`data:application/octet-stream;base64,${bytes.toString('base64')}`, ...(worker ? [] : [place])]) {
      const reranker = await open(t, { model, worker });
      assert.equal((await reranker.score([['q', 'a']])).length, 1);
    }
    const started = performance.now();
    await fails(Reranker.load({ model: 'blob:null/x', worker }), 'bad-input', /blob:null\/x.*pass the Blob itself/);
    assert.ok(performance.now() - started < 2000, 'not tried again');
  });
}

test('what cannot be an address is refused at once', async () => {
  for (const model of ['javascript:alert(1)', 'ftp://models.example/a.gguf', 'localhost:8000/a.gguf', new URL('about:blank')]) {
    await fails(Reranker.load({ model }), 'bad-input', /cannot be read: an address begins with http:/);
  }
  await fails(Reranker.load({ model: 'C:\\x.gguf' }), 'bad-input', /x\.gguf/);
  for (const model of ['0.6b-q8x', 'mini2', '0.6B', '..gguf2']) await fails(Reranker.load({ model }), 'bad-input', /no model '.*mini, 0\.6b-q8, 0\.6b-q4/);
  await fails(Reranker.load({ model: 'a/b', remoteHost: 'data:,' }), 'bad-input', /begins with http/);
  await fails(Reranker.load({ model: TINY, tokenizer: 'javascript:1' }), 'bad-input', /cannot be read/);
});

test('text is bounded before it enters the engine', async (t) => {
  const reranker = await open(t, { model: TINY });
  const MB = 1 << 20;
  const long = 'x'.repeat(64 * MB + 1);
  const wide = '\u4e2d'.repeat(22 * MB); // 66 MB in UTF-8
  await fails(reranker.rerank('q', ['a', long]), 'bad-input', /documents\[1\] has more than 64 MB/);
  await fails(reranker.rerank('q', [{ text: wide }]), 'bad-input', /documents\[0\] has more than 64 MB/);
  await fails(reranker.rerank(long, ['a']), 'bad-input', /query has more/);
  await fails(reranker.rerank('q', ['a'], { instruction: long }), 'bad-input', /options\.instruction has more/);
  await fails(reranker.score([['q', 'a'], ['q', wide]]), 'bad-input', /pairs\[1\]\[1\] has more/);
  await fails(reranker.tokenize('q', long), 'bad-input', /documents\[0\] has more/);
  const large = 'x'.repeat(60 * MB);
  await fails(reranker.rerank('q', Array(9).fill(large)), 'bad-input', /more than 512 MB together/);
  assert.equal((await reranker.score([['q', 'a']])).length, 1);
});

test('codes of others do not leak', () => {
  for (const error of [Object.assign(new Error('gone'), { code: 'ENOENT' }), new DOMException('quota', 'QuotaExceededError'), 'text', null, undefined]) {
    assert.equal(asRerankError(error, 'bad-input').code, 'bad-input');
  }
  assert.equal(asRerankError(Object.assign(new Error('gone'), { code: 'oom' })).code, 'oom');
});

test('a worker that was given keeps no listener after unload', async (t) => {
  const worker = new Worker(WORKER);
  t.after(() => worker.terminate());
  const counts = () => worker.eventNames().map((name) => [name, worker.listenerCount(name)]);
  const before = counts();
  for (let n = 0; n < 3; n++) {
    const reranker = await Reranker.load({ model: TINY, worker });
    await reranker.unload();
    await fails(Reranker.load({ model: new Uint8Array(5), worker }), 'bad-model');
  }
  assert.deepEqual(counts(), before);
});

test('a trap in a worker fails its calls', async () => {
  const script = `
    import { parentPort } from 'node:worker_threads';
    import ${JSON.stringify(WORKER.href)};
    const trap = new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 120, 0, 0, 10, 5, 1, 3, 0, 0, 11]));
    parentPort.on('message', (message) => message === 'trap' && queueMicrotask(() => new WebAssembly.Instance(trap).exports.x()));`;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(script)}`));
  const reranker = await Reranker.load({ model: TINY, worker });
  const running = fails(reranker.rerank('q', many(5000)), 'oom', /unreachable.*fresh worker/);
  worker.postMessage('trap');
  await running;
  assert.deepEqual(await reranker.lost, { reason: 'oom' });
  await fails(reranker.rerank('q', ['a']), 'not-loaded');
  await reranker.unload();
  await worker.terminate();
});
