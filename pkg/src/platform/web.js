// Pages and web workers.
import { badInput, shorten } from '../errors.js';
import { fetchWasm } from '../engine.js';

export const name = 'browser';
export const workerByDefault = true;
export const requestInit = { cache: 'no-store' }; // browsers run Range requests for one cached address one after the other

export const spawn = () => new Worker(new URL('../worker.js', import.meta.url), { type: 'module', name: 'edge-reranker' });

export const wasm = (given = new URL('../../dist/edge_reranker_bg.wasm', import.meta.url)) =>
  typeof given === 'string' || given instanceof URL ? fetchWasm(given) : given;

export const builtin = ({ http }) => http(new URL('../../dist/mini.gguf', import.meta.url).href);

export function address(text) {
  try {
    return new URL(text, globalThis.document?.baseURI ?? globalThis.location?.href).href;
  } catch {
    throw badInput(`'${shorten(text)}' is not an address.`);
  }
}

export const wasmAddress = address;
