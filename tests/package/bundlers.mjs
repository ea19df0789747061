// Builds a fixture as its bundler's users do: the folder of the built files.
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import * as esbuild from 'esbuild';
import { build as vite } from 'vite';
import webpack from 'webpack';

export async function buildVite(folder) {
  const out = join(folder, 'dist');
  await vite({ root: folder, base: './', logLevel: 'error', build: { outDir: out } });
  return out;
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
