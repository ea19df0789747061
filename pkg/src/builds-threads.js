// All builds of the engine, and where their modules lie. Those with threads compute on the CPU only.
import { BUILDS } from './builds.js';

export const ALL_BUILDS = {
  ...BUILDS,
  'simd128-threads': () => import('../dist/edge_reranker_threads.js'),
  'relaxed-simd-threads': () => import('../dist/edge_reranker_relaxed_threads.js'),
};

export const MODULES = {
  simd128: new URL('../dist/edge_reranker_bg.wasm', import.meta.url),
  'relaxed-simd': new URL('../dist/edge_reranker_relaxed_bg.wasm', import.meta.url),
  'simd128-threads': new URL('../dist/edge_reranker_threads_bg.wasm', import.meta.url),
  'relaxed-simd-threads': new URL('../dist/edge_reranker_relaxed_threads_bg.wasm', import.meta.url),
};
