// A larger model in a bucket: each request reads its layers one after the other and drops them again, so that they never fill the memory.
import { fromBucket, Reranker } from 'edge-reranker';
import { createFetchHandler } from 'edge-reranker/server';
import { cache } from './scores.js';

const MOST_TOKENS = 600; // of a 0.6B model; README.md has what they cost
const MOST_QUERIES = 16; // all layers are read once for each

export function stream(env, settings) {
  const { MODELS: bucket, MODEL_KEY: key } = env;
  if (!bucket || !key) throw new Error('MODE is stream: bind a bucket as MODELS and name its GGUF file in MODEL_KEY.');
  const { memoryMB } = settings;
  const streaming = memoryMB ? { memoryMB } : false; // 0: a small model is held whole
  const load = async () => Reranker.load({ model: await fromBucket(bucket, key), streaming });
  const limits = { maxTokens: settings.maxTokens ?? MOST_TOKENS, maxQueries: MOST_QUERIES, maxQueue: 4, loadWaitMs: 20_000 };
  return createFetchHandler(load, { ...settings.options, ...limits, cache: cache(settings, key) });
}
