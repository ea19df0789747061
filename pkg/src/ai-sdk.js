// `edge-reranker/ai-sdk`: a reranking model for `rerank` of the AI SDK (versions 6 and 7). It is plain data and one method, so nothing of the
// library is imported.
import { merged, provider } from './adapters.js';

const SPECIFICATION = 'v3'; // versions that speak a later one take it too
const NAME = 'edge-reranker';

// `options`: { modelId, textOf, ...options of rerank }; `providerOptions.edgeReranker` of a call go over them.
export function edgeReranker(reranker, { modelId, textOf, ...options } = {}) {
  const give = provider(reranker);
  return {
    specificationVersion: SPECIFICATION,
    provider: NAME,
    modelId: modelId ?? (typeof reranker?.info === 'function' ? reranker.info().name : NAME),

    async doRerank({ query, documents, topN, abortSignal, providerOptions, headers }) {
      const { texts, warnings } = read(documents, textOf);
      if (headers && Object.keys(headers).some((name) => name.toLowerCase() !== 'user-agent')) {
        warnings.push({ type: 'unsupported', feature: 'headers', details: 'Give headers to RemoteReranker.connect.' });
      }
      const own = merged(options, providerOptions?.edgeReranker, { topN, signal: abortSignal });
      const { results, model, usage, warnings: said } = await (await give()).rerank(query, texts, own);
      return {
        ranking: results.map(({ index, relevanceScore }) => ({ index, relevanceScore })),
        providerMetadata: { edgeReranker: { usage: { ...usage } } },
        warnings: [...warnings, ...said.map((message) => ({ type: 'other', message }))],
        response: { modelId: model },
      };
    },
  };
}

// Objects are read by the caller's `textOf`, or whole, as JSON: which of their fields matter is not ours to guess.
function read({ type, values }, textOf) {
  if (type === 'text') return { texts: values, warnings: [] };
  if (textOf) return { texts: values.map((value) => textOf(value)), warnings: [] };
  const details = 'Objects are ranked as JSON. Give edgeReranker a `textOf` that says which text counts.';
  return { texts: values.map((value) => JSON.stringify(value)), warnings: [{ type: 'compatibility', feature: 'object documents', details }] };
}
