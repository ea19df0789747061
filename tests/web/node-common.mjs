// What the Node tests share: the package as it is published, the golden models, and how a failure must look.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Reranker, RerankError } from '../../pkg/src/node.js';

// What the tests download is kept apart from the user's own cache, and goes with them.
const cacheFolder = mkdtempSync(join(tmpdir(), 'edge-reranker-cache-'));
process.env.EDGE_RERANKER_CACHE = cacheFolder;
process.on('exit', () => rmSync(cacheFolder, { recursive: true, force: true }));

const golden = new URL('../golden/', import.meta.url);

export const modelPath = (name) => fileURLToPath(new URL(name, golden));
export const modelBytes = (name) => readFile(modelPath(name));
export const goldens = JSON.parse(await readFile(new URL('scores.json', golden), 'utf8'));

// The options of one golden request.
export const optionsOf = ({ instruction, template, max_length, parse_special }) => ({
  instruction,
  template,
  maxLength: max_length,
  parseSpecial: parse_special,
});

// A model for one test, unloaded at its end.
export async function open(t, options) {
  const reranker = await Reranker.load(options);
  t.after(() => reranker.unload());
  return reranker;
}

export async function fails(promise, code, words) {
  const error = await Promise.resolve(promise).then(
    () => assert.fail(`should fail with ${code}`),
    (error) => error,
  );
  assert.ok(error instanceof RerankError, `a RerankError, got ${error?.stack ?? error}`);
  assert.equal(error.code, code, error.message);
  if (words) assert.match(error.message, words);
  return error;
}

export const many = (n) => Array.from({ length: n }, (_, i) => `Document number ${i} is about the capital of China, bananas and ${'long rivers and '.repeat(i % 7)}trains.`);

// The code of one section of the README.
export async function sampleOf(heading) {
  const text = await readFile(new URL('../../README.md', import.meta.url), 'utf8');
  const section = text.slice(text.indexOf(`\n## ${heading}\n`));
  return /```\w+\n(.*?)```/s.exec(section)[1];
}
