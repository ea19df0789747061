// The loss of a GPU, and a GPUDevice of the caller: with a GPU and an engine that are not real, in this thread and in a worker.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { capabilities, counted, hardware, Reranker, withGpu } from './node-gpu-common.mjs';
import { fakeDevice, HARDWARE, SOFTWARE } from './fake-gpu.mjs';

const codeOf = (promise) => promise.then(() => 'fine', (error) => error.code);
const soon = () => new Promise((done) => setTimeout(done, 20));

async function open(t, options) {
  const model = counted();
  const reranker = await Reranker.load({ model, ...options });
  t.after(() => reranker.unload());
  return { reranker, model };
}

for (const worker of [false, true]) {
  const where = worker ? 'in a worker' : 'in this thread';

  test(`a loss fails the call that runs, is told, and the next call loads the model again, ${where}`, async (t) => {
    withGpu(t, hardware);
    const events = [];
    const { reranker, model } = await open(t, { worker, onProgress: ({ status }) => events.push(status) });
    assert.equal(reranker.info().device, 'webgpu');
    for (let loss = 1; loss <= 2; loss++) {
      const { lost } = reranker;
      let heard = 0;
      const running = codeOf(reranker.rerank('lose', ['a'], { onScore: () => heard++ }));
      const waiting = reranker.rerank('q', ['a']);
      assert.equal(await running, 'device-lost');
      assert.deepEqual(await lost, { reason: 'device-lost' });
      assert.equal((await waiting).device, 'webgpu');
      assert.equal(model.opened, 1 + loss, 'the model is read once more');
      assert.equal(await codeOf(reranker.rerank('q', ['a'])), 'fine');
      assert.equal(model.opened, 1 + loss, 'and only once');
      assert.notEqual(reranker.lost, lost);
      await soon();
      assert.equal(heard, 0, 'nothing is told after the failure');
    }
    assert.equal(events.filter((status) => status === 'ready').length, 3);
    await reranker.unload();
    assert.deepEqual(await reranker.lost, { reason: 'destroyed' });
    assert.equal(await codeOf(reranker.rerank('q', ['a'])), 'not-loaded');
  });

  test(`a loss that only a call tells of counts as well, ${where}`, async (t) => {
    withGpu(t, hardware);
    const { reranker, model } = await open(t, { worker });
    const { lost } = reranker;
    assert.equal(await codeOf(reranker.rerank('lose silently', ['a'])), 'device-lost');
    assert.deepEqual(await lost, { reason: 'device-lost' });
    assert.equal(await codeOf(reranker.rerank('q', ['a'])), 'fine');
    assert.equal(model.opened, 2);
  });

  test(`a reload that fails fails its call, and the call after it tries again, ${where}`, async (t) => {
    withGpu(t, hardware);
    const { reranker, model } = await open(t, { worker });
    const { read } = model;
    await codeOf(reranker.rerank('lose', ['a']));
    model.read = () => Promise.reject(new Error('the disk is gone'));
    const error = await reranker.rerank('q', ['a']).catch((error) => error);
    assert.equal(error.code, 'download');
    assert.match(error.message, /GPU was lost.*could not be loaded again.*the disk is gone/);
    model.read = read;
    assert.equal(await codeOf(reranker.rerank('q', ['a'])), 'fine');
  });

  test(`who leaves during the reload is told at once, and the next call finds it done, ${where}`, async (t) => {
    withGpu(t, hardware);
    const { reranker, model } = await open(t, { worker });
    const { read } = model;
    await codeOf(reranker.rerank('lose', ['a']));
    let go;
    let asked;
    const reading = new Promise((resolve) => (asked = resolve));
    model.read = (start, end) => {
      asked();
      return new Promise((resolve) => (go = () => resolve(read(start, end))));
    };
    const controller = new AbortController();
    const first = codeOf(reranker.rerank('q', ['a'], { signal: controller.signal }));
    await reading;
    controller.abort();
    assert.equal(await first, 'aborted');
    const second = codeOf(reranker.rerank('q', ['a']));
    await soon();
    go();
    assert.equal(await second, 'fine');
    assert.equal(model.opened, 2);
  });

  test(`unload ends a reload whose source does not answer, ${where}`, async (t) => {
    withGpu(t, hardware);
    const { reranker, model } = await open(t, { worker });
    await codeOf(reranker.rerank('lose', ['a']));
    let asked;
    const reading = new Promise((resolve) => (asked = resolve));
    model.read = () => (asked(), new Promise(() => {}));
    const call = codeOf(reranker.rerank('q', ['a']));
    await reading;
    await reranker.unload();
    assert.equal(await call, 'not-loaded');
  });

  test(`a call can be aborted, and an idle loss is noticed, ${where}`, async (t) => {
    withGpu(t, hardware);
    const { reranker } = await open(t, { worker });
    const controller = new AbortController();
    const call = codeOf(reranker.rerank('wait', ['a'], { signal: controller.signal }));
    await soon();
    controller.abort();
    assert.equal(await call, 'aborted');
    assert.equal(await codeOf(reranker.rerank('q', ['a'])), 'fine');
  });
}

test('a device that is lost while nothing runs is told, and freed once', async (t) => {
  withGpu(t, hardware);
  const { reranker } = await open(t, {});
  const load = globalThis.loads.at(-1);
  load.gpuDevice.lose({ reason: 'unknown', message: 'the driver was reset' });
  assert.deepEqual(await reranker.lost, { reason: 'device-lost' });
  assert.equal(await codeOf(reranker.rerank('q', ['a'])), 'fine');
  assert.equal(load.freed, 1);
  assert.equal(globalThis.loads.at(-1).freed, 0);
  await reranker.unload();
  assert.equal(globalThis.loads.at(-1).freed, 1);
});

test('after the loss auto chooses anew', async (t) => {
  let present = true;
  withGpu(t, () => (present ? hardware() : null));
  const { reranker } = await open(t, {});
  await codeOf(reranker.rerank('lose', ['a']));
  present = false;
  assert.equal((await reranker.rerank('q', ['a'])).device, 'wasm');
  assert.match(reranker.info().deviceReason, /offers no GPU/);
  const explicit = await open(t, {});
  assert.equal(explicit.reranker.info().device, 'wasm');
});

test('an explicit webgpu that cannot be had again says so', async (t) => {
  let present = true;
  withGpu(t, () => (present ? hardware() : null));
  const { reranker } = await open(t, { device: 'webgpu' });
  await codeOf(reranker.rerank('lose', ['a']));
  present = false;
  assert.equal(await codeOf(reranker.rerank('q', ['a'])), 'webgpu-unavailable');
  present = true;
  assert.equal(await codeOf(reranker.rerank('q', ['a'])), 'fine');
});

test('a given device computes, is seen by no other load, and is left alone', async (t) => {
  withGpu(t, hardware);
  const { gpu } = navigator;
  const [mine, other] = [fakeDevice(), fakeDevice()];
  const handler = (mine.onuncapturederror = () => {});
  const reads = (wait) => ({ size: 7, read: async (start, end) => (await wait(), await soon(), new Uint8Array(end - start)) });
  const loads = [mine, undefined, other, undefined].map((device) => open(t, { model: reads(device ? soon : () => {}), gpu: { device } }));
  const [first, second, third] = await Promise.all(loads);
  const devices = globalThis.loads.slice(-4).map((load) => load.gpuDevice);
  assert.deepEqual(devices.map((device) => [mine, other].indexOf(device)).sort(), [-1, -1, 0, 1]);
  assert.equal(navigator.gpu, gpu);
  const load = globalThis.loads.find(({ gpuDevice }) => gpuDevice === mine);
  assert.equal(load.ownsDevice, false);
  assert.match(first.reranker.info().deviceReason, /GPUDevice that was given computes: acme rocket-3/);
  for (const { reranker } of [first, second, third]) assert.equal((await reranker.rerank('q', ['a'])).device, 'webgpu');
  await first.reranker.unload();
  assert.equal(mine.onuncapturederror, handler);
  assert.equal(await Promise.race([mine.lost, soon()]), undefined, 'it is not destroyed');
});

test('while a given device is presented, capabilities are those of the browser, and other loads wait', async (t) => {
  withGpu(t, hardware);
  const asked = {};
  asked.promise = new Promise((resolve) => (asked.resolve = resolve));
  const model = { size: 7, read: async (start, end) => (asked.resolve(), await soon(), new Uint8Array(end - start)) };
  const device = fakeDevice(SOFTWARE);
  const loading = open(t, { model, gpu: { device } });
  await asked.promise;
  const other = open(t, {});
  assert.equal((await capabilities()).adapter.vendor, HARDWARE.vendor);
  await Promise.all([loading, other]);
  assert.deepEqual(globalThis.loads.slice(-2).map(({ gpuDevice }) => gpuDevice === device), [true, false]);
});

test('a load that fails takes the given device out of navigator.gpu', async (t) => {
  withGpu(t, hardware);
  const { gpu } = navigator;
  globalThis.failures.push('oom');
  assert.equal(await codeOf(Reranker.load({ model: counted(), gpu: { device: fakeDevice() } })), 'oom');
  assert.equal(navigator.gpu, gpu);
  assert.equal(await codeOf(open(t, {})), 'fine');
});

test('a given device that is lost is replaced by another one', async (t) => {
  withGpu(t, hardware);
  const device = fakeDevice();
  const { reranker } = await open(t, { gpu: { device } });
  device.destroy();
  assert.deepEqual(await reranker.lost, { reason: 'device-lost' });
  const { warnings } = await reranker.rerank('q', ['a']);
  assert.match(warnings.join(), /GPUDevice that was given was lost/);
  assert.equal(globalThis.loads.at(-1).ownsDevice, true);
  assert.notEqual(globalThis.loads.at(-1).gpuDevice, device);
  assert.equal(await codeOf(Reranker.load({ model: counted(), gpu: { device } })), 'device-lost');
});

test('a given device goes with no worker and no other device, and needs no page', async () => {
  const device = fakeDevice();
  const reranker = await Reranker.load({ model: counted(), gpu: { device } });
  assert.equal(reranker.info().device, 'webgpu');
  await reranker.unload();
  for (const options of [{ worker: true }, { device: 'wasm' }]) {
    const error = await Reranker.load({ model: counted(), gpu: { device }, ...options }).catch((error) => error);
    assert.equal(error.code, 'bad-input');
    assert.match(error.message, /options\.gpu\.device/);
  }
});
