// The package as npm would publish it, and fixtures that install it.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const here = (path) => fileURLToPath(new URL(path, import.meta.url));
export const run = promisify(execFile);
export const TARGET = here('../../target/package');
const npm = (folder, ...args) => run('npm', [...args, '--ignore-scripts', '--offline', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: folder });

/** The path of a fresh tarball. */
export async function pack(t) {
  const folder = await scratch(t, 'pack-');
  const { stdout } = await npm(here('../../pkg'), 'pack', '--json', '--pack-destination', folder);
  const [{ filename, files }] = Object.values(JSON.parse(stdout));
  return { path: join(folder, filename), files: files.map(({ path }) => path) };
}

export async function scratch(t, prefix) {
  await mkdir(TARGET, { recursive: true });
  const folder = await mkdtemp(join(TARGET, prefix));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A copy of a fixture in which the package is installed from the tarball: the copy's path. */
export async function install(t, name, tarball) {
  const folder = await scratch(t, `${name}-`);
  await cp(here(`fixtures/${name}`), folder, { recursive: true });
  await cp(here('question.json'), join(folder, 'question.json'));
  await cp(here('fixtures/page.js'), join(folder, 'page.js'));
  await npm(folder, 'install', '--no-package-lock', tarball.path);
  return folder;
}

// What scores may differ by where one side's inputs have 8 bits and the other's 16: a quarter of the 0.3 that a logit may (docs/cpu.md)
export const EIGHT_BITS = 0.075;

export const question = JSON.parse(await readFile(here('question.json'), 'utf8'));

/** What the command line says about the question: scores in the order of the documents. */
export async function nativeScores() {
  const binary = here('../../target/release/edge-reranker');
  if (!existsSync(binary)) throw new Error(`${binary} is missing: run ./build.sh build first`);
  const { stdout } = await run(binary, ['rank', '--device', 'cpu', '--quiet', '--format', 'json', `--query=${question.query}`, '--', ...question.documents]);
  return scoresOf(JSON.parse(stdout).results, 'relevance_score');
}

export function scoresOf(results, field = 'relevanceScore') {
  const scores = [];
  for (const result of results) scores[result.index] = result[field];
  return scores;
}
