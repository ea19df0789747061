// The runners, as they are named in options and tables: ENGINE/DEVICE[-VARIANT]/WEIGHTS.

export const NAMES = [
  'edge-reranker/cpu/q4_0',
  'edge-reranker/cpu/q8_0',
  'llama-completion/cpu/q4_0',
  'llama-completion/cpu/q8_0',
  'llama-server/cpu/q4_0',
  'llama-server/cpu/q8_0',
  'candle/cpu/q4_0',
  'candle/cpu/q8_0',
  'pytorch/cpu/bf16',
  'edge-reranker/wasm/q4_0',
  'edge-reranker/wasm/q8_0',
  'edge-reranker/wasm-simd128/q4_0',
  'edge-reranker/wasm-simd128/q8_0',
  'edge-reranker/wasm-1t/q4_0',
  'edge-reranker/wasm-1t/q8_0',
  'transformers/wasm/q4',
  'transformers/wasm/q4-last',
  'transformers/wasm/q8',
  'wllama/wasm/q4_0',
  'wllama/wasm/q8_0',
  'wllama/wasm-1t/q8_0',
  'edge-reranker/webgpu/q4_0',
  'edge-reranker/webgpu/q8_0',
  'transformers/webgpu/q4',
  'transformers/webgpu/q4-last',
  'transformers/webgpu/q4f16',
  'transformers/webgpu/q4f16-last',
  'wllama/webgpu/q4_0',
  'wllama/webgpu/q8_0',
];

function runnerOf(name) {
  const [engine, place, weights] = name.split('/');
  const [device, variant = ''] = place.split('-');
  return { runner: name, engine, device, variant, weights, bits: /^q(\d)/.exec(weights)?.[1] ?? '16' };
}

/** Those whose names are among `wanted`, or whose first parts are. */
export function choose(wanted) {
  const meant = (name) => wanted.some((one) => one === 'all' || name === one || name.startsWith(one.endsWith('/') ? one : `${one}/`));
  const chosen = NAMES.filter(meant);
  if (!chosen.length) throw new Error(`there is no runner '${wanted.join(',')}'. There are:\n  ${NAMES.join('\n  ')}`);
  return chosen.map(runnerOf);
}

/** What a runner is told beside its model: its threads, and the build of this project's package. */
export const jobOf = ({ variant }, { threads, seconds, batch }) => ({
  threads: variant === '1t' ? 1 : threads,
  build: variant === 'simd128' ? 'simd128' : null,
  seconds,
  batch,
});
