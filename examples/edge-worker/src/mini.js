// The built-in model, held in memory.
import { Reranker } from 'edge-reranker';
import { createFetchHandler } from 'edge-reranker/server';
import { cache } from './scores.js';

const MOST_TOKENS = 20_000; // README.md has what they cost

async function load() {
  const { default: bytes } = await import('edge-reranker/mini.bin'); // only this mode needs it
  const model = { name: 'mini', size: bytes.byteLength, read: (start, end) => new Uint8Array(bytes, start, end - start) };
  return Reranker.load({ model });
}

export const mini = (env, settings) => createFetchHandler(load, { ...settings.options, maxTokens: settings.maxTokens ?? MOST_TOKENS, cache: cache(settings) });
