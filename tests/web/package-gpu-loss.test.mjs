// The loss of the device: by a call of destroy, and by a crash of the browser's GPU process.
import assert from 'node:assert/strict';
import { browser, compare, inPage } from './package-gpu-common.mjs';

// Loses the device while a call runs, twice.
async function lose(worker) {
  const devices = spied();
  const thread = worker && new Worker('./losing.js', { type: 'module' });
  const reranker = await onGpu({ worker: thread });
  const documents = many(12);
  const before = await logits(reranker, documents);
  const rounds = [];
  for (const idle of [false, true]) {
    const { lost } = reranker;
    const running = idle ? null : told(reranker.rerank(QUERY, many(3000)));
    await pause(150);
    if (worker) thread.postMessage('lose');
    else devices.at(-1).destroy();
    const { reason } = await lost;
    rounds.push({ running: await running, reason, after: (await logits(reranker, documents)).logits, device: reranker.info().device });
  }
  await reranker.unload();
  thread?.terminate?.();
  return { before: before.logits, rounds };
}

for (const worker of [false, true]) {
  inPage(`a device that is lost is told, and the next call loads the model again, ${worker ? 'in a worker' : 'in the page'}`, async (page, t) => {
    const { before, rounds } = await page.evaluate(lose, worker);
    assert.deepEqual(rounds.map(({ running, reason, device }) => [running, reason, device]), [['device-lost', 'device-lost', 'webgpu'], [null, 'device-lost', 'webgpu']]);
    for (const { after } of rounds) compare(after, before, t, 'after the loss');
  });
}

inPage('a given GPUDevice that is destroyed is replaced', async (page) => {
  const got = await page.evaluate(async () => {
    const device = await (await navigator.gpu.requestAdapter()).requestDevice();
    const reranker = await Reranker.load({ model: './tiny-f32.gguf', gpu: { device } });
    const running = told(reranker.rerank(QUERY, many(3000)));
    await pause(150);
    device.destroy();
    const { reason } = await reranker.lost;
    const result = await reranker.rerank(QUERY, many(4));
    await reranker.unload();
    return { running: await running, reason, device: result.device, warnings: result.warnings.join() };
  });
  assert.deepEqual([got.running, got.reason, got.device], ['device-lost', 'device-lost', 'webgpu']);
  assert.match(got.warnings, /GPUDevice that was given was lost/);
});

inPage("a GPU that crashes is told, and the next call loads the model again in the package's own worker", async (page, t) => {
  const before = await page.evaluate(async () => {
    globalThis.reranker = await onGpu({ worker: true });
    const { logits: out } = await logits(reranker, many(12));
    globalThis.running = told(reranker.rerank(QUERY, many(3000)));
    await pause(150);
    return out;
  });
  await (await browser.newBrowserCDPSession()).send('Browser.crashGpuProcess');
  const got = await page.evaluate(async () => {
    const out = { running: await running, lost: await reranker.lost, after: await logits(reranker, many(12)) };
    await reranker.unload();
    return out;
  });
  assert.deepEqual([got.running, got.lost, got.after.device], ['device-lost', { reason: 'device-lost' }, 'webgpu']);
  compare(got.after.logits, before, t, 'after the crash');
});
