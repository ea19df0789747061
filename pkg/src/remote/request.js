// One JSON request: tried again when the network fails, or when the server is busy or broken; never when it says that the request is wrong.
import { abortable, follow, RerankError, shorten, throwIfAborted } from '../errors.js';
import { sleep } from '../sleep.js';
import { Limit } from './limit.js';

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 60_000; // a server that asks for more patience gets an error in place of a retry

// A failure that another attempt may mend.
class Hiccup extends Error {
  constructor(message, { status, waitMs = 0 } = {}) {
    super(message);
    this.status = status;
    this.waitMs = waitMs;
  }
}

const mendable = (status) => status === 408 || status === 425 || status === 429 || (status >= 500 && status !== 501 && status !== 505);

// Which of our codes a refusal is; `cause.status` of the error is the server's own. A wrong key is the caller's to mend, like any wrong
// input; no retry mends it.
function codeOf(status) {
  if (status === 413) return 'too-long';
  if (status === 405 || status === 501) return 'unsupported';
  return status >= 400 && status < 500 ? 'bad-input' : 'download';
}

const ADVICE = {
  401: ' Check options.apiKey.',
  403: ' Check options.apiKey, and what it may do.',
  404: ' Check options.url and options.model.',
  405: ' Check options.url.',
  413: ' Send fewer or shorter documents at a time: options.maxDocuments, options.maxBodyBytes.',
};

export class Requests {
  #options;
  #limit;

  // `options`: url, headers, fetch, retries, timeoutMs, rateLimit, as options.js gives them.
  constructor(options) {
    this.#options = options;
    this.#limit = new Limit(options.rateLimit);
  }

  address(path) {
    const url = new URL(this.#options.url);
    url.pathname = `${url.pathname.replace(/\/+$/, '')}${path}`;
    return url.href;
  }

  // Makes the complaint about a reply that is JSON, and yet not what it should be.
  judge(path) {
    return (what) => new RerankError('download', `${shorten(this.address(path))}: the reply is not what the API promises: ${what}. Is options.url a rerank server, of a version that fits?`);
  }

  // Gives the parsed reply. Without a `body` it is a GET.
  send(path, body, signal) {
    return this.#limit.run(signal, () => this.#tries(this.address(path), body, signal));
  }

  async #tries(url, body, signal) {
    const { retries } = this.#options;
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#limit.pace(signal);
        return await this.#once(url, body, signal);
      } catch (error) {
        if (!(error instanceof Hiccup)) throw error;
        if (attempt >= retries || error.waitMs > LONGEST_WAIT_MS) throw giveUp(url, error, attempt + 1);
        const backoff = Math.min(FIRST_WAIT_MS * 2 ** attempt, LONGEST_WAIT_MS) * (0.5 + Math.random() / 2);
        await sleep(Math.max(backoff, error.waitMs), signal);
      }
    }
  }

  async #once(url, body, signal) {
    const { timeoutMs, headers: given } = this.#options;
    const controller = new AbortController();
    const unfollow = follow(signal, controller);
    const timer = setTimeout(() => controller.abort(), timeoutMs);
    const headers = new Headers(given);
    headers.set('accept', 'application/json');
    if (body !== undefined) headers.set('content-type', 'application/json');
    try {
      const asked = this.#options.fetch(url, { method: body === undefined ? 'GET' : 'POST', headers, body, signal: controller.signal });
      const response = await abortable(Promise.resolve(asked), controller.signal); // a fetch of the caller's may not listen
      const text = await abortable(response.text(), controller.signal);
      if (!response.ok) throw refusal(url, response, text);
      return parsed(url, response, text);
    } catch (error) {
      throwIfAborted(signal);
      if (controller.signal.aborted) throw new Hiccup(`no whole reply came within ${timeoutMs} ms (options.timeoutMs)`);
      if (error instanceof Hiccup || error instanceof RerankError) throw error;
      throw new Hiccup(`the network failed (${error?.cause?.code ?? error?.message ?? error})`);
    } finally {
      clearTimeout(timer);
      unfollow();
    }
  }
}

function giveUp(url, { message, status, waitMs }, times) {
  const patience = waitMs > LONGEST_WAIT_MS ? ` and asks to wait for ${Math.ceil(waitMs / 1000)} s` : '';
  const todo = status ? 'Try again later.' : 'Check the address and the connection; a page may ask another host only if that host allows it (CORS).';
  return new RerankError('download', `${shorten(url)}: ${message}${patience}${times > 1 ? `, ${times} times in a row` : ''}. ${todo}`, { cause: status ? { status } : undefined });
}

function refusal(url, response, text) {
  const { status } = response;
  const said = messageOf(text);
  const words = `the server answered ${status}${said ? ` (${said})` : ''}`;
  if (mendable(status)) return new Hiccup(words, { status, waitMs: retryAfter(response) });
  return new RerankError(codeOf(status), `${shorten(url)}: ${words}.${ADVICE[status] ?? ''}`, { cause: { status } });
}

// Seconds, or a date.
function retryAfter({ headers }) {
  const given = headers.get('retry-after')?.trim();
  if (!given) return 0;
  const ms = /^\d+(?:\.\d+)?$/.test(given) ? Number(given) * 1000 : Date.parse(given) - Date.now();
  return ms > 0 ? ms : 0;
}

// The server's own words, in whichever field they are.
function messageOf(text) {
  let words = text;
  try {
    const { error, message, detail, errors } = JSON.parse(text) ?? {};
    words = [error?.message, message, detail, error, errors?.[0]?.message].find((one) => typeof one === 'string') ?? text;
  } catch {
    if (/^\s*</.test(text)) return ''; // a page of some proxy
  }
  const short = words.trim().replace(/\s+/g, ' ').replace(/\.$/, '');
  return short.length > 300 ? `${short.slice(0, 300)}...` : short;
}

function parsed(url, { headers }, text) {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const type = headers.get('content-type') ?? 'no content type';
    throw new RerankError('download', `${shorten(url)}: the reply is not JSON (${type}, it begins with ${JSON.stringify(text.slice(0, 40))}). Check that options.url is a rerank server.`, { cause });
  }
}
