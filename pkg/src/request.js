// Requests for one address: each with a limit on silence, and tried again, later and later, where that may help.
import { aborted, follow, RerankError } from './errors.js';
import { sleep } from './sleep.js';

// How long to wait for a server and how often to ask it.
export const patience = { attempts: 4, firstWaitMs: 400, longestWaitMs: 20_000, stallMs: 60_000 };

// A failure that another attempt may mend.
export class Hiccup extends Error {
  constructor(message, waitMs = 0) {
    super(message);
    this.waitMs = waitMs;
  }
}

const advice = {
  401: 'The file needs a login: pass your own `fetch` that adds an Authorization header.',
  403: 'The server refuses access: for a gated model pass your own `fetch` that adds an Authorization header.',
  404: 'Check the address, the file name and the revision.',
  410: 'The file is gone: check the address.',
  416: 'The file is empty.',
  429: 'The server asks for patience: try again later.',
};
export const laterAdvice = 'Try again later, or use another host.';

// Seconds, or a date.
function retryAfter(response) {
  const text = response.headers.get('retry-after') ?? '';
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return ms > 0 ? Math.min(ms, patience.longestWaitMs) : 0;
}

// What the answer says about its length; 0 where it is not told, or tells of compressed bytes.
export const lengthOf = ({ headers }) => (headers.get('content-encoding') ? 0 : Number(headers.get('content-length')) || 0);

export class Requests {
  #url;
  #fetch;
  #init;
  #attempts;
  signal;

  // `init` goes into every request.
  constructor(url, { fetch, init = {}, signal, attempts = patience.attempts }) {
    this.#url = url;
    this.#fetch = fetch;
    this.#init = init;
    this.#attempts = attempts;
    this.signal = signal;
  }

  // One request, answered as far as its headers. Errors that may pass are Hiccups, all others are final.
  async ask(range) {
    const attempt = new AbortController();
    if (this.signal.aborted) throw aborted(this.signal);
    const unfollow = follow(this.signal, attempt);
    // Not every fetch hears of an abort, nor every time.
    let fail;
    attempt.signal.addEventListener('abort', () => fail?.(attempt.signal.reason), { once: true });
    const unlessEnded = (promise) =>
      new Promise((resolve, reject) => {
        fail = reject;
        promise.then(resolve, reject);
        if (attempt.signal.aborted) reject(attempt.signal.reason);
      });
    let timer;
    const touch = () => {
      clearTimeout(timer);
      timer = setTimeout(() => attempt.abort(), patience.stallMs);
    };
    const release = () => {
      clearTimeout(timer);
      unfollow();
    };
    const cancel = () => {
      release();
      attempt.abort();
    };
    touch();
    let response;
    try {
      const asked = this.#fetch(this.#url, { ...this.#init, headers: range ? { Range: range } : {}, signal: attempt.signal });
      response = await unlessEnded(Promise.resolve(asked));
    } catch (error) {
      release();
      throw this.#hiccup(error);
    }
    const { status } = response;
    if (status === 200 || status === 206) return { response, touch, release, cancel, unlessEnded };
    const wait = retryAfter(response);
    cancel();
    const what = `the server answered ${status} ${response.statusText}`.trim();
    if (status === 408 || status === 429 || status >= 500) throw Object.assign(new Hiccup(what, wait), { status });
    throw Object.assign(this.failed(what, advice[status] ?? 'Check the address.'), { status });
  }

  async *chunks({ response, touch, release, cancel, unlessEnded }) {
    if (!response.body) return release();
    const reader = response.body.getReader();
    let whole = false;
    try {
      for (;;) {
        const { done, value } = await unlessEnded(reader.read()).catch((error) => {
          throw this.#hiccup(error);
        });
        whole = done;
        if (done) return;
        touch();
        yield value;
      }
    } finally {
      if (whole) release();
      else {
        reader.cancel().catch(() => {});
        cancel();
      }
    }
  }

  failed(what, todo) {
    return new RerankError('download', `Cannot download ${this.#url}: ${what}. ${todo}`);
  }

  // Some servers keep Content-Range from pages of other origins, and Content-Length is always shown. 0 where it is not.
  async sizeByHead() {
    try {
      const response = await this.#fetch(this.#url, { ...this.#init, method: 'HEAD', signal: this.signal });
      return response.ok ? lengthOf(response) : 0;
    } catch {
      return 0;
    }
  }

  #hiccup(error) {
    if (this.signal.aborted) return aborted(this.signal);
    if (error instanceof RerankError && ['aborted', 'bad-input'].includes(error.code)) return error; // another attempt mends neither
    if (error?.name === 'AbortError') return new Hiccup(`nothing arrived for ${patience.stallMs / 1000} seconds`);
    return new Hiccup(`the network failed (${error?.cause?.code ?? error?.message ?? error})`);
  }

  // Tries `work` again after a Hiccup. An attempt that moved `progress` forward starts the count anew.
  async retry(work, progress = () => 0) {
    let before = progress();
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof Hiccup)) throw error;
        if (progress() > before) attempt = 1;
        before = progress();
        if (attempt >= this.#attempts) throw this.#giveUp(error);
        await sleep(Math.max(patience.firstWaitMs * 2 ** (attempt - 1) * (0.75 + Math.random() / 2), error.waitMs), this.signal);
      }
    }
  }

  #giveUp({ message, status }) {
    const network = 'Check the connection; a page may read another host only if that host allows it (CORS).';
    return this.failed(`${message}, ${this.#attempts} times in a row`, status ? (advice[status] ?? laterAdvice) : network);
  }
}
