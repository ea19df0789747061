// Writes the table of docs/runtimes.md from what the tests of this folder recorded when they last ran.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { here } from './pack.mjs';
import { RECORDS } from './record.mjs';

const ORDER = ['node20', 'node', 'node-dawn', 'deno', 'bun', 'workerd', 'vite', 'vite7', 'webpack', 'esbuild'];
const BEGIN = '<!-- written by tests/package/table.mjs -->';
const END = '<!-- end -->';

const names = await readdir(RECORDS).catch(() => []);
const missing = ORDER.filter((id) => !names.includes(`${id}.json`));
if (missing.length) {
  console.error(`Not recorded: ${missing.join(', ')}. Run \`node --test --test-concurrency=1 tests/package/*.test.mjs\` first.`);
  process.exit(1);
}

const said = (value) => (value === true ? 'yes' : 'no');

async function row(id) {
  const one = JSON.parse(await readFile(join(RECORDS, `${id}.json`), 'utf8'));
  const gpu = one.webgpu === true ? `yes: ${one.adapter}` : 'no';
  return `| ${one.name} | ${one.version} | ${[one.loads, one.ranks, one.worker, one.threads].map(said).join(' | ')} | ${gpu} | ${one.instructions} |`;
}

const rows = await Promise.all(ORDER.map(row));
const table = [
  '| runtime | version | loads | ranks | in a worker | threads | WebGPU, and the adapter that computed | build of the module |',
  '|---|---|---|---|---|---|---|---|',
  ...rows,
].join('\n');

const place = here('../../docs/runtimes.md');
const text = await readFile(place, 'utf8');
const [before, rest] = text.split(BEGIN);
const [, after] = rest.split(END);
await writeFile(place, `${before}${BEGIN}\n${table}\n${END}${after}`);
console.log(table);
