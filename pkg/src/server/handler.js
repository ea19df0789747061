// The HTTP API: one function from Request to Response, for any runtime that has these. dialects.js says what is understood.
import { kind } from '../check.js';
import { badInput } from '../errors.js';
import { gatekeeper, OPEN } from './auth.js';
import { readBody } from './body.js';
import { ScoreCache } from './cache.js';
import { crossOrigin, isForeign } from './cors.js';
import { dialectOf, dialectOfPath, isRerankPath } from './dialects.js';
import { Gate } from './gate.js';
import { Loader } from './loader.js';
import { Metrics } from './metrics.js';
import { openapi } from './openapi.js';
import { checkOptions } from './options.js';
import { below, json } from './paths.js';
import { describe, models, readTokenize, tokenized } from './plain.js';
import { asProblem, endsEngine, errorBody, Problem, tooLarge } from './problem.js';
import { checkRoute } from './routes.js';
import { rank, Scorer } from './scorer.js';
import { Uploads } from './uploads.js';

// `source`: a Reranker, or a function that loads one when it is first needed.
export function createFetchHandler(source, options) {
  if (typeof source !== 'function' && typeof source?.rerank !== 'function') {
    throw badInput(`createFetchHandler needs a Reranker or a function that gives one, got ${kind(source)}.`);
  }
  const api = new Api(source, checkOptions(options));
  return (request, env, ctx) => api.answer(request, ctx);
}

class Api {
  #options;
  #loader;
  #gate;
  #cache;
  #scorer;
  #metrics = new Metrics();
  #authorize;
  #cors;
  #uploads;
  #get = {
    '/health': () => this.#health(),
    '/healthz': () => this.#health(),
    '/ping': () => this.#ping(),
    '/info': async (ctx) => json(describe((await this.#loader.get(ctx)).info(), this.#options)),
    '/v1/models': async (ctx) => json(models((await this.#loader.get(ctx)).info())),
    '/metrics': () => this.#report(),
    '/openapi.json': () => json(openapi(this.#options)),
  };

  constructor(source, options) {
    const log = (event) => {
      try {
        options.log?.(event);
      } catch {
        // a log that fails must not fail what it reports
      }
    };
    this.#options = { ...options, log };
    this.#loader = new Loader(source, this.#options);
    this.#gate = new Gate(options.maxQueue);
    this.#uploads = new Uploads(options.maxBody * (options.maxQueue + 1), options.retryAfter);
    this.#cache = options.cache && new ScoreCache(options.cache, log);
    this.#scorer = new Scorer(options, this.#gate, this.#cache);
    this.#authorize = gatekeeper(options.apiKey);
    this.#cors = crossOrigin(options.cors);
  }

  async answer(request, ctx) {
    const started = Date.now();
    const keep = (promise) => ctx?.waitUntil?.(promise);
    const path = below(this.#options.basePath, request.url);
    const call = { request, path, ctx, keep, dialect: dialectOfPath(path ?? '') };
    let response;
    try {
      response = await this.#route(call);
    } catch (error) {
      response = this.#refuse(error, call);
    }
    const kindOfCall = path !== null && isRerankPath(path) ? call.dialect.name : 'other';
    this.#metrics.request(kindOfCall, response.status);
    if (kindOfCall !== 'other') this.#metrics.took(response.status, (Date.now() - started) / 1000);
    for (const [name, value] of Object.entries(this.#cors(request))) response.headers.set(name, value);
    return request.method === 'HEAD' ? new Response(null, response) : response;
  }

  async #route(call) {
    const { request, path, ctx } = call;
    const early = checkRoute(request, path);
    if (early) return early;
    if (!OPEN.includes(path)) await this.#authorize(request.headers);
    if (Object.hasOwn(this.#get, path)) return this.#get[path](ctx);
    return path === '/tokenize' ? this.#tokenize(call) : this.#rerank(call);
  }

  // Whether a request may wait is looked at later: only its body tells in which words it is to be refused.
  #read({ request }) {
    const { maxBody, cors } = this.#options;
    return readBody(request, maxBody, { foreign: isForeign(request, cors), uploads: this.#uploads });
  }

  async #rerank(call) {
    const { request, path, ctx, keep } = call;
    const body = await this.#read(call);
    const dialect = (call.dialect = dialectOf(path, body));
    const asked = dialect.read(body, path);
    const { maxDocuments } = this.#options;
    if (asked.documents.length > maxDocuments) {
      throw tooLarge('documents', `There are ${asked.documents.length} documents, at most ${maxDocuments} are taken in one request: send them in parts.`);
    }
    const reranker = (call.reranker = await this.#loader.get(ctx));
    const { lines, tokens, hits } = await this.#scorer.score(asked, { reranker, signal: request.signal, keep });
    const answer = { id: `rerank-${crypto.randomUUID()}`, model: reranker.info().name, tokens, ...rank(lines, asked) };
    this.#metrics.add('documents', lines.length);
    this.#metrics.add('tokens', tokens);
    const headers = {};
    if (this.#cache) {
      headers['x-cache'] = `${hits}/${lines.length}`;
      this.#metrics.add('cache_hits', hits);
      this.#metrics.add('cache_misses', lines.length - hits);
    }
    return json(dialect.write(answer, asked, path), 200, headers);
  }

  async #tokenize(call) {
    const { request, ctx, keep } = call;
    const asked = readTokenize(await this.#read(call));
    if (asked.documents.length > this.#options.maxDocuments) {
      throw tooLarge('documents', `There are ${asked.documents.length} documents, at most ${this.#options.maxDocuments} are taken in one request.`);
    }
    const reranker = (call.reranker = await this.#loader.get(ctx));
    return json(tokenized(await this.#scorer.tokenize(asked, { reranker, signal: request.signal, keep })));
  }

  // Whether the worker lives, whatever there is of a model.
  #ping() {
    return json(this.#state());
  }

  // Whether requests would be answered.
  #health() {
    const state = this.#state();
    return state.status === 'ok' ? json(state) : json(state, 503, { 'retry-after': String(this.#options.retryAfter) });
  }

  // Idle is well: the model is loaded when it is first asked for.
  #state() {
    const { state, current } = this.#loader;
    return { status: state === 'ready' || state === 'idle' ? 'ok' : state, model: current?.info().name ?? null };
  }

  #report() {
    const text = this.#metrics.text({
      queue_length: ['Requests that wait for the engine.', this.#gate.length],
      busy: ['1 while the engine computes.', Number(this.#gate.busy)],
      ready: ['1 once the model is loaded.', Number(this.#loader.state === 'ready')],
    });
    return new Response(text, { headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' } });
  }

  #refuse(error, { request, path, dialect, reranker, keep }) {
    const problem = request.signal?.aborted ? new Problem(499, 'aborted', 'The client went away.') : asProblem(error, this.#options.retryAfter);
    if (reranker && endsEngine(error)) keep(this.#loader.forget(reranker));
    if (problem.status >= 500 && (problem.status !== 503 || problem.cause)) this.#options.log({ level: 'error', message: `${request.method} ${path} failed.`, error });
    const told = path !== null && isRerankPath(path) ? dialect : { status: (status) => status, error: errorBody };
    return json(told.error(problem, path), told.status(problem.status), problem.headers);
  }
}
