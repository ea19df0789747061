import type { JSONObject, RerankingModelV3 } from '@ai-sdk/provider';
import type { AdapterOptions, RerankerSource } from './adapters.js';

export type { AdapterOptions, RerankerLike, RerankerSource } from './adapters.js';

export interface EdgeRerankerOptions extends Omit<AdapterOptions, 'topN' | 'signal'> {
  /** The reranker's model by default, if it is given itself. */
  modelId?: string | null;
  /** The text of a document that is an object. Left out, such documents are ranked as JSON, with a warning. */
  textOf?: ((document: JSONObject) => string) | null;
}

/** A model for `rerank({ model, query, documents })`. Options of one call: `providerOptions: { edgeReranker: { instruction } }`. */
export function edgeReranker(reranker: RerankerSource, options?: EdgeRerankerOptions): RerankingModelV3;
