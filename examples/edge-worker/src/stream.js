// A larger model in a bucket: each request reads its layers one after the other and drops them again, so that they never fill the memory.
import { fromBucket, Reranker } from 'edge-reranker';
import { createFetchHandler } from 'edge-reranker/server';
import { cache } from './scores.js';

const MOST_TOKENS = 600;

export function stream(env, settings) {
  const { MODELS: bucket, MODEL_KEY: key } = env;
  if (!bucket || !key) throw new Error('MODE is stream: bind a bucket as MODELS and name its GGUF file in MODEL_KEY.');
  const streaming = env.STREAMING === 'off' ? undefined : { memoryMB: 96 };
  const load = async () => Reranker.load({ model: await fromBucket(bucket, key), streaming });
  const maxTokens = settings.maxTokens ?? MOST_TOKENS;
  return createFetchHandler(load, { ...settings.options, maxTokens, maxQueue: 4, loadWaitMs: 20_000, cache: cache(settings) });
}
