// The class that users hold: checks arguments, queues calls, hands them to an engine in this thread or in a worker.
import { checkCall, checkFetch, checkLoad, checkPairs, checkRequest } from './check.js';
import { NoWorker, openRemote, workerRefused } from './client.js';
import { asRerankError, badInput, follow, RerankError, threw, throwIfAborted, unsupported } from './errors.js';
import { openLocal } from './local.js';
import { Queue } from './queue.js';
import { describeModel, describeTokenizer, describeWasm } from './spec.js';

// The caller's `callback`, silent once the signal has fired; what it throws goes to `fail`.
function guarded(callback, what, signal, fail) {
  return (event) => {
    if (signal.aborted) return;
    try {
      callback(event);
    } catch (error) {
      fail(threw(what, error));
    }
  };
}

// The options of a call that runs, with its own signal.
function during({ onScore, ...options }, signal, fail) {
  return { ...options, signal, onScore: onScore && guarded(onScore, 'onScore', signal, fail) };
}

// The platform's entry (index.js, node.js, workerd.js) extends this class with its own `load`.
export class RerankerBase {
  #backend;
  #warnings;
  #queue = new Queue();
  #settle;
  lost = new Promise((resolve) => (this.#settle = resolve));

  constructor(backend, warnings) {
    if (!backend) throw unsupported('Use `await Reranker.load()`: a model is loaded asynchronously.');
    this.#backend = backend;
    this.#warnings = warnings;
    backend.lost.then((lost) => {
      this.#settle(lost);
      this.#queue.refuse(() => new RerankError('not-loaded', `The engine was lost (${lost.reason}): load the model again.`));
    });
  }

  async rerank(query, documents, options) {
    const clean = checkCall(options);
    const list = checkRequest(query, documents, clean);
    const run = (signal, fail) => (list.length ? this.#backend.rerank(query, list, during(clean, signal, fail)) : this.#nothing());
    const result = await this.#queue.run(clean.signal, run);
    return this.#warnings.length ? { ...result, warnings: [...this.#warnings, ...result.warnings] } : result;
  }

  // Scores as they are known, in the order of the computation. Leaving the loop stops the work.
  async *rerankStream(query, documents, options) {
    const { signal, onScore, topN, threshold } = checkCall(options);
    if (topN) throw badInput('options.topN has no meaning for a stream, which does not know the best before its end: use rerank, or a threshold.');
    const least = Math.fround(threshold ?? -Infinity); // scores are of this precision
    const controller = new AbortController();
    const unfollow = follow(signal, controller);
    const ready = [];
    let wake = () => {};
    let ended = false;
    const hear = (score) => {
      onScore?.(score);
      if (score.score < least) return;
      ready.push({ index: score.index, relevanceScore: score.score });
      wake();
    };
    const work = this.rerank(query, documents, { ...options, signal: controller.signal, onScore: hear }).finally(() => {
      ended = true;
      wake();
    });
    work.catch(() => {}); // heard below, unless the consumer has left
    try {
      for (;;) {
        while (ready.length) yield ready.shift();
        if (ended) break;
        await new Promise((resolve) => (wake = resolve));
      }
      await work;
    } finally {
      unfollow();
      controller.abort();
      await work.catch(() => {});
    }
  }

  async score(pairs, options) {
    const clean = checkCall(options);
    const list = checkPairs(pairs, clean);
    const run = (signal, fail) => (list.length ? this.#backend.score(list, during(clean, signal, fail)) : new Float32Array(0));
    return this.#queue.run(clean.signal, run);
  }

  async tokenize(query, document, options) {
    const clean = checkCall(options);
    const [text] = checkRequest(query, [document], clean);
    const run = (signal, fail) => this.#backend.tokenize(query, text.text ?? text, during(clean, signal, fail));
    return this.#queue.run(clean.signal, run);
  }

  async explain() {
    throw unsupported('explain is not supported by this version.');
  }

  info() {
    const { info } = this.#backend;
    return { ...info, warnings: [...this.#warnings, ...info.warnings] };
  }

  async unload() {
    this.#settle({ reason: 'destroyed' });
    const idle = this.#queue.close(() => new RerankError('not-loaded', 'The reranker was unloaded: load the model again.'));
    await this.#backend.close(idle);
    await idle;
  }

  [Symbol.asyncDispose ?? 'asyncDispose']() {
    return this.unload();
  }

  #nothing() {
    const { name, device } = this.#backend.info;
    return {
      results: [],
      usage: { promptTokens: 0, totalTokens: 0, prefixReusedTokens: 0 },
      timings: { tokenizeMs: 0, inferMs: 0, totalMs: 0 },
      model: name,
      device,
      warnings: [],
    };
  }
}

export async function load(Class, options, platform) {
  let backend;
  let failure = null;
  const controller = new AbortController();
  let unfollow = () => {};
  try {
    const { warnings, ...clean } = checkLoad(options);
    throwIfAborted(clean.signal);
    unfollow = follow(clean.signal, controller);
    const { signal } = controller;
    const fail = (error) => {
      failure ??= error;
      controller.abort();
    };
    const onProgress = clean.onProgress && guarded(clean.onProgress, 'onProgress', signal, fail);
    backend = await openBackend({ ...clean, signal, onProgress }, warnings, platform);
    if (failure) throw failure;
    return new Class(backend, warnings);
  } catch (error) {
    await backend?.close();
    throw failure ?? asRerankError(error, 'bad-input');
  } finally {
    unfollow();
  }
}

// May add to `warnings`.
async function openBackend(clean, warnings, platform) {
  const spec = { model: await describeModel(clean.model, clean, platform), wasm: describeWasm(clean.wasm, platform) };
  if (clean.tokenizer) spec.tokenizer = await describeTokenizer(clean.tokenizer, platform);
  const { signal, onProgress } = clean;
  const hooks = { platform, signal, onProgress, fetch: clean.fetch && checkFetch(clean.fetch), reader: spec.model.kind === 'reader' ? clean.model : undefined };
  const worker = clean.worker ?? platform.workerByDefault;
  if (!worker) return openLocal(spec, hooks);
  try {
    return await openRemote(worker, spec, hooks);
  } catch (error) {
    if (!(error instanceof NoWorker)) throw error;
    if (clean.worker != null) throw workerRefused(error);
    warnings.push(`The worker does not start (${error.message}); the engine runs in this thread.`);
    return openLocal(spec, hooks);
  }
}
