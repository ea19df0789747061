// `edge-reranker/remote`: the interface of Reranker over the HTTP API, for a server that computes elsewhere. No engine is loaded.
import { checkPairs, checkRequest } from './check.js';
import { aborted, follow, RerankError, throwIfAborted, unsupported, whenAborted } from './errors.js';
import * as calls from './remote/calls.js';
import { checkConnect, checkRemoteCall } from './remote/options.js';
import { readInfo } from './remote/reply.js';
import { Requests } from './remote/request.js';
import { scoresOf } from './stream.js';

export { RerankError } from './errors.js';

const CAPS = { maxDocuments: 1000, maxBodyBytes: 8_000_000 }; // the API's, where the server names no others

const nothing = () => ({ results: [], usage: { promptTokens: 0, totalTokens: 0, prefixReusedTokens: 0 }, warnings: [] });

export class RemoteReranker {
  #requests;
  #model;
  #info;
  #closing = new AbortController();
  #lost;
  lost = new Promise((resolve) => (this.#lost = resolve));

  // `told` is what GET /info answered; null where the server has no such path.
  constructor(requests, { model, maxDocuments, maxBodyBytes } = {}, told = null) {
    if (!(requests instanceof Requests)) throw unsupported('Use `await RemoteReranker.connect({ url })`.');
    const known = readInfo(told);
    this.#requests = requests;
    this.#model = model;
    this.#info = {
      name: model ?? known.name ?? 'remote',
      device: 'remote',
      url: requests.address(''),
      maxDocuments: maxDocuments ?? known.maxDocuments ?? CAPS.maxDocuments,
      maxBodyBytes: maxBodyBytes ?? known.maxBodyBytes ?? CAPS.maxBodyBytes,
      server: told,
      warnings: [],
    };
  }

  static async connect(options) {
    const { signal = new AbortController().signal, ...clean } = checkConnect(options);
    throwIfAborted(signal);
    const requests = new Requests(clean);
    const told = await requests.send('/info', undefined, signal).catch((error) => {
      if ([404, 405, 501].includes(error.cause?.status)) return null; // servers of others need not have it
      throw error;
    });
    return new this(requests, clean, told);
  }

  async rerank(query, documents, options) {
    const clean = checkRemoteCall(options);
    const list = checkRequest(query, documents, clean);
    const since = performance.now();
    const result = await this.#run(clean.signal, (call) => (list.length ? calls.rerank(call, query, list, clean) : nothing()));
    const { name, device } = this.#info;
    return { ...result, model: result.model ?? name, device, timings: { tokenizeMs: 0, inferMs: 0, totalMs: performance.now() - since } };
  }

  // Scores as the replies come: there is one for every `maxDocuments` documents.
  rerankStream(query, documents, options) {
    return scoresOf((own) => this.rerank(query, documents, own), options);
  }

  async score(pairs, options) {
    const clean = checkRemoteCall(options);
    const list = checkPairs(pairs, clean);
    return this.#run(clean.signal, (call) => (list.length ? calls.score(call, list, clean) : new Float32Array(0)));
  }

  async tokenize(query, document, options) {
    const clean = checkRemoteCall(options);
    const [text] = checkRequest(query, [document], clean);
    return this.#run(clean.signal, (call) => calls.tokenize(call, query, calls.textOf(text), clean));
  }

  async explain() {
    throw unsupported('explain is not part of the HTTP API.');
  }

  info() {
    return { ...this.#info };
  }

  // Stops the calls that run. The server keeps its model.
  async unload() {
    this.#closing.abort();
    this.#lost({ reason: 'destroyed' });
  }

  [Symbol.asyncDispose ?? 'asyncDispose']() {
    return this.unload();
  }

  // `work(call)` until the caller aborts, `unload`, or `fail(error)`, which ends it with an error of its own.
  async #run(outer, work) {
    const controller = new AbortController();
    const { signal } = controller;
    let failure = null;
    const fail = (error) => {
      failure ??= error;
      controller.abort();
    };
    const gone = () => fail(new RerankError('not-loaded', 'The reranker was unloaded: connect again.'));
    const closing = this.#closing.signal;
    const unlisten = whenAborted(closing, gone);
    if (closing.aborted) gone();
    const unfollow = follow(outer, controller);
    const call = { requests: this.#requests, model: this.#model, caps: this.#info, signal, fail };
    try {
      throwIfAborted(signal);
      const result = await work(call);
      if (failure) throw failure;
      return result;
    } catch (error) {
      throw failure ?? (outer?.aborted ? aborted(outer) : error);
    } finally {
      unfollow();
      unlisten();
      controller.abort();
    }
  }
}
