// The package around an engine and a GPU that are not real: a copy whose dist/ holds fake-engine.js.
import { cp, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { fakeAdapter, fakeGpu, HARDWARE, install, SOFTWARE } from './fake-gpu.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const root = await mkdtemp(join(tmpdir(), 'edge-reranker-'));
after(() => rm(root, { recursive: true, force: true }));
await cp(here('../../pkg/src'), join(root, 'src'), { recursive: true });
for (const build of ['edge_reranker', 'edge_reranker_relaxed']) {
  await cp(here('fake-engine.js'), join(root, `dist/${build}.js`));
  await writeFile(join(root, `dist/${build}_bg.wasm`), Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0));
}
await cp(here('fake-gpu.mjs'), join(root, 'src/fake-gpu.mjs'));
await writeFile(join(root, 'package.json'), '{ "type": "module" }');
const platform = join(root, 'src/platform/node.js');
await writeFile(platform, (await readFile(platform, 'utf8')).replace('cores = availableParallelism', 'cores = () => 1')); // the fake has no threads
await writeFile(join(root, 'dist/mini.gguf'), 'a model');
await rename(join(root, 'src/node-worker.js'), join(root, 'src/real-worker.js'));
await writeFile(join(root, 'src/node-worker.js'), `
import { fakeAdapter, fakeGpu, install } from './fake-gpu.mjs';
install(fakeGpu(async () => fakeAdapter()));
await import('./real-worker.js');
`);

const module = (path) => import(pathToFileURL(join(root, 'src', path)).href);
export const { capabilities, Reranker, RerankError } = await module('node.js');
export const { findAdapter } = await module('gpu.js');
export const tuning = await module('tuning.js');

// For the length of a test: navigator.gpu with adapters of this kind.
export function withGpu(t, requestAdapter, globals) {
  const asked = [];
  const request = async (options) => {
    asked.push(options);
    return requestAdapter(options);
  };
  t.after(install(fakeGpu(request), globals));
  return asked;
}
export const hardware = () => fakeAdapter(HARDWARE);
export const software = () => fakeAdapter(SOFTWARE);

// A model that counts how often it is read.
export function counted() {
  const model = { size: 7, opened: 0, read: (start, end) => (model.opened++, new Uint8Array(end - start)) };
  return model;
}
