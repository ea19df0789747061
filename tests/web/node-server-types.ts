// Compiled, never run: the types of edge-reranker/server as a user writes them.
import { Reranker } from 'edge-reranker';
import { createFetchHandler, createProxyHandler } from 'edge-reranker/server';
import type { FetchHandlerOptions, LogEvent, ScoreStore } from 'edge-reranker/server';

const known = new Map<string, string>();
const store: ScoreStore = { get: (key) => known.get(key), put: (key, value) => known.set(key, value) };
const log = ({ level, message, error }: LogEvent): void => console.log(level, message, error);
const options: FetchHandlerOptions = { apiKey: ['one', 'two'], cors: '*', maxTokens: null, maxQueries: 4, cache: { store, entries: 5, version: '2' }, log };

export default {
  fetch: createFetchHandler(() => Reranker.load(), options),
};

export const given = (reranker: Reranker): Promise<Response> => createFetchHandler(reranker)(new Request('https://a.example'), {}, { waitUntil: (promise) => void promise });
export const proxy = createProxyHandler({ url: 'https://gpu.example', apiKey: 'k' }, { cors: null });

// @ts-expect-error a reranker is needed
export const nothing = () => createFetchHandler();
// @ts-expect-error an address is needed
export const nowhere = () => createProxyHandler({});
