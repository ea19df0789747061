// The built-in model, held in memory.
import { Reranker } from 'edge-reranker';
import { createFetchHandler } from 'edge-reranker/server';
import { cache } from './scores.js';

const MOST_TOKENS = 20_000; // about what a request can compute in the seconds that it has: docs/edge.md has the figures

async function load() {
  const { default: model } = await import('edge-reranker/mini.bin');
  return Reranker.load({ model });
}

export const mini = (env, settings) =>
  createFetchHandler(load, { maxTokens: MOST_TOKENS, ...settings.options, ...(settings.maxTokens && { maxTokens: settings.maxTokens }), cache: cache(settings) });
