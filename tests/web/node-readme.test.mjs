// The README's samples run as they stand, and what npm shows links to nothing that the package does not hold.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { sampleOf } from './node-common.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

test('the sample for Node ranks the right document first', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'edge-reranker-'));
  t.after(() => rm(folder, { recursive: true }));
  await mkdir(join(folder, 'node_modules'));
  await symlink(here('../../pkg'), join(folder, 'node_modules/edge-reranker'), 'dir');
  await writeFile(join(folder, 'sample.mjs'), await sampleOf('In Node'));
  const lines = execFileSync(process.execPath, [join(folder, 'sample.mjs')], { encoding: 'utf8' }).trim().split('\n');
  assert.equal(lines.length, 2);
  assert.match(lines[0], /^[01]\.\d+ Beijing is the capital of China\.$/);
});

test('the README of the package has its samples and no dead links', async () => {
  const text = await readFile(here('../../pkg/README.md'), 'utf8');
  for (const [link, target] of text.matchAll(/\]\(([^)]+)\)/g)) assert.match(target, /^https:/, link);
  for (const heading of ['On a page', 'In Node', 'Which models', 'Licence']) assert.ok(text.includes(`\n## ${heading}\n`), heading);
  assert.ok(text.includes(await sampleOf('In Node')));
  assert.ok(!text.includes('./build.sh demo'));
});
