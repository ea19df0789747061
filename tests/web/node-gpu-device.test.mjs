// Which device computes, and why: every kind of machine, with a GPU and an engine that are not real.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { capabilities, counted, findAdapter, hardware, Reranker, RerankError, software, tuning, withGpu } from './node-gpu-common.mjs';
import { fakeAdapter, fakeGpu, HARDWARE, install, LIMITS } from './fake-gpu.mjs';

const fails = (promise, code, words) =>
  assert.rejects(promise, (error) => {
    assert.ok(error instanceof RerankError, String(error?.stack));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, words);
    return true;
  });

async function open(t, options) {
  const reranker = await Reranker.load({ model: counted(), ...options });
  t.after(() => reranker.unload());
  return reranker;
}

test('a GPU in hardware is described and recommended', async (t) => {
  withGpu(t, hardware);
  const able = await capabilities();
  assert.deepEqual([able.webgpu, able.f16, able.subgroups, able.packedInt8], [true, true, true, true]);
  assert.deepEqual(able.adapter, { vendor: 'acme', architecture: 'rocket-3', description: '', software: false });
  assert.deepEqual(able.limits, { ...LIMITS, wasmMemory: 2 ** 32 });
  assert.equal(able.recommended.device, 'webgpu');
  assert.match(able.recommended.reason, /acme rocket-3/);
});

test('features that are missing are told as missing', async (t) => {
  t.after(install({ requestAdapter: async () => fakeAdapter(HARDWARE, []) }));
  const able = await capabilities();
  assert.deepEqual([able.webgpu, able.f16, able.subgroups, able.packedInt8], [true, false, false, false]);
});

const NAMES = [
  { isFallbackAdapter: true },
  { vendor: 'google', architecture: 'swiftshader' },
  { description: 'llvmpipe (LLVM 19.1.7, 256 bits)' },
  { vendor: 'mesa', device: 'Lavapipe' },
  { description: 'Microsoft Basic Render Driver' },
];
for (const info of NAMES) {
  test(`a GPU in software is not recommended: ${JSON.stringify(info)}`, async (t) => {
    withGpu(t, () => fakeAdapter(info));
    const able = await capabilities();
    assert.equal(able.webgpu, true);
    assert.equal(able.adapter.software, true);
    assert.equal(able.recommended.device, 'wasm');
    assert.match(able.recommended.reason, /one in software.*The CPU computes/);
  });
}

test('the old place of isFallbackAdapter counts too, and an adapter without info', async (t) => {
  withGpu(t, () => ({ ...hardware(), info: undefined, isFallbackAdapter: true }));
  assert.deepEqual((await capabilities()).adapter, { vendor: '', architecture: '', description: '', software: true });
});

const NONE = [
  ['no WebGPU in this runtime', (t) => t.after(install(undefined, {})), /no WebGPU in this runtime/],
  ['no WebGPU in the browser', (t) => t.after(install(undefined)), /missing here or switched off/],
  ['an insecure page', (t) => t.after(install(undefined, { window: globalThis, isSecureContext: false })), /https or from localhost/],
  ['no adapter', (t) => withGpu(t, () => null), /offers no GPU/],
  ['an adapter that cannot be had', (t) => withGpu(t, () => Promise.reject(new Error('the driver is gone'))), /the driver is gone/],
  ['a navigator that throws', (t) => t.after(install({ get wgslLanguageFeatures() { throw new Error('no') }, get requestAdapter() { throw new Error('a locked navigator') } })), /a locked navigator/],
];
test('a GPU outside a page, as Deno has one: it computes, and nothing is left behind', async (t) => {
  withGpu(t, hardware, {});
  const reranker = await open(t, { device: 'auto' });
  assert.equal(reranker.info().device, 'webgpu');
  assert.equal(globalThis.WorkerGlobalScope, undefined);
});

for (const [name, arrange, reason] of NONE) {
  test(`${name}: the reason is told, auto takes the CPU, webgpu fails with it`, async (t) => {
    arrange(t);
    const able = await capabilities();
    assert.deepEqual([able.webgpu, able.adapter, able.limits.maxBufferSize, able.recommended.device], [false, null, null, 'wasm']);
    assert.match(able.recommended.reason, reason);
    const reranker = await open(t, { device: 'auto' });
    const { device, deviceReason, warnings } = reranker.info();
    assert.equal(device, 'wasm');
    assert.match(deviceReason, reason);
    assert.deepEqual(warnings, []);
    const model = counted();
    await fails(Reranker.load({ model, device: 'webgpu' }), 'webgpu-unavailable', reason);
    assert.equal(model.opened, 0, 'nothing is read for a GPU that is not there');
  });
}

test('a browser that never answers is not waited for', async (t) => {
  t.after(install(fakeGpu(() => new Promise(() => {}))));
  const { adapter, reason } = await findAdapter({ answerMs: 20 });
  assert.equal(adapter, null);
  assert.match(reason, /no answer within 0.02 seconds/);
});

test('auto takes the GPU and says so', async (t) => {
  const asked = withGpu(t, hardware);
  const reranker = await open(t, { gpu: { powerPreference: 'low-power' } });
  const { device, deviceReason } = reranker.info();
  assert.equal(device, 'webgpu');
  assert.match(deviceReason, /acme rocket-3/);
  assert.equal((await reranker.rerank('q', ['a'])).device, 'webgpu');
  assert.deepEqual(asked, [{ powerPreference: 'low-power' }, { powerPreference: 'low-power' }]);
  assert.equal(globalThis.loads.at(-1).ownsDevice, true);
});

test('auto leaves a GPU in software alone, an explicit webgpu takes it', async (t) => {
  withGpu(t, software);
  const first = await open(t, {});
  assert.equal(first.info().device, 'wasm');
  assert.match(first.info().deviceReason, /software.*google swiftshader/);
  const second = await open(t, { device: 'webgpu' });
  assert.equal(second.info().device, 'webgpu');
  assert.match(second.info().deviceReason, /software/);
});

test('an explicit wasm asks for no adapter', async (t) => {
  const asked = withGpu(t, hardware);
  const reranker = await open(t, { device: 'wasm' });
  assert.equal(reranker.info().device, 'wasm');
  assert.deepEqual(asked, []);
});

for (const code of ['webgpu-unavailable', 'oom', 'device-lost']) {
  test(`auto falls back where loading on the GPU fails with ${code}, an explicit webgpu does not`, async (t) => {
    withGpu(t, hardware);
    const model = counted();
    globalThis.failures.push(code);
    const reranker = await open(t, { model });
    const { device, deviceReason, warnings } = reranker.info();
    assert.equal(device, 'wasm');
    assert.match(deviceReason, new RegExp(`GPU failed.*${code}: fake ${code}`));
    assert.deepEqual(warnings, [deviceReason]);
    assert.deepEqual((await reranker.rerank('q', ['a'])).warnings, [deviceReason]);
    assert.equal(model.opened, 2, 'the model is read again');
    globalThis.failures.push(code);
    await fails(Reranker.load({ model, device: 'webgpu' }), code, /fake/);
  });
}

test('auto does not hide what is wrong with the model', async (t) => {
  withGpu(t, hardware);
  globalThis.failures.push('bad-model');
  const before = globalThis.loads.length;
  await fails(Reranker.load({ model: counted() }), 'bad-model', /fake/);
  assert.equal(globalThis.loads.length, before + 1);
});

test('a call that runs out of memory fails alone', async (t) => {
  withGpu(t, hardware);
  const reranker = await open(t, {});
  await fails(reranker.rerank('out of memory', ['a']), 'oom', /fake/);
  assert.equal((await reranker.rerank('q', ['a'])).device, 'webgpu');
});

test('what was measured is there at the next load in the same thread', async (t) => {
  withGpu(t, () => fakeAdapter({ vendor: 'acme', architecture: 'without a cache' }));
  await open(t, {});
  await open(t, {});
  assert.equal(globalThis.loads.at(-1).tuning, `measured on ${globalThis.loads.length - 2}`);
});

test('what was measured is in the Cache of a browser for the next visit', async (t) => {
  const kept = new Map();
  const cache = { match: async (url) => kept.has(url) && new Response(kept.get(url)), put: async (url, response) => kept.set(url, await response.text()) };
  const globals = { window: globalThis, caches: { open: async () => cache } };
  withGpu(t, () => fakeAdapter({ vendor: 'acme', architecture: 'tuned' }), globals);
  await open(t, {});
  assert.equal(globalThis.loads.at(-1).tuning, undefined);
  const measured = `measured on ${globalThis.loads.length - 1}`;
  await open(t, {});
  assert.equal(globalThis.loads.at(-1).tuning, measured);
  assert.equal([...kept.values()].at(-1).startsWith('measured on'), true);
  assert.match([...kept.keys()][0], /acme%20tuned$/);
  kept.set('https://edge-reranker.invalid/tuning/another%20visit', 'from before');
  assert.equal(await tuning.recall('another visit'), 'from before');
});

test('a store that fails or does not answer is no failure of the load', async (t) => {
  const opens = [() => Promise.reject(new DOMException('no', 'SecurityError')), () => new Promise(() => {}), () => { throw new Error('no'); }];
  for (const [at, caches] of opens.entries()) {
    const restore = install(fakeGpu(async () => fakeAdapter({ vendor: 'acme', architecture: `forgetful-${at}` })), { window: globalThis, caches: { open: caches } });
    t.after(restore);
    const reranker = await open(t, {});
    assert.equal(reranker.info().device, 'webgpu');
  }
});

test('keepPrefix reaches the engine and is checked', async (t) => {
  withGpu(t, hardware);
  const reranker = await open(t, {});
  assert.equal((await reranker.rerank('q', ['a'], { keepPrefix: true })).keepPrefix, true);
  assert.equal((await reranker.rerank('q', ['a'], { keepPrefix: null })).keepPrefix, undefined);
  await fails(reranker.rerank('q', ['a'], { keepPrefix: 'yes' }), 'bad-input', /options\.keepPrefix must be true or false/);
});

test('options about the GPU are checked', async () => {
  const load = (options) => Reranker.load({ model: counted(), ...options });
  await fails(load({ gpu: 5 }), 'bad-input', /options\.gpu must be an object/);
  await fails(load({ gpu: { powerPreference: 'max' } }), 'bad-input', /options\.gpu\.powerPreference/);
  await fails(load({ gpu: { device: {} } }), 'bad-input', /options\.gpu\.device must be a GPUDevice/);
});
