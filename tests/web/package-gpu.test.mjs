// The package on WebGPU: scores are those of the CPU, and calls end, stop and share as they should.
import assert from 'node:assert/strict';
import { compare, inPage } from './package-gpu-common.mjs';

inPage('a GPU in software: auto computes on the CPU and says why', async (page) => {
  const { able, info } = await page.evaluate(async () => {
    const reranker = await Reranker.load();
    const info = reranker.info();
    await reranker.unload();
    return { able: await capabilities(), info };
  });
  assert.equal(able.webgpu, true);
  assert.equal(able.adapter.software, true);
  assert.ok(able.limits.maxBufferSize > 0);
  assert.equal(able.recommended.device, 'wasm');
  assert.match(able.recommended.reason, /software \(google swiftshader\)/);
  assert.equal(info.device, 'wasm');
  assert.equal(info.deviceReason, able.recommended.reason);
});

for (const worker of [true, false]) {
  const where = worker ? 'in a worker' : 'in the page';

  inPage(`scores on WebGPU are those of the CPU, ${where}`, async (page, t) => {
    const got = await page.evaluate(async (worker) => {
      const [gpu, cpu] = await Promise.all([onGpu({ model: 'mini', worker }), Reranker.load({ worker, device: 'wasm' })]);
      const documents = [...many(20), long];
      const pairs = documents.slice(0, 9).map((text, at) => [`Query ${at >> 1}`, text]);
      const out = {
        info: gpu.info(),
        gpu: await logits(gpu, documents),
        cpu: await logits(cpu, documents),
        pairs: [[...(await gpu.score(pairs, { rawScores: true }))], [...(await cpu.score(pairs, { rawScores: true }))]],
        single: (await logits(gpu, documents.slice(7, 8))).logits[0],
      };
      const streamed = [];
      for await (const { index } of gpu.rerankStream(QUERY, many(5))) streamed.push(index);
      await Promise.all([gpu.unload(), cpu.unload()]);
      return { ...out, streamed: streamed.length };
    }, worker);
    assert.equal(got.info.device, 'webgpu');
    assert.equal(got.info.adapter.software, true);
    assert.equal(got.info.adapter.name, 'google swiftshader');
    assert.ok(got.info.kernels);
    assert.match(got.info.deviceReason, /asked for.*software/);
    assert.equal(got.gpu.device, 'webgpu');
    assert.equal(got.cpu.device, 'wasm');
    compare(got.gpu.logits, got.cpu.logits, t, 'rerank', 2);
    compare(...got.pairs, t, 'score', 2);
    compare([got.single], [got.gpu.logits[7]], t, 'one document alone');
    assert.deepEqual(got.gpu.usage, got.cpu.usage);
    assert.equal(got.streamed, 5);
  });

  inPage(`an abort stops the work, and the next call is right, ${where}`, async (page, t) => {
    const got = await page.evaluate(async (worker) => {
      const reranker = await onGpu({ model: 'mini', worker });
      const alone = async () => {
        const started = performance.now();
        await reranker.rerank(QUERY, ['one']);
        return performance.now() - started;
      };
      await alone();
      const before = await logits(reranker, many(8));
      const waits = [];
      for (let attempt = 0; attempt < 3; attempt++) {
        const controller = new AbortController();
        let scored = 0;
        const call = told(reranker.rerank(QUERY, many(2000), { signal: controller.signal, onScore: () => scored++ }));
        await pause(500 + 400 * attempt);
        const asked = performance.now();
        controller.abort();
        const code = await call;
        await alone();
        waits.push({ code, scored, free: performance.now() - asked, next: await alone() });
      }
      const again = await logits(reranker, many(8));
      await reranker.unload();
      return { before: before.logits, again: again.logits, waits };
    }, worker);
    t.diagnostic(JSON.stringify(got.waits));
    compare(got.again, got.before, t, 'after the aborts');
    for (const { code, scored } of got.waits) assert.deepEqual([code, scored < 2000], ['aborted', true]);
    const late = Math.min(...got.waits.map(({ free, next }) => free - next)); // the best of three: the machine may be busy
    assert.ok(late < 1000, `the device was free after ${late} ms`);
  });

  inPage(`a prefix that is kept is used by the next request, ${where}`, async (page) => {
    const [first, second] = await page.evaluate(async (worker) => {
      const reranker = await onGpu({ worker });
      const out = [await logits(reranker, many(5), { keepPrefix: true }), await logits(reranker, many(5), { keepPrefix: true })];
      await reranker.unload();
      return out;
    }, worker);
    assert.ok(second.usage.prefixReusedTokens > first.usage.prefixReusedTokens, JSON.stringify([first.usage, second.usage]));
    for (const [at, logit] of first.logits.entries()) assert.ok(Math.abs(logit - second.logits[at]) < 1e-3);
  });
}

inPage('200 documents', async (page, t) => {
  const got = await page.evaluate(async () => {
    const reranker = await onGpu();
    const result = await logits(reranker, many(200));
    const few = await logits(reranker, many(200).slice(95, 105));
    await reranker.unload();
    return { logits: result.logits, few: few.logits, timings: result.timings };
  });
  t.diagnostic(JSON.stringify(got.timings));
  assert.equal(got.logits.filter(Number.isFinite).length, 200);
  compare(got.few, got.logits.slice(95, 105), t, 'ten of them');
});

inPage('two models in one page do not disturb each other', async (page, t) => {
  const got = await page.evaluate(async () => {
    const [first, second] = await Promise.all([onGpu({ worker: false }), onGpu({ worker: false })]);
    const alone = await logits(first, many(10));
    const both = await Promise.all([logits(first, many(10)), logits(second, many(10))]);
    await first.unload();
    const left = await logits(second, many(10));
    await second.unload();
    return [alone, ...both, left].map((result) => result.logits);
  });
  for (const logits of got.slice(1)) compare(logits, got[0], t, 'beside another');
});

inPage('with a worker the page has no task of 50 ms', async (page, t) => {
  const attempts = [];
  for (let attempt = 0; attempt < 3 && attempts.at(-1) !== 0; attempt++) {
    attempts.push(await page.evaluate(async () => {
      let longest = 0;
      const observer = new PerformanceObserver((list) => list.getEntries().forEach((entry) => (longest = Math.max(longest, entry.duration))));
      observer.observe({ type: 'longtask' });
      const reranker = await onGpu({ worker: true });
      await reranker.rerank(QUERY, many(60));
      await reranker.unload();
      await pause(100);
      observer.disconnect();
      return longest;
    }));
  }
  t.diagnostic(`longest task over 50 ms: ${attempts}`);
  assert.equal(attempts.at(-1), 0); // the best of three: the machine may be busy
});

inPage('what was measured on the adapter is kept', async (page) => {
  const texts = await page.evaluate(async () => {
    const out = [];
    for (let visit = 0; visit < 2; visit++) {
      const reranker = await onGpu({ worker: true });
      await reranker.rerank(QUERY, many(3));
      const cache = await caches.open('edge-reranker-tuning');
      for (let n = 0; n < 200 && !(await cache.keys()).length; n++) await pause(50); // a call does not wait for it
      if (visit) await pause(500); // what must not come
      out.push(await Promise.all((await cache.keys()).map(async (key) => [key.url, await (await cache.match(key)).text()])));
      await reranker.unload();
    }
    return out;
  });
  assert.equal(texts[0].length, 1);
  assert.match(texts[0][0][0], /swiftshader$/);
  JSON.parse(texts[0][0][1]);
  assert.deepEqual(texts[1], texts[0], 'nothing is measured anew');
}, { fresh: true });
