// The device behind the package: given, refused, out of memory, and free again afterwards.
import assert from 'node:assert/strict';
import { compare, inPage } from './package-gpu-common.mjs';

inPage('unload destroys the device, and nothing is left in the page', async (page) => {
  const got = await page.evaluate(async () => {
    const devices = spied();
    const reranker = await onGpu({ worker: false });
    await reranker.rerank(QUERY, many(3));
    const running = told(reranker.rerank(QUERY, many(3000)));
    await pause(200);
    await reranker.unload();
    return { devices: devices.length, running: await running, reasons: await Promise.all(devices.map((device) => Promise.race([device.lost.then(({ reason }) => reason), pause(5000)]))), lost: await reranker.lost, own: Object.hasOwn(navigator, 'gpu') };
  });
  assert.ok(got.devices > 0);
  assert.deepEqual(got.reasons, got.reasons.map(() => 'destroyed'));
  assert.equal(got.running, 'not-loaded');
  assert.deepEqual(got.lost, { reason: 'destroyed' });
  assert.equal(got.own, false);
});

inPage('a GPUDevice that is given computes and survives unload', async (page, t) => {
  const got = await page.evaluate(async () => {
    const adapter = await navigator.gpu.requestAdapter();
    const device = await adapter.requestDevice({ requiredLimits: { maxStorageBufferBindingSize: adapter.limits.maxStorageBufferBindingSize, maxBufferSize: adapter.limits.maxBufferSize } });
    let submits = 0;
    const submit = device.queue.submit.bind(device.queue);
    device.queue.submit = (commands) => (submits++, submit(commands));
    const [mine, other] = await Promise.all([onGpu({ gpu: { device } }), onGpu({ worker: false })]);
    const before = submits;
    const first = await logits(other, many(6));
    const quiet = submits === before;
    const second = await logits(mine, many(6));
    await mine.unload();
    await other.unload();
    const lost = await Promise.race([device.lost, pause(300)]);
    device.createBuffer({ size: 16, usage: GPUBufferUsage.STORAGE }).destroy();
    return { quiet, used: submits > before, first: first.logits, second: second.logits, device: second.device, lost: lost?.reason ?? null, own: Object.hasOwn(navigator, 'gpu') };
  });
  assert.equal(got.quiet, true, 'the other load computes on the given device');
  assert.equal(got.used, true);
  compare(got.second, got.first, t, 'given device');
  assert.deepEqual([got.device, got.lost, got.own], ['webgpu', null, false]);
});

inPage('a GPUDevice with the default limits is enough', async (page) => {
  const device = await page.evaluate(async () => {
    const device = await (await navigator.gpu.requestAdapter()).requestDevice();
    const reranker = await Reranker.load({ model: './tiny-f32.gguf', gpu: { device } });
    const result = await reranker.rerank(QUERY, many(4));
    await reranker.unload();
    return result.device;
  });
  assert.equal(device, 'webgpu');
});

inPage('a GPU without room: an explicit load fails and frees it, auto takes the CPU and says so, a call fails alone', async (page, t) => {
  const got = await page.evaluate(async () => {
    let full = 0; // how many questions for errors are answered so
    const { popErrorScope } = GPUDevice.prototype;
    GPUDevice.prototype.popErrorScope = async function () {
      const error = await popErrorScope.call(this);
      return full-- > 0 ? new GPUOutOfMemoryError('no room') : error;
    };
    Object.defineProperty(GPUAdapterInfo.prototype, 'isFallbackAdapter', { get: () => false });
    Object.defineProperty(GPUAdapterInfo.prototype, 'architecture', { get: () => 'rocket' });
    const devices = spied();
    full = Infinity;
    const explicit = await told(onGpu({ worker: false }));
    const fallen = await onGpu({ worker: false, device: 'auto' });
    const fell = [await logits(fallen, many(4)), fallen.info().deviceReason];
    await fallen.unload();
    full = 0;
    const freed = await Promise.all(devices.map((device) => Promise.race([device.lost.then(({ reason }) => reason), pause(5000)])));
    const reranker = await onGpu({ worker: false, device: 'auto' });
    await logits(reranker, many(1));
    full = Infinity;
    const call = await told(logits(reranker, [...many(40), long]));
    full = 0;
    const next = await logits(reranker, many(4));
    await reranker.unload();
    return { explicit, fell, freed, call, next };
  });
  assert.equal(got.explicit, 'oom');
  const [fell, reason] = got.fell;
  assert.equal(fell.device, 'wasm');
  assert.match(reason, /GPU failed while the model was loaded \(oom: /);
  assert.deepEqual(fell.warnings, [reason]);
  assert.deepEqual(got.freed, ['destroyed', 'destroyed']);
  assert.equal(got.call, 'oom');
  assert.equal(got.next.device, 'webgpu');
  compare(got.next.logits, fell.logits, t, 'after running out of memory');
});

inPage('a model that is no model is refused, and the GPU is free', async (page) => {
  const got = await page.evaluate(async () => {
    const devices = spied();
    const bytes = new Uint8Array(await (await fetch('./tiny-f32.gguf')).arrayBuffer());
    const codes = [];
    devices.length = 0;
    for (const model of [bytes.subarray(0, 100), bytes.subarray(0, bytes.length - 1000)]) codes.push(await told(onGpu({ model, worker: false })));
    const controller = new AbortController();
    const load = told(onGpu({ model: bytes, worker: false, signal: controller.signal }));
    while (!devices.length) await pause(1);
    controller.abort();
    codes.push(await load);
    const alive = await Promise.all(devices.map((device) => Promise.race([device.lost.then(() => false), pause(5000).then(() => true)])));
    return { codes, alive: alive.filter(Boolean).length };
  });
  assert.deepEqual(got, { codes: ['bad-model', 'bad-model', 'aborted'], alive: 0 });
});
