// This project's npm package, as a page uses it: in its worker, the whole list in one call.
import { Reranker } from '/pkg/src/index.js';

// The module of a build that is named ('simd128' or 'relaxed'); without a name the package takes the best for this browser.
function moduleOf(build, threads) {
  if (!build) return undefined;
  const parts = ['edge_reranker', build === 'relaxed' && 'relaxed', threads > 1 && 'threads', 'bg.wasm'];
  return new URL(`/pkg/dist/${parts.filter(Boolean).join('_')}`, location.href);
}

export async function open({ device, file, threads, build }) {
  const model = new URL(file, location.href);
  const reranker = await Reranker.load({ model, device, threads, wasm: moduleOf(build, threads), cache: 'none' });
  let used;
  return {
    atOnce: Infinity,
    async rank(query, documents, onFirst) {
      const { results, device: on } = await reranker.rerank(query, documents, { onScore: onFirst });
      used = on;
      return results.toSorted((a, b) => a.index - b.index).map((result) => result.relevanceScore);
    },
    details() {
      const info = reranker.info();
      return { device: used, threads: used === 'wasm' ? info.threads : null, build: info.instructions, info };
    },
    close: () => reranker.unload(),
  };
}
