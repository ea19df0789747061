// Compiled, never run: the types of the package as a user writes them.
import { capabilities, fromBucket, models, Reranker, RerankError } from 'edge-reranker';
import type { Capabilities, DocumentInput, LoadOptions, ModelInfo, ProgressEvent, RangeReader, RerankErrorCode, RerankResult } from 'edge-reranker';

const reader: RangeReader = { size: 10, read: async (start, end) => new Uint8Array(end - start) };
const onProgress = (event: ProgressEvent): string => `${event.status} ${event.progress?.toFixed()}`;
const options: LoadOptions[] = [
  {},
  { model: 'mini', device: 'wasm', worker: false, threads: 'auto', onProgress },
  { model: new URL('https://models.example/a.gguf'), tokenizer: new Uint8Array(1), fetch, signal: AbortSignal.timeout(5) },
  { model: reader, threads: 4, wasm: new URL('https://models.example/a.wasm'), worker: new Worker('worker.js') },
  { model: new File([], 'a.gguf'), cache: 'none', revision: null },
  { model: '0.6b-q8', cache: 'opfs', integrity: { 'a.gguf': 'sha256-x' } },
  { model: new Blob([]), wasm: new ArrayBuffer(8), gpu: { powerPreference: 'low-power' } },
];

interface Passage {
  id: string;
  text: string;
  page: number;
}
const passages: readonly Passage[] = [{ id: 'a', text: 'one', page: 1 }];

export async function use(): Promise<RerankResult> {
  await using reranker: Reranker = await Reranker.load(options[0]);
  const documents: readonly DocumentInput[] = ['one', { text: 'two', id: 'b', page: 7 }];
  for await (const { index, relevanceScore } of reranker.rerankStream('query', documents)) console.log(index + relevanceScore);
  const scores: Float32Array = await reranker.score([['query', 'one']] as const, { rawScores: true });
  const { ids, sharedPrefix }: { ids: Uint32Array; sharedPrefix: number } = await reranker.tokenize('query', 'one');
  const info: ModelInfo = reranker.info();
  const able: Capabilities = await capabilities();
  const names: string[] = (await models.list()).map((model) => model.label);
  const lost: { reason: 'destroyed' | 'device-lost' | 'oom' } = await reranker.lost;
  const adapter: string | undefined = able.adapter?.vendor ?? info.adapter?.name ?? info.kernels;
  console.log(scores, ids, sharedPrefix, info.layers, info.threads, info.instructions === 'relaxed-simd', able.simd, names, lost.reason, adapter, able.packedInt8, info.deviceReason);
  await reranker.rerank('query', passages);
  return reranker.rerank('query', documents, { topN: 1, threshold: null, keepPrefix: true, onScore: ({ done, total }) => console.log(done / total) });
}

export async function keep(): Promise<string> {
  await models.download('0.6b-q8', { onProgress, integrity: {}, signal: AbortSignal.timeout(5) });
  const [first] = await models.list();
  const { bytes, quota, models: stored } = await models.usage();
  const flags: boolean[] = [await models.isCached(new URL('https://models.example/a.gguf')), await models.delete('0.6b-q8'), await models.persist()];
  const bucket = { head: async () => ({ size: 1 }), get: async () => ({ arrayBuffer: async () => new ArrayBuffer(1) }) };
  await Reranker.load({ model: await fromBucket(bucket, 'a.gguf') });
  return `${first?.cached} ${first?.bytesCached} ${bytes} ${quota} ${stored[0]?.partial} ${flags}`;
}

export function codeOf(error: unknown): RerankErrorCode | undefined {
  return error instanceof RerankError ? error.code : undefined;
}

// @ts-expect-error a query is needed
export const noQuery = (reranker: Reranker) => reranker.rerank();
// @ts-expect-error numbers are no documents
export const numbers = (reranker: Reranker) => reranker.rerank('query', [1, 2]);
// @ts-expect-error a stream does not know the best
export const best = (reranker: Reranker) => reranker.rerankStream('query', ['one'], { topN: 1 });
// @ts-expect-error it is loaded, not constructed
export const constructed = () => new Reranker();
