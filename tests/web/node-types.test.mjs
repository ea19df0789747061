// The types: they compile strictly, and they and the package name the same things.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { access, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as surface from '../../pkg/src/node.js';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

test('a strict user compiles', () => {
  execFileSync(process.execPath, [here('node_modules/typescript/bin/tsc'), '-p', here('node-types.json')], { stdio: 'pipe', encoding: 'utf8' });
});

test('the types name what the package exports', async () => {
  const types = await readFile(here('../../pkg/types/index.d.ts'), 'utf8');
  const declared = [...types.matchAll(/^export (?:declare )?(?:class|function|const) (\w+)/gm)].map((match) => match[1]);
  assert.deepEqual(declared.sort(), Object.keys(surface).sort());
});

test('every file that package.json names is there', async () => {
  const manifest = JSON.parse(await readFile(here('../../pkg/package.json'), 'utf8'));
  const files = (value) => (typeof value === 'string' ? [value] : Object.values(value).flatMap(files));
  for (const path of files(manifest.exports)) await access(here(`../../pkg/${path}`));
  for (const conditions of Object.values(manifest.exports)) {
    if (typeof conditions === 'object') assert.equal(Object.keys(conditions)[0], 'types');
  }
});

test('it is imported by its name, without side effects, and its raw files resolve', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'edge-reranker-'));
  t.after(() => rm(folder, { recursive: true }));
  await mkdir(join(folder, 'node_modules'));
  await symlink(here('../../pkg'), join(folder, 'node_modules/edge-reranker'), 'dir');
  const script = `
    const before = Object.keys(globalThis).join();
    const names = Object.keys(await import('edge-reranker')).sort().join();
    if (Object.keys(globalThis).join() !== before) throw new Error('globals changed');
    import.meta.resolve('edge-reranker/edge_reranker_bg.wasm');
    import.meta.resolve('edge-reranker/mini.gguf');
    import.meta.resolve('edge-reranker/worker');
    console.log(names);`;
  await writeFile(join(folder, 'user.mjs'), script);
  const said = execFileSync(process.execPath, [join(folder, 'user.mjs')], { encoding: 'utf8' });
  assert.equal(said.trim(), Object.keys(surface).sort().join());
});
