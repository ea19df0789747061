// Prints how large the shipped files are: as they are, by gzip and by brotli.
import { readdir, readFile } from 'node:fs/promises';
import { brotliCompressSync, gzipSync } from 'node:zlib';

const pkg = new URL('../../pkg/', import.meta.url);
const read = (path) => readFile(new URL(path, pkg));
const scripts = async (folder) =>
  (await readdir(new URL(folder, pkg), { withFileTypes: true })).filter((entry) => entry.name.endsWith('.js')).map((entry) => folder + entry.name);

const row = (label, bytes) =>
  console.log([label.padEnd(44), ...[bytes.length, gzipSync(bytes, { level: 9 }).length, brotliCompressSync(bytes).length].map((n) => String(n).padStart(10))].join(' '));

console.log(`${''.padEnd(44)} ${['raw', 'gzip', 'brotli'].map((head) => head.padStart(10)).join(' ')}`);
const dist = (await readdir(new URL('dist/', pkg))).filter((name) => /\.(wasm|js|gguf)$/.test(name)).sort();
for (const name of dist) row(`dist/${name}`, await read(`dist/${name}`));
const sources = [...(await scripts('src/')), ...(await scripts('src/platform/')), ...(await scripts('src/cache/'))];
row('src/ (all scripts)', Buffer.concat(await Promise.all(sources.map(read))));
