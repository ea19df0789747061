// Pages and web workers.
import { ALL_BUILDS, MODULES } from '../builds-threads.js';
import { badInput, shorten } from '../errors.js';
import { fetchWasm } from '../engine.js';

export const name = 'browser';
export const workerByDefault = true;
export const requestInit = { cache: 'no-store' }; // browsers run Range requests for one cached address one after the other

export const spawn = () => new Worker(new URL('../worker.js', import.meta.url), { type: 'module', name: 'edge-reranker' });
export const spawnThread = () => new Worker(new URL('../thread.js', import.meta.url), { type: 'module', name: 'edge-reranker thread' });

export const cores = () => globalThis.navigator?.hardwareConcurrency ?? 1;

const HEADERS = '`Cross-Origin-Opener-Policy: same-origin` and `Cross-Origin-Embedder-Policy: require-corp`';

export function threadObstacle() {
  if (globalThis.crossOriginIsolated !== true) return `the page is not cross-origin isolated: serve it, and the package's scripts, with the headers ${HEADERS}.`;
  return typeof Worker === 'undefined' ? 'this thread cannot start workers.' : null;
}

export const builds = ALL_BUILDS;

export const wasm = (given, build) => {
  const from = given ?? MODULES[build];
  return typeof from === 'string' || from instanceof URL ? fetchWasm(from) : from;
};

export const builtin = ({ http }) => http(new URL('../../dist/mini.gguf', import.meta.url).href);

export function address(text) {
  try {
    return new URL(text, globalThis.document?.baseURI ?? globalThis.location?.href).href;
  } catch {
    throw badInput(`'${shorten(text)}' is not an address.`);
  }
}

export const wasmAddress = address;
