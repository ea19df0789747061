import type { DocumentInput, RerankOptions, RerankResult } from './index.js';

/** What the adapters ask of a reranker: Reranker and RemoteReranker both have it. */
export interface RerankerLike {
  rerank(query: string, documents: readonly DocumentInput[], options?: any): Promise<RerankResult>;
}

/** One, or a promise of one, or a function that is called when it is first needed (again after a failure). */
export type RerankerSource = RerankerLike | PromiseLike<RerankerLike> | (() => RerankerLike | PromiseLike<RerankerLike>);

/** Options of every call. `maxTokensPerDocument` is RemoteReranker's, which refuses those that HTTP cannot carry; `maxLength` is Reranker's. */
export type AdapterOptions = Omit<RerankOptions, 'returnDocuments' | 'onScore'> & { maxTokensPerDocument?: number | null };
