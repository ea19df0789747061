/// <reference lib="dom" />
import type { Reranker } from './index.d.ts';

/** What a handler needs of a reranker: one of this package, local or remote, or one of yours. */
export type Ranker = Pick<Reranker, 'rerank' | 'score' | 'tokenize'> & { info(): { name: string }; readonly lost?: Promise<{ reason: string }>; unload?(): Promise<void> };

/** A place that outlives this process, for scores by their hash. Where it fails, the engine computes. */
export interface ScoreStore {
  get(key: string): Promise<string | null | undefined> | string | null | undefined;
  put(key: string, value: string): unknown;
}

export interface LogEvent {
  level: 'warn' | 'error';
  message: string;
  error: unknown;
}

export interface FetchHandlerOptions {
  /**
   * Keys that let in, as `Authorization: Bearer`, `Authorization: Api-Key` or `x-api-key`. Left out or null, everybody may ask; `apiKey: undefined`
   * and empty keys are refused, since they are most likely a variable that was never set. The health paths are always open.
   */
  apiKey?: string | readonly string[] | null;
  /** Origins whose pages may ask; '*' for all. None by default. */
  cors?: string | readonly string[] | null;
  /** The path before all others, such as '/api'. */
  basePath?: string | null;
  /** Documents in a request (1000). */
  maxDocuments?: number | null;
  /** Bytes of a request's body (8 MiB), counted while they arrive. */
  maxBody?: number | null;
  /** Tokens that a request may compute: the shared part of each query's prompts once, and the rest of each. Unlimited by default. */
  maxTokens?: number | null;
  /** Tokens of one prompt; documents are cut. The engine's own bound by default, and no more than the model's context. */
  maxLength?: number | null;
  /** Different queries in a request, each of which the engine computes by itself. Unlimited by default. */
  maxQueries?: number | null;
  /** Requests that may wait while one computes (64); more get 429, as do bodies that arrive at once and have more bytes together than these may. */
  maxQueue?: number | null;
  /** How long a request waits for the model to be loaded (3000) before it gets 503. */
  loadWaitMs?: number | null;
  /** Seconds that 429 and 503 tell clients to wait (5). A load that failed is not tried again before. */
  retryAfter?: number | null;
  /**
   * Keeps scores by a hash of all that they depend on: `entries` in memory (10000), and in `store`, which is asked for at most `storeLimit`
   * (20) documents a request. `version` is part of the hash: another one for another file of the same name. Answers say `x-cache: hits/total`.
   */
  cache?: { entries?: number | null; store?: ScoreStore | null; storeLimit?: number | null; version?: string | null } | null;
  /** Hears what clients are not told: why a load or a request failed. */
  log?: ((event: LogEvent) => void) | null;
}

/** The third argument of a worker's `fetch`: with it, work goes on after a client has left. */
export interface ExecutionContext {
  waitUntil?(promise: Promise<unknown>): void;
}

/**
 * The HTTP API for a reranker, or for one that is loaded by the first request that needs it. What the function gives belongs to the handler: when it
 * has run out of memory or its file has changed, it is unloaded, and the function is called again.
 */
export function createFetchHandler(
  reranker: Ranker | (() => Promise<Ranker>),
  options?: FetchHandlerOptions | null,
): (request: Request, env?: unknown, context?: ExecutionContext) => Promise<Response>;

export interface ProxyTarget {
  /** The address of a server with this API. */
  url: string | URL;
  /** Its key. The client's own is never passed on. */
  apiKey?: string | null;
  /** For a request with all its attempts (60000). */
  timeoutMs?: number | null;
  fetch?: typeof fetch | null;
}

/** The same API from a server elsewhere: keys, origins and sizes are checked here; 429, 503 and broken connections are tried again. */
export function createProxyHandler(
  target: ProxyTarget,
  options?: Pick<FetchHandlerOptions, 'apiKey' | 'cors' | 'basePath' | 'maxBody' | 'log'> | null,
): (request: Request) => Promise<Response>;
