// The packed package in pages that Vite, webpack and esbuild built, run in Chromium.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, test } from 'node:test';
import { launchWithGpu } from '../web/package-chromium.mjs';
import { serve } from '../web/serve.mjs';
import * as bundlers from './bundlers.mjs';
import { judge, judgeGpu } from './judge.mjs';
import { here, install, pack } from './pack.mjs';
import { record } from './record.mjs';

const tarball = await pack({ after });
const browser = await launchWithGpu();
after(() => browser.close());

const versionOf = async (name) => JSON.parse(await readFile(here(`node_modules/${name}/package.json`), 'utf8')).version;

const ISOLATED = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };

// `threads`: how many compute when 2 are asked for.
const PAGES = [
  { id: 'vite', fixture: 'vite', name: 'Vite', build: bundlers.buildVite('vite'), threads: 2 },
  { id: 'vite7', fixture: 'vite', name: 'Vite', build: bundlers.buildVite('vite7'), threads: 2 },
  { id: 'webpack', fixture: 'webpack', name: 'webpack', build: bundlers.buildWebpack, threads: 2 },
  { id: 'esbuild', fixture: 'esbuild', name: 'esbuild', build: bundlers.buildEsbuild, threads: 1 },
];

for (const { id, fixture, name, build, threads } of PAGES) {
  test(`built by ${id}`, { timeout: 120_000 }, async (t) => {
    const root = await build(await install(t, fixture, tarball));
    const said = await visit(t, await serve({ root }));
    hold(said, id, threads);
    judgeGpu(said.webgpu.results, id);
    assert.equal(said.webgpu.device, 'webgpu');
    await record(id, { name: `Chromium, built by ${name}`, version: `${browser.version()}, ${await versionOf(id)}`, loads: true, ranks: true, worker: true, threads: said.threads.threads > 1, webgpu: true, adapter: said.webgpu.adapter, instructions: said.ranks.instructions });
    if (id !== 'vite') return;
    const plain = await visit(t, await serve({ root, isolated: false }), '?cpu');
    judge(plain.threads.results, `${id}, without the headers that isolate the page`);
    assert.equal(plain.threads.threads, 1);
    assert.match(plain.threads.warnings.join(), /cross-origin isolated/);
  });
}

for (const id of ['vite', 'vite7']) {
  test(`the development server of ${id}`, { timeout: 120_000 }, async (t) => {
    const folder = await install(t, 'vite', tarball);
    hold(await visit(t, await bundlers.developWithVite(id, folder, ISOLATED), '?cpu'), id, 2);
  });
}

function hold(said, id, threads) {
  for (const way of ['ranks', 'worker', 'threads']) {
    assert.equal(said[way].code, undefined, `${way}: ${said[way].message}`);
    judge(said[way].results, `${id}, ${way}`);
  }
  assert.deepEqual(said.ranks.warnings, []);
  assert.equal(said.threads.threads, threads);
  assert.equal(said.threads.warnings.length, threads === 2 ? 0 : 1);
}

// What the page says, which must not complain.
async function visit(t, server, query = '') {
  t.after(() => server.close());
  const page = await browser.newPage();
  t.after(() => page.close());
  const faults = [];
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && faults.push(`${message.text()} ${message.location().url}`));
  await page.goto(server.url + query);
  const said = await page.waitForFunction(() => globalThis.said, null, { timeout: 90_000 }).catch(() => assert.fail(`the page said nothing: ${faults.join('\n')}`));
  assert.deepEqual(faults, []);
  return said.jsonValue();
}
