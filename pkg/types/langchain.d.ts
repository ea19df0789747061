import type { Callbacks } from '@langchain/core/callbacks/manager';
import type { DocumentInterface } from '@langchain/core/documents';
import { BaseDocumentCompressor } from '@langchain/core/retrievers/document_compressors';
import type { AdapterOptions, RerankerSource } from './adapters.js';

export type { AdapterOptions, RerankerLike, RerankerSource } from './adapters.js';

export interface EdgeRerankerFields extends AdapterOptions {
  reranker: RerankerSource;
}

/** A document compressor, for `new ContextualCompressionRetriever({ baseCompressor, baseRetriever })`. */
export class EdgeReranker extends BaseDocumentCompressor {
  constructor(fields: EdgeRerankerFields);
  /** Best first; copies whose metadata has a `relevanceScore`. */
  compressDocuments(documents: DocumentInterface[], query: string, callbacks?: Callbacks): Promise<DocumentInterface[]>;
  /** `options` go over those of the constructor. */
  rerank(
    documents: readonly (DocumentInterface | string | { readonly text: string })[],
    query: string,
    options?: AdapterOptions | null,
  ): Promise<{ index: number; relevanceScore: number }[]>;
}
