// The packed package in workerd, as Cloudflare runs it.
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { buildWorker } from './bundlers.mjs';
import { judge } from './judge.mjs';
import { here, install, pack } from './pack.mjs';
import { record } from './record.mjs';

const TYPES = { js: 'ESModule', wasm: 'CompiledWasm', gguf: 'Data' };

test('workerd', { timeout: 120_000 }, async (t) => {
  const { Miniflare } = await import('miniflare').catch(() => ({}));
  if (!Miniflare) return t.skip('npm has no workerd for this platform');
  const root = await buildWorker(await install({ after }, 'workerd', await pack({ after })));
  const names = (await readdir(root)).sort((a, b) => (b === 'worker.js') - (a === 'worker.js')); // the first one is the entry
  const modules = names.map((name) => ({ type: TYPES[name.split('.').at(-1)], path: join(root, name) }));
  const worker = new Miniflare({ modulesRoot: root, modules, compatibilityDate: '2025-09-01' });
  t.after(() => worker.dispose());
  const response = await worker.dispatchFetch('http://worker.example/');
  assert.equal(response.status, 200, await response.clone().text());
  const { ranks, capabilities } = await response.json();
  judge(ranks.results, 'workerd');
  assert.deepEqual(ranks.warnings, []);
  assert.equal(ranks.threads, 1);
  const { version } = JSON.parse(await readFile(here('node_modules/workerd/package.json'), 'utf8'));
  await record('workerd', { name: 'workerd (Cloudflare)', version, loads: true, ranks: true, worker: 'there are no workers', threads: 'there are no threads', webgpu: capabilities.webgpu || 'there is none', instructions: ranks.instructions });
});
