// Builds a fixture as its bundler's users do: the folder of the built files.
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import * as esbuild from 'esbuild';
import webpack from 'webpack';

// Vite 8 needs no configuration.
const viteOptions = (name, folder) => ({ root: folder, base: './', logLevel: 'error', configFile: name === 'vite' ? false : join(folder, 'vite.config.js'), cacheDir: join(folder, '.vite') });

export const buildVite = (name) => async (folder) => {
  const { build } = await import(name);
  const outDir = join(folder, 'dist');
  await build({ ...viteOptions(name, folder), build: { outDir } });
  return outDir;
};

/** Its server for development. Gives { url, close }. */
export async function developWithVite(name, folder, headers) {
  const { createServer } = await import(name);
  const server = await createServer({ ...viteOptions(name, folder), server: { port: 0, host: '127.0.0.1', headers, hmr: false, watch: null } });
  await server.listen();
  return { url: server.resolvedUrls.local[0], close: () => server.close() };
}

export async function buildWebpack(folder) {
  const { default: config } = await import(join(folder, 'webpack.config.cjs'));
  const out = join(folder, 'dist');
  const stats = await new Promise((done, failed) => webpack({ ...config, context: folder, output: { path: out } }, (error, stats) => (error ? failed(error) : done(stats))));
  const { errors, warnings } = stats.toJson({ errors: true, warnings: true });
  if (errors.length || warnings.length) throw new Error([...errors, ...warnings].map(({ message }) => message).join('\n'));
  await cp(join(folder, 'index.html'), join(out, 'index.html'));
  return out;
}

const MODULES = { format: 'esm', bundle: true, splitting: true, minify: true, logLevel: 'warning' };

export async function buildEsbuild(folder) {
  const out = join(folder, 'dist');
  const entryPoints = ['main.js', 'worker.js'].map((name) => join(folder, name));
  await esbuild.build({ ...MODULES, entryPoints, outdir: out, loader: { '.wasm': 'file', '.gguf': 'file' } });
  await cp(join(folder, 'index.html'), join(out, 'index.html'));
  return out;
}

// For workerd: modules and data stay files that the worker imports.
export async function buildWorker(folder) {
  const out = join(folder, 'dist');
  await esbuild.build({ ...MODULES, entryPoints: [join(folder, 'worker.js')], outdir: out, conditions: ['workerd', 'worker'], loader: { '.wasm': 'copy', '.gguf': 'copy' } });
  return out;
}
