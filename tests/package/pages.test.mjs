// The packed package in pages that Vite, webpack and esbuild built, run in Chromium.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { launchWithGpu } from '../web/package-chromium.mjs';
import { serve } from '../web/serve.mjs';
import * as bundlers from './bundlers.mjs';
import { judge } from './judge.mjs';
import { here, install, pack } from './pack.mjs';
import { record } from './record.mjs';
import { readFile } from 'node:fs/promises';

const tarball = await pack({ after });
const browser = await launchWithGpu();
after(() => browser.close());

const versionOf = async (name) => JSON.parse(await readFile(here(`node_modules/${name}/package.json`), 'utf8')).version;

// `threads`: how many compute when 2 are asked for.
const PAGES = [
  { id: 'vite', name: 'Vite', build: bundlers.buildVite, threads: 2 },
  { id: 'webpack', name: 'webpack', build: bundlers.buildWebpack, threads: 2 },
  { id: 'esbuild', name: 'esbuild', build: bundlers.buildEsbuild, threads: 1 },
];

for (const { id, name, build, threads } of PAGES) {
  test(name, { timeout: 120_000 }, async (t) => {
    const folder = await install(t, id, tarball);
    const root = await build(folder);
    const { said, faults } = await visited(t, root, { isolated: true });
    for (const way of ['ranks', 'worker', 'threads', 'webgpu']) {
      assert.equal(said[way].code, undefined, `${way}: ${said[way].message}`);
      judge(said[way].results, `${id}, ${way}`);
    }
    assert.deepEqual(said.ranks.warnings, []);
    assert.equal(said.threads.threads, threads);
    assert.equal(said.threads.warnings.length, threads === 2 ? 0 : 1);
    assert.equal(said.webgpu.device, 'webgpu');
    assert.deepEqual(faults, []);
    await record(id, { name: `Chromium, built by ${name}`, version: `${browser.version()}, ${await versionOf(id)}`, loads: true, ranks: true, worker: true, threads: threads > 1, webgpu: true, adapter: said.webgpu.adapter, instructions: said.ranks.instructions });
    if (id !== 'vite') return;
    const { said: plain } = await visited(t, root, { isolated: false });
    judge(plain.threads.results, `${id}, without the headers that isolate the page`);
    assert.equal(plain.threads.threads, 1);
    assert.match(plain.threads.warnings.join(), /cross-origin isolated/);
  });
}

async function visited(t, root, { isolated }) {
  const server = await serve({ root, isolated });
  t.after(() => server.close());
  const page = await browser.newPage();
  t.after(() => page.close());
  const faults = [];
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && faults.push(`${message.text()} ${message.location().url}`));
  await page.goto(server.url);
  const said = await page.waitForFunction(() => globalThis.said, null, { timeout: 60_000 }).catch(() => assert.fail(`the page said nothing: ${faults.join('\n')}`));
  return { said: await said.jsonValue(), faults };
}
