// The builds of the engine that compute on one thread: the same source with other instructions. Written out, so that bundlers see them.

export const BUILDS = {
  simd128: () => import('../dist/edge_reranker.js'),
  'relaxed-simd': () => import('../dist/edge_reranker_relaxed.js'),
};

export const nameOf = ({ relaxed, threads }) => (relaxed ? 'relaxed-simd' : 'simd128') + (threads ? '-threads' : '');

// Which build a module is: its exports tell.
export function buildOf(module) {
  const names = new Set(WebAssembly.Module.exports(module).map(({ name }) => name));
  return nameOf({ relaxed: names.has('engine_relaxedSimd'), threads: names.has('engine_serveThread') });
}
