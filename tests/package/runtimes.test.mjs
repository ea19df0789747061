// The packed package, installed and run in Node, Deno and Bun.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, test } from 'node:test';
import { judge, judgeGpu } from './judge.mjs';
import { here, install, pack, run } from './pack.mjs';
import { record } from './record.mjs';

const folder = await install({ after }, 'node', await pack({ after }));
const env = { ...process.env, XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR ?? '/tmp' };
const swiftshader = ['/usr/lib/chromium', '/usr/lib/chromium-browser', '/opt/google/chrome'].map((place) => `${place}/vk_swiftshader_icd.json`).find((place) => existsSync(place));
if (swiftshader) env.VK_ADD_DRIVER_FILES ??= swiftshader;

const bin = (path) => here(`node_modules/${path}`);
const NODE = ['ranks', 'worker', 'threads'];

// `ways` are those of rank.mjs that must work; what a GPU is worth here is the machine's affair.
const RUNTIMES = [
  { id: 'node20', name: 'Node', command: bin('node20/bin/node'), args: ['rank.mjs'], ways: NODE },
  { id: 'node', name: 'Node', command: bin('node-newest/bin/node'), args: ['rank.mjs'], ways: NODE },
  { id: 'node-dawn', name: 'Node with the package `webgpu`', command: bin('node-newest/bin/node'), args: ['dawn.mjs', bin('webgpu/index.js')], ways: NODE, gpu: true },
  { id: 'deno', name: 'Deno', command: bin('deno/deno'), args: ['run', '--no-prompt', '--allow-read', '--no-lock', 'rank.mjs'], ways: NODE, gpu: true },
  { id: 'bun', name: 'Bun', command: bin('bun/bin/bun'), args: ['rank.mjs'], ways: NODE },
];

for (const { id, name, command, args, ways, gpu } of RUNTIMES) {
  test(`${name} (${id})`, { timeout: 120_000 }, async (t) => {
    if (!existsSync(command)) return t.skip(`${command} is not there: npm has none for this platform`);
    const version = /\d+\.\d+\.\d+/.exec((await run(command, ['--version'])).stdout)[0];
    const { stdout } = await run(command, args, { cwd: folder, env });
    const said = JSON.parse(stdout.trim().split('\n').at(-1));
    for (const way of ways) {
      assert.equal(said[way].code, undefined, `${way}: ${said[way].message}`);
      judge(said[way].results, `${id}, ${way}`);
      assert.deepEqual(said[way].warnings, []);
    }
    assert.equal(said.threads.threads, 2);
    const { webgpu } = said;
    if (webgpu.code) {
      assert.equal(webgpu.code, 'webgpu-unavailable', webgpu.message);
      assert.ok(!gpu || !said.capabilities.webgpu, webgpu.message);
      t.diagnostic(`no WebGPU: ${webgpu.message}`);
    } else {
      judgeGpu(webgpu.results, id);
      assert.equal(webgpu.device, 'webgpu');
    }
    const threads = said.threads.threads > 1;
    await record(id, { name, version, loads: true, ranks: true, worker: true, threads, webgpu: webgpu.code ? webgpu.message : true, adapter: webgpu.adapter, instructions: said.ranks.instructions });
  });
}
