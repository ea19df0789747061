/// <reference lib="esnext.disposable" />
/// <reference lib="dom" />
import type { DocumentInput, RerankOptions, RerankResult, ScoreOptions, StreamOptions } from './index.js';

export { RerankError } from './index.js';
export type { DocumentInput, RerankErrorCode, RerankResult } from './index.js';

export interface ConnectOptions {
  /** The address of the server, such as `http://127.0.0.1:8787`; a `/v1` at its end may be left out. */
  url: string | URL;
  /** Sent as `Authorization: Bearer ...`, unless `headers` hold an Authorization of their own. */
  apiKey?: string | null;
  /** Sent with every request. */
  headers?: HeadersInit | null;
  /** Sent with every request: for a server that holds several models. */
  model?: string | null;
  fetch?: typeof fetch | null;
  /**
   * How often a request is repeated (3) when the network fails, when no reply comes in time, or after 408, 425, 429 and 5xx: with waits that
   * double, and not before a Retry-After has passed. One of more than a minute ends the call instead.
   */
  retries?: number | null;
  /** For one attempt, its reply included (120000). */
  timeoutMs?: number | null;
  /** `concurrent` requests at once (4); `requestsPerSecond`, repeated ones included, without bound unless given. */
  rateLimit?: { requestsPerSecond?: number | null; concurrent?: number | null } | null;
  /** Documents in one request; longer lists become several requests. What GET /info says by default, else 1000. */
  maxDocuments?: number | null;
  /** Bytes of one request. What GET /info says by default, else 8000000. */
  maxBodyBytes?: number | null;
  /** For `connect` itself. */
  signal?: AbortSignal | null;
}

/** Those that the server sets for itself are refused: they cannot be sent. */
interface NotCarried {
  maxLength?: null;
  template?: null;
  parseSpecial?: null;
  keepPrefix?: null;
  chunk?: null;
  expand?: null;
}

interface Carried {
  /** Cuts each document to as many tokens. */
  maxTokensPerDocument?: number | null;
}

export type RemoteScoreOptions = Omit<ScoreOptions, keyof NotCarried> & NotCarried & Carried;
export type RemoteStreamOptions = Omit<StreamOptions, keyof NotCarried> & NotCarried & Carried;
export type RemoteRerankOptions = Omit<RerankOptions, keyof NotCarried> & NotCarried & Carried;

export interface RemoteInfo {
  /** The model: `options.model`, else what the server says, else 'remote'. */
  name: string;
  device: 'remote';
  url: string;
  maxDocuments: number;
  maxBodyBytes: number;
  /** What GET /info answered; null where the server has no such path. */
  server: any;
  warnings: string[];
}

/**
 * The interface of Reranker over the HTTP API. Lists longer than the server takes are sent in parts; their results are one.
 *
 * Errors: `bad-input` for what the server refuses as wrong (400, 422), for a key that it does not take (401, 403) and for an address or a
 * model that is not there (404); `unsupported` (405, 501); `too-long` (413); `download` where the network fails, the server is busy or
 * broken (429, 5xx) after all retries, or the reply is not what the API promises. `error.cause.status` is the server's own status.
 */
export class RemoteReranker implements AsyncDisposable {
  private constructor();
  /** Asks the server for its /info, so that a wrong address or key shows here. */
  static connect(options: ConnectOptions): Promise<RemoteReranker>;
  /**
   * In `results`, `logit` is the server's, or computed from the score where it gives none; it is always finite. `tokens` is 0 and `truncated` false
   * where the server does not tell, and of `timings` only `totalMs` is known. `onScore` hears the scores of each reply as it comes.
   */
  rerank(query: string, documents: readonly DocumentInput[], options?: RemoteRerankOptions | null): Promise<RerankResult>;
  /** Scores as the replies come: one for every `maxDocuments` documents. Leaving the loop stops the rest. */
  rerankStream(query: string, documents: readonly DocumentInput[], options?: RemoteStreamOptions | null): AsyncIterable<{ index: number; relevanceScore: number }>;
  score(pairs: readonly (readonly [query: string, document: string])[], options?: RemoteScoreOptions | null): Promise<Float32Array>;
  tokenize(query: string, document: string, options?: RemoteScoreOptions | null): Promise<{ ids: Uint32Array; sharedPrefix: number }>;
  /** Is refused: `unsupported`. */
  explain(query: string, document: string, options?: RemoteScoreOptions | null): Promise<{ start: number; end: number; weight: number }[]>;
  info(): RemoteInfo;
  /** Stops the calls that run, which fail with `not-loaded`. The server keeps its model. */
  unload(): Promise<void>;
  /** Settles at `unload`. */
  readonly lost: Promise<{ reason: 'destroyed' | 'device-lost' | 'oom' }>;
  [Symbol.asyncDispose](): Promise<void>;
}
