// Node, Deno and Bun: files are read from the disk (Node's fetch refuses file: addresses).
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { ALL_BUILDS, MODULES } from '../builds-threads.js';
import { badInput, RerankError } from '../errors.js';
import { fetchWasm } from '../engine.js';
import { folderFiles, isWeights } from '../hub.js';

export { freeSpace, openFiles } from '../cache/files.js';

export const name = 'node';
export const workerByDefault = false;
export const requestInit = {};

function start(script, name) {
  const worker = new Worker(script, { name });
  worker.unref(); // a call in flight holds the process, an idle worker does not
  return worker;
}

export const spawn = () => start(new URL('../node-worker.js', import.meta.url), 'edge-reranker');
export const spawnThread = () => start(new URL('../node-thread.js', import.meta.url), 'edge-reranker thread');

export const cores = availableParallelism;
export const threadObstacle = () => null;

export const builds = ALL_BUILDS;

export function wasm(given, build) {
  const from = given ?? MODULES[build].href;
  if (typeof from !== 'string') return from;
  return from.startsWith('file:') ? readModule(fileURLToPath(from)) : fetchWasm(from);
}

async function readModule(place) {
  try {
    return await readFile(place);
  } catch (cause) {
    throw new RerankError('download', `Cannot read ${place}: ${cause.message}. Check the \`wasm\` option, or leave it out.`, { cause });
  }
}

export const builtin = async ({ local }) => local(await openFile(fileURLToPath(new URL('../../dist/mini.gguf', import.meta.url))));

// The absolute path, if `text` names something on the disk.
export async function path(text) {
  if (/^file:/i.test(text)) return existing(fileURLToPath(text));
  if (hasScheme(text)) return null;
  const place = resolve(text);
  if (await exists(place)) return place;
  return /^\.{0,2}[/\\]|^[a-z]:\\/i.test(text) ? existing(place) : null;
}

export function address(text) {
  try {
    return new URL(text).href;
  } catch {
    throw badInput(`'${text}' is neither a file here, nor a Hugging Face id, nor a full address.`);
  }
}

export const wasmAddress = (given) => (hasScheme(given) ? given : pathToFileURL(resolve(given)).href);

const hasScheme = (text) => /^[a-z][a-z\d+.-]+:/i.test(text); // longer than a drive letter
const exists = (place) => stat(place).then(() => true, () => false);

async function existing(place) {
  if (await exists(place)) return place;
  throw badInput(`There is no ${place}: check the path.`);
}

// One file, or those of a Hugging Face folder that the engine reads, or the one GGUF file of a folder.
export async function openPath(place) {
  const all = await listFolder(place);
  if (!all) return [await openFile(place)];
  const ggufs = all.filter((one) => /\.gguf$/i.test(one));
  const names = all.some(isWeights) ? folderFiles(all) : ggufs;
  if (!names.length) throw badInput(`${place} is not a model folder: it needs a .gguf file, or config.json, tokenizer.json and *.safetensors.`);
  if (names === ggufs && ggufs.length > 1) throw badInput(`${place} holds several models: give the path of one of ${ggufs.join(', ')}.`);
  const opened = [];
  try {
    for (const one of names) opened.push(await openFile(join(place, one)));
    return opened;
  } catch (error) {
    await Promise.all(opened.map((file) => file.close()));
    throw error;
  }
}

const unreadable = (place, cause) => new RerankError('bad-input', `Cannot read ${place}: ${cause.message}.`, { cause });

// The sorted names in a folder; null for a file.
async function listFolder(place) {
  try {
    return (await stat(place)).isDirectory() ? (await readdir(place)).sort() : null;
  } catch (cause) {
    throw unreadable(place, cause);
  }
}

async function openFile(place) {
  let handle;
  try {
    handle = await open(place);
  } catch (cause) {
    throw unreadable(place, cause);
  }
  const { size } = await handle.stat();
  return { name: basename(place), size, read: (start, end) => readFully(handle, place, start, end), close: () => handle.close() };
}

async function readFully(handle, place, start, end) {
  const bytes = new Uint8Array(end - start);
  let at = 0;
  while (at < bytes.length) {
    const { bytesRead } = await handle.read(bytes, at, Math.min(bytes.length - at, 1 << 30), start + at).catch((cause) => {
      throw unreadable(place, cause);
    });
    if (!bytesRead) throw badInput(`${place} became shorter while it was read: load it again.`);
    at += bytesRead;
  }
  return bytes;
}
