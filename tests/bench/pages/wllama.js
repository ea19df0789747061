// wllama: its own rerank call, with the prompt in the GGUF file.
import { Wllama } from '/modules/@wllama/wllama/esm/index.js';

export async function open({ device, file, threads, workload }) {
  const log = [];
  const keep = (...words) => log.push(words.join(' '));
  const logger = { debug: keep, log: keep, warn: keep, error: keep };
  const wllama = new Wllama({ default: '/modules/@wllama/wllama/esm/wasm/wllama.wasm' }, { logger, suppressNativeLog: false, allowOffline: true });
  const blob = await (await fetch(file)).blob();
  const longest = Math.max(...workload.promptTokens);
  await wllama.loadModel([blob], {
    embeddings: true,
    pooling_type: 'rank',
    n_ctx: longest + 64,
    n_batch: Math.max(longest + 64, 2048),
    n_ubatch: Math.max(longest + 64, 512),
    n_threads: threads,
    n_gpu_layers: device === 'webgpu' ? 99_999 : 0,
  });
  const onGpu = log.some((line) => /offloaded [1-9]\d*\/\d+ layers/.test(line));
  return {
    atOnce: 1, // its call takes a list, but computes one after the other
    async rank(query, documents) {
      const { results } = await wllama.createRerank({ query, documents });
      return results.toSorted((a, b) => a.index - b.index).map((result) => result.relevance_score);
    },
    details: () => ({ device: onGpu ? 'webgpu' : 'wasm', threads: onGpu ? null : wllama.getNumThreads() }),
    close: () => wllama.exit(),
  };
}
