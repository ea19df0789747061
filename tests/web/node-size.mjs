// Prints how large the shipped files are: as they are, by gzip and by brotli. Fails where a budget is exceeded.
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { build } from 'esbuild';

// Bytes after brotli, which a page that shows a search box may not exceed.
const MOST = { module: 1_200_000, script: 25_000 };

const pkg = new URL('../../pkg/', import.meta.url);
const read = (path) => readFile(new URL(path, pkg));
const scripts = async (folder) => {
  const entries = await readdir(new URL(folder, pkg), { withFileTypes: true, recursive: true });
  return entries.filter((entry) => entry.isFile() && entry.name.endsWith('.js')).map((entry) => `${entry.parentPath ?? entry.path}/${entry.name}`);
};

const over = [];

function row(label, bytes, most) {
  const sizes = [bytes.length, gzipSync(bytes, { level: 9 }).length, brotliCompressSync(bytes).length];
  const left = most === undefined ? '' : `  of ${most}`;
  console.log([label.padEnd(52), ...sizes.map((n) => String(n).padStart(10))].join(' ') + left);
  if (sizes[2] > most) over.push(`${label}: ${sizes[2]} bytes by brotli, ${most} at most`);
}

// What is fetched when a page imports an entry: its bundle and all that this imports at once. What it imports later is the rest.
async function bundled(entry) {
  const { outputFiles, metafile } = await build({ entryPoints: [fileURLToPath(new URL(entry, pkg))], bundle: true, minify: true, splitting: true, format: 'esm', external: ['../dist/*'], outdir: '/', write: false, metafile: true });
  const outputs = new Map(Object.entries(metafile.outputs).map(([path, output]) => [path.split('/').at(-1), output]));
  const first = new Set();
  const add = (name) => {
    if (first.has(name)) return;
    first.add(name);
    for (const { path, kind, external } of outputs.get(name).imports) if (kind === 'import-statement' && !external) add(path.split('/').at(-1));
  };
  add([...outputs].find(([, { entryPoint }]) => entryPoint?.endsWith(entry))[0]);
  const bytes = (at) => Buffer.concat(outputFiles.filter(({ path }) => first.has(path.split('/').at(-1)) === at).map(({ contents }) => contents));
  return { entry: bytes(true), rest: bytes(false) };
}

console.log(`${''.padEnd(52)} ${['raw', 'gzip', 'brotli'].map((head) => head.padStart(10)).join(' ')}`);
const dist = (await readdir(new URL('dist/', pkg))).filter((name) => /\.(wasm|js|gguf)$/.test(name)).sort();
for (const name of dist) row(`dist/${name}`, await read(`dist/${name}`), name.endsWith('.wasm') ? MOST.module : undefined);
row('src/ (all scripts)', Buffer.concat(await Promise.all((await scripts('src/')).sort().map((path) => readFile(path)))));
for (const name of ['src/index.js', 'src/worker.js', 'src/remote.js']) {
  const { entry, rest } = await bundled(name);
  row(`${name}, bundled and minified`, entry, MOST.script);
  if (rest.length) row('... and what it imports later', rest);
}
const { outputFiles: glue } = await build({ entryPoints: [fileURLToPath(new URL('dist/edge_reranker_relaxed.js', pkg))], minify: true, write: false, format: 'esm' });
row("... and the module's own script, which comes with it", Buffer.from(glue[0].contents));

if (over.length) {
  console.error(`Over budget:\n${over.join('\n')}`);
  process.exitCode = 1;
}
