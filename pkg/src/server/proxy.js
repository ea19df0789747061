// The same API from a server elsewhere: here it is checked who asks and how much; the rest is passed on, with a key of its own.
import { kind } from '../check.js';
import { badInput } from '../errors.js';
import { gatekeeper, OPEN } from './auth.js';
import { checkType, readBytes } from './body.js';
import { crossOrigin, isForeign } from './cors.js';
import { checkOptions, checkTarget } from './options.js';
import { below, json } from './paths.js';
import { asProblem, errorBody, Problem } from './problem.js';
import { checkRoute } from './routes.js';

const ATTEMPTS = 3;
const FIRST_WAIT_MS = 500;
const ESCAPED = /%(2e|2f|5c|25)/i; // dots and slashes that the server behind might take for such: Workers AI's paths end as one likes
const AGAIN = [429, 503];
const SENT_ON = ['content-type', 'content-encoding', 'accept'];
const SENT_BACK = ['content-type', 'retry-after', 'allow', 'x-cache'];

// `target`: { url, apiKey?, timeoutMs?, fetch? }. `options` as of createFetchHandler; those about documents and models are the server's.
export function createProxyHandler(target, options) {
  if (target === null || typeof target !== 'object') throw badInput(`createProxyHandler needs { url }, got ${kind(target)}.`);
  const proxy = new Proxied(checkTarget(target), checkOptions(options));
  return (request) => proxy.answer(request);
}

class Proxied {
  #target;
  #options;
  #authorize;
  #cors;

  constructor(target, options) {
    this.#target = target;
    this.#options = options;
    this.#authorize = gatekeeper(options.apiKey);
    this.#cors = crossOrigin(options.cors);
  }

  async answer(request) {
    let response;
    try {
      response = await this.#route(request);
    } catch (error) {
      const problem = request.signal?.aborted ? new Problem(499, 'aborted', 'The client went away.') : asProblem(error, this.#options.retryAfter);
      if (problem.status >= 500) this.#options.log?.({ level: 'error', message: problem.message, error: problem.cause ?? problem });
      response = json(errorBody(problem), problem.status, problem.headers);
    }
    for (const [name, value] of Object.entries(this.#cors(request))) response.headers.set(name, value);
    return response;
  }

  async #route(request) {
    const path = below(this.#options.basePath, request.url);
    const early = checkRoute(request, path !== null && ESCAPED.test(path) ? null : path);
    if (early) return early;
    if (!OPEN.includes(path)) await this.#authorize(request.headers);
    if (request.method !== 'POST') return this.#send(request, path);
    checkType(request.headers, isForeign(request, this.#options.cors));
    const body = await readBytes(request, this.#options.maxBody);
    return this.#send(request, path, body);
  }

  async #send(request, path, body) {
    const { url, apiKey, timeoutMs, fetch } = this.#target;
    const headers = pick(request.headers, SENT_ON);
    if (apiKey) headers.set('authorization', `Bearer ${apiKey}`);
    const late = AbortSignal.timeout(timeoutMs);
    const signal = request.signal ? AbortSignal.any([request.signal, late]) : late;
    const until = Date.now() + timeoutMs;
    for (let attempt = 1; ; attempt++) {
      let response;
      try {
        response = await fetch(`${url}${path}`, { method: request.method, headers, body, signal, redirect: 'manual' });
      } catch (cause) {
        if (late.aborted) throw tooLate(timeoutMs, cause);
        if (signal.aborted || attempt >= ATTEMPTS) throw new Problem(502, 'unreachable', 'The server behind cannot be reached.', { cause });
      }
      const wait = response ? waitOf(response, attempt) : FIRST_WAIT_MS * 2 ** (attempt - 1);
      const again = (!response || AGAIN.includes(response.status)) && attempt < ATTEMPTS && Date.now() + wait < until;
      if (!again) return back(response);
      await response?.body?.cancel();
      await sleep(wait, signal).catch((cause) => {
        throw tooLate(timeoutMs, cause);
      });
    }
  }
}

const tooLate = (timeoutMs, cause) => new Problem(504, 'timeout', `The server behind did not answer within ${timeoutMs} ms.`, { cause });

// What the server asks for, in seconds or as a date.
function waitOf(response, attempt) {
  const given = response.headers.get('retry-after');
  const seconds = /^\d+$/.test(given ?? '') ? Number(given) : (Date.parse(given ?? '') - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds * 1000) : FIRST_WAIT_MS * 2 ** (attempt - 1);
}

// That our own key is refused there is no failure of this client.
function back(response) {
  if (!response) throw new Problem(502, 'unreachable', 'The server behind cannot be reached.');
  const { status } = response;
  if ([401, 403].includes(status)) throw new Problem(502, 'refused', 'The server behind refused the key of this one.', { cause: new Error(`It answered ${status}.`) });
  if (status >= 300 && status < 400) throw new Problem(502, 'moved', 'The server behind has moved.', { cause: new Error(`It answered ${status}, Location: ${response.headers.get('location')}.`) });
  return new Response(response.body, { status, headers: pick(response.headers, SENT_BACK) });
}

const pick = (headers, names) => new Headers(names.map((name) => [name, headers.get(name)]).filter(([, value]) => value !== null));

function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, milliseconds);
    signal.addEventListener('abort', stop, { once: true });
  });
}
