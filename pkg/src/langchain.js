// `edge-reranker/langchain`: a document compressor of LangChain, as its ContextualCompressionRetriever takes one.
import { Document } from '@langchain/core/documents';
import { BaseDocumentCompressor } from '@langchain/core/retrievers/document_compressors';
import { merged, provider } from './adapters.js';
import { kind } from './check.js';
import { badInput } from './errors.js';

export class EdgeReranker extends BaseDocumentCompressor {
  #reranker;
  #options;

  // `fields`: { reranker, ...options of rerank }.
  constructor({ reranker, ...options } = {}) {
    super();
    this.#reranker = provider(reranker);
    this.#options = options;
  }

  // The documents, best first, as copies whose metadata has their `relevanceScore`.
  async compressDocuments(documents, query, _callbacks) {
    const ranked = await this.rerank(documents, query);
    return ranked.map(({ index, relevanceScore }) => {
      const { pageContent, metadata, id } = documents[index];
      return new Document({ pageContent, metadata: { ...metadata, relevanceScore }, id });
    });
  }

  async rerank(documents, query, options) {
    if (!Array.isArray(documents)) throw badInput(`documents must be an array, got ${kind(documents)}.`);
    const texts = documents.map((document, at) => textOf(document, `documents[${at}]`));
    const reranker = await this.#reranker();
    const { results } = await reranker.rerank(query, texts, merged(this.#options, options));
    return results.map(({ index, relevanceScore }) => ({ index, relevanceScore }));
  }
}

function textOf(document, where) {
  const text = typeof document === 'string' ? document : (document?.pageContent ?? document?.text);
  if (typeof text === 'string') return text;
  throw badInput(`${where} must be a string, or an object with a pageContent or a text, got ${kind(document)}.`);
}
