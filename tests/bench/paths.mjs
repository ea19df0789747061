// Where things lie, and how a thing is made once.
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const here = (path) => fileURLToPath(new URL(path, import.meta.url));
export const ROOT = here('../..');
export const OUT = join(ROOT, 'target/bench');
export const MODELS = join(OUT, 'models');
export const MODULES = here('node_modules');
export const VENV = join(OUT, 'venv');

/** `path`, made by `make(part)` if it is not there. What is half made has another name, so an interrupted run leaves nothing that looks whole. */
export function once(path, make) {
  if (existsSync(path)) return path;
  console.error(`making ${path.slice(OUT.length + 1)}`);
  const part = join(dirname(path), `part-${path.split('/').pop()}`);
  rmSync(part, { recursive: true, force: true });
  mkdirSync(dirname(path), { recursive: true });
  make(part);
  renameSync(part, path);
  return path;
}
