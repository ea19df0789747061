// Bundles the example worker as wrangler does by its default rules: .wasm is a compiled module, .bin is data, all else is one script.
import { mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
export const WORKER = here('../../examples/edge-worker/src/worker.js');

const TYPES = { wasm: 'CompiledWasm', bin: 'Data' };

// Gives the modules in the form that miniflare takes: [{ type, path, contents }], the script first. `minify` as for a deployment.
export async function bundle({ entry = WORKER, minify = false } = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'edge-reranker-'));
  const modules = [];
  const rules = {
    name: 'wrangler',
    setup(build) {
      const resolve = ({ path, kind }, resolveDir) => build.resolve(path, { kind, resolveDir, pluginData: 'resolved' });
      build.onResolve({ filter: /^edge-reranker(\/|$)|\.(wasm|bin)$/ }, async (args) => {
        if (args.pluginData === 'resolved') return undefined;
        const found = await resolve(args, /^edge-reranker/.test(args.path) ? folder : args.resolveDir);
        const type = TYPES[args.path.split('.').pop()];
        if (found.errors.length || !type) return found;
        const path = basename(args.path);
        if (!modules.some((one) => one.path === path)) modules.push({ type, path, contents: await readFile(found.path) });
        return { path: `./${path}`, external: true };
      });
    },
  };
  try {
    await mkdir(join(folder, 'node_modules'));
    await symlink(here('../../pkg'), join(folder, 'node_modules/edge-reranker'), 'dir');
    const { outputFiles } = await build({
      entryPoints: [entry],
      bundle: true,
      write: false,
      minify,
      format: 'esm',
      target: 'es2022',
      conditions: ['workerd', 'worker', 'browser'],
      plugins: [rules],
      logLevel: 'silent',
    });
    return [{ type: 'ESModule', path: 'worker.js', contents: outputFiles[0].text }, ...modules];
  } finally {
    await rm(folder, { recursive: true });
  }
}
