// This project's npm package, as a page uses it: in its worker, the whole list in one call.
import { Reranker } from '/pkg/src/index.js';

export async function open({ device, file, threads }) {
  const reranker = await Reranker.load({ model: new URL(file, location.href), device, threads, cache: 'none' });
  let used;
  return {
    atOnce: Infinity,
    async rank(query, documents) {
      const { results, device: on } = await reranker.rerank(query, documents);
      used = on;
      return results.toSorted((a, b) => a.index - b.index).map((result) => result.relevanceScore);
    },
    details: () => ({ device: used, threads: used === 'wasm' ? reranker.info().threads : null, info: reranker.info() }),
    close: () => reranker.unload(),
  };
}
