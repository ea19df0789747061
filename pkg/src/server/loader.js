// The reranker: given, or made by a function when it is first needed, and again after it was lost.
import { busy } from './problem.js';

const LONGEST_MS = 60_000;

export class Loader {
  #make = null;
  #options;
  #reranker = null;
  #loading = null;
  #since = 0;
  #failedAt = null;

  // `options`: loadWaitMs, retryAfter (seconds), log.
  constructor(source, options) {
    this.#options = options;
    if (typeof source === 'function') this.#make = source;
    else this.#reranker = source;
  }

  // 'ready', 'idle' (nobody has asked yet), 'loading' or 'failed'.
  get state() {
    if (this.#reranker) return 'ready';
    if (this.#loading) return 'loading';
    return this.#failedAt === null ? 'idle' : 'failed';
  }

  // The reranker, if it is there.
  get current() {
    return this.#reranker;
  }

  // Waits for a load as long as a client may be held. `ctx.waitUntil` lets it go on after the answer, though not for ever: a load of a request
  // that was dropped never ends, so that another one begins after a while.
  async get(ctx) {
    if (this.#reranker) return this.#reranker;
    if (this.#loading && ctx?.waitUntil && Date.now() - this.#since > LONGEST_MS) this.#loading = null;
    if (!this.#loading) {
      this.#refuseEarly();
      this.#since = Date.now();
      const loading = this.#load().finally(() => this.#loading === loading && (this.#loading = null));
      this.#loading = loading;
      ctx?.waitUntil?.(loading);
    }
    await within(this.#loading, this.#options.loadWaitMs);
    if (this.#reranker) return this.#reranker;
    throw this.state === 'failed' ? this.#refusal() : busy(503, 'loading', 'The model is being loaded: ask again soon.', this.#options.retryAfter);
  }

  // It is of no use any more: the next request loads anew. Resolves when its memory is free. One that was given stays.
  async forget(reranker) {
    if (!this.#make || reranker !== this.#reranker) return;
    this.#reranker = null;
    try {
      await reranker.unload?.();
    } catch (error) {
      this.#options.log({ level: 'warn', message: 'A reranker of no use could not be unloaded.', error });
    }
  }

  #refusal() {
    return busy(503, 'not-loaded', 'The model could not be loaded: ask again later.', this.#options.retryAfter);
  }

  #refuseEarly() {
    if (this.#failedAt !== null && Date.now() - this.#failedAt < this.#options.retryAfter * 1000) throw this.#refusal();
  }

  async #load() {
    try {
      const reranker = await this.#make();
      if (typeof reranker?.rerank !== 'function') throw new TypeError('The function given to createFetchHandler must give a Reranker.');
      this.#reranker = reranker;
      this.#failedAt = null;
      reranker.lost?.then(({ reason }) => reason !== 'device-lost' && this.forget(reranker));
    } catch (error) {
      this.#failedAt = Date.now();
      this.#options.log({ level: 'error', message: 'The model could not be loaded.', error });
    }
  }
}

function within(promise, milliseconds) {
  let timer;
  const late = new Promise((done) => (timer = setTimeout(done, milliseconds)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
