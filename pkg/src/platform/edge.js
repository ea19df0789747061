// Edge runtimes: no worker, no compiling at run time; the module and the model are given by the caller.
import { BUILDS } from '../builds.js';
import { badInput, unsupported } from '../errors.js';

export const name = 'edge';
export const workerByDefault = false;
export const requestInit = {};
export const builds = BUILDS;

export const cores = () => 1;
export const threadObstacle = () => 'this runtime has no threads.';

export const spawn = () => {
  throw unsupported('There are no workers here: leave the `worker` option out.');
};

export function wasm(given) {
  if (given instanceof WebAssembly.Module) return given;
  throw badInput("This runtime cannot compile WebAssembly at run time: import 'edge-reranker/edge_reranker_bg.wasm' as a module and pass it as the `wasm` option.");
}

export const builtin = () => {
  throw badInput("This runtime has no files: import 'edge-reranker/mini.bin' (the same file as mini.gguf, by a name that bundlers for workers take for data) and pass its bytes as the `model` option.");
};

export function address(text) {
  try {
    return new URL(text).href;
  } catch {
    throw badInput(`'${text}' is not a full address.`);
  }
}

export const wasmAddress = (given) => given;
