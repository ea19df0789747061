// Compiled, never run: the subpaths' types as users of the libraries write them.
import { BaseDocumentCompressor } from '@langchain/core/retrievers/document_compressors';
import type { BaseNodePostprocessor } from '@llamaindex/core/postprocessor';
import { rerank } from 'ai';
import { Reranker } from 'edge-reranker';
import type { RerankResult } from 'edge-reranker';
import { edgeReranker } from 'edge-reranker/ai-sdk';
import { EdgeReranker as LangChain } from 'edge-reranker/langchain';
import { EdgeReranker as LlamaIndex } from 'edge-reranker/llamaindex';
import { RemoteReranker, RerankError } from 'edge-reranker/remote';

export async function use(): Promise<RerankResult> {
  await using remote = await RemoteReranker.connect({ url: 'http://127.0.0.1:8787', apiKey: 'k', rateLimit: { concurrent: 2 } });
  const local: Reranker = await Reranker.load();
  const compressor: BaseDocumentCompressor = new LangChain({ reranker: remote, topN: 3 });
  const postprocessor: BaseNodePostprocessor = new LlamaIndex({ reranker: () => Reranker.load(), metadataMode: 'NONE' });
  const { ranking } = await rerank({ model: edgeReranker(local), query: 'q', documents: ['a'] });
  console.log(compressor, postprocessor, ranking[0]?.score, remote.info().maxDocuments, new RerankError('oom', 'm').code);
  for await (const { index } of remote.rerankStream('q', ['a'], { threshold: 0.1 })) console.log(index);
  return remote.rerank('q', [{ text: 'a', id: 'b' }], { topN: 1, maxTokensPerDocument: 100 });
}

// @ts-expect-error HTTP cannot carry it
export const cut = (remote: RemoteReranker) => remote.rerank('q', ['a'], { maxLength: 10 });
// @ts-expect-error it needs an address
export const nowhere = () => RemoteReranker.connect({});
// @ts-expect-error it needs a reranker
export const empty = () => new LangChain({ topN: 3 });
