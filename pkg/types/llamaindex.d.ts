import type { MessageContent } from '@llamaindex/core/llms';
import type { BaseNodePostprocessor } from '@llamaindex/core/postprocessor';
import type { NodeWithScore } from '@llamaindex/core/schema';
import type { AdapterOptions, RerankerSource } from './adapters.js';

export type { AdapterOptions, RerankerLike, RerankerSource } from './adapters.js';

export interface EdgeRerankerFields extends AdapterOptions {
  reranker: RerankerSource;
  /** What of a node's metadata is ranked with its text, as in the library's MetadataMode. 'EMBED' by default. */
  metadataMode?: 'ALL' | 'EMBED' | 'LLM' | 'NONE' | null;
}

/** A node postprocessor, for `index.asQueryEngine({ nodePostprocessors: [...] })`. */
export class EdgeReranker implements BaseNodePostprocessor {
  constructor(fields: EdgeRerankerFields);
  /** Best first, with scores of relevance in place of the retriever's. */
  postprocessNodes(nodes: NodeWithScore[], query?: MessageContent): Promise<NodeWithScore[]>;
}
