// What is published: its manifest by publint and arethetypeswrong, its files, its types beside the libraries it has adapters for.
import assert from 'node:assert/strict';
import { cp, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { here, install, pack, run } from './pack.mjs';

const tarball = await pack({ after });

test('publint has nothing to say', async () => {
  const bytes = await readFile(tarball.path);
  const tar = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  const { messages, pkg } = await publint({ pack: { tarball: tar }, strict: true });
  assert.deepEqual(messages.map((message) => formatMessage(message, pkg)), []);
});

test('the types are right in Node and in bundlers, for every subpath; it is ESM only', async () => {
  const attw = (...args) => run(process.execPath, [here('node_modules/@arethetypeswrong/cli/dist/index.js'), tarball.path, '--profile', 'esm-only', ...args]);
  const { stdout } = await attw('--format', 'json').catch((error) => assert.fail(`attw:\n${error.stdout}`));
  const { exports } = JSON.parse(await readFile(here('../../pkg/package.json'), 'utf8'));
  assert.deepEqual(Object.keys(JSON.parse(stdout).analysis.entrypoints).sort(), Object.keys(exports).sort());
});

test('the tarball holds what it needs and nothing else', async () => {
  const unknown = tarball.files.filter((path) => !/^(?:src\/(?:\w[\w-]*\/)*[\w-]+\.js|types\/[\w-]+\.d\.ts|dist\/edge_reranker\w*\.(?:js|d\.ts|wasm)|dist\/mini\.gguf|package\.json|README\.md|LICENSE)$/.test(path));
  assert.deepEqual(unknown, []);
  for (const file of ['dist/mini.gguf', 'dist/edge_reranker_relaxed_threads_bg.wasm', 'types/remote.d.ts', 'src/remote/request.js']) assert.ok(tarball.files.includes(file), file);
});

test('a strict user of the subpaths compiles', async () => {
  const folder = await install({ after }, 'adapters', tarball);
  for (const name of ['@langchain', '@llamaindex', '@ai-sdk', 'ai']) await symlink(here(`node_modules/${name}`), join(folder, 'node_modules', name), 'dir');
  await cp(here('types.ts'), join(folder, 'types.ts'));
  const compilerOptions = { target: 'esnext', module: 'nodenext', moduleResolution: 'nodenext', lib: ['esnext', 'dom', 'dom.iterable'], strict: true, noEmit: true, skipLibCheck: true, types: [] };
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['types.ts'] }));
  await run(process.execPath, [here('node_modules/typescript/bin/tsc'), '-p', folder]).catch((error) => assert.fail(`tsc:\n${error.stdout}`));
});

test('imported where there is no window (a page rendered on a server), it does nothing, and needs none of the libraries', async () => {
  const folder = await install({ after }, 'ssr', tarball);
  const { stdout, stderr } = await run(process.execPath, [join(folder, 'import.mjs')]);
  assert.equal(stdout.trim(), 'nothing happened');
  assert.equal(stderr, '');
});
