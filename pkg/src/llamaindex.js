// `edge-reranker/llamaindex`: a node postprocessor of LlamaIndex. The library knows one by its method, so nothing of it is imported.
import { merged, provider } from './adapters.js';
import { kind } from './check.js';
import { badInput } from './errors.js';

const MODES = ['ALL', 'EMBED', 'LLM', 'NONE'];

export class EdgeReranker {
  #reranker;
  #metadataMode;
  #options;

  // `fields`: { reranker, metadataMode, ...options of rerank }.
  constructor({ reranker, metadataMode, ...options } = {}) {
    this.#reranker = provider(reranker);
    this.#metadataMode = metadataMode ?? 'EMBED';
    this.#options = options;
    if (!MODES.includes(this.#metadataMode)) throw badInput(`metadataMode must be one of ${MODES.join(', ')}, got ${JSON.stringify(metadataMode)}.`);
  }

  // The nodes, best first, with our scores in place of the retriever's.
  async postprocessNodes(nodes, query) {
    if (!Array.isArray(nodes)) throw badInput(`nodes must be an array, got ${kind(nodes)}.`);
    if (!nodes.length) return [];
    const asked = textOfQuery(query);
    const texts = nodes.map(({ node }) => node.getContent(this.#metadataMode));
    const reranker = await this.#reranker();
    const { results } = await reranker.rerank(asked, texts, merged(this.#options));
    return results.map(({ index, relevanceScore }) => ({ ...nodes[index], score: relevanceScore }));
  }
}

// A string, or the parts of a message, of which the texts count; a bundle has either in its `query`.
function textOfQuery(query) {
  const content = query?.query ?? query;
  if (typeof content === 'string') return content;
  const texts = Array.isArray(content) ? content.filter((part) => part?.type === 'text').map((part) => part.text) : [];
  if (texts.length) return texts.join('\n\n');
  throw badInput(`The postprocessor needs a query with text, got ${Array.isArray(content) ? 'parts without text' : kind(content)}: call postprocessNodes(nodes, query).`);
}
