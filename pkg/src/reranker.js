// The class that users hold: checks arguments, queues calls, hands them to an engine in this thread or in a worker.
import { checkCall, checkDocuments, checkLoad, checkPairs, checkQuery } from './check.js';
import { NoWorker, openRemote, workerRefused } from './client.js';
import { follow, RerankError, throwIfAborted, unsupported } from './errors.js';
import { openLocal } from './local.js';
import { Queue } from './queue.js';
import { describeModel, describeTokenizer, describeWasm } from './spec.js';

const isReader = (model) => typeof model?.read === 'function';

// The options of a call that runs: its own signal, and silence once that has fired.
function during({ onScore, ...options }, signal) {
  return { ...options, signal, onScore: onScore && ((event) => signal.aborted || onScore(event)) };
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
    checkQuery(query);
    const list = checkDocuments(documents);
    const run = (signal) => (list.length ? this.#backend.rerank(query, list, during(clean, signal)) : this.#nothing());
    const result = await this.#queue.run(clean.signal, run);
    return this.#warnings.length ? { ...result, warnings: [...this.#warnings, ...result.warnings] } : result;
  }

  // Scores as they are known, in the order of the computation. Leaving the loop stops the work.
  async *rerankStream(query, documents, options) {
    const { signal, onScore } = checkCall(options);
    const controller = new AbortController();
    const unfollow = follow(signal, controller);
    const ready = [];
    let wake = () => {};
    let ended = false;
    const hear = (score) => {
      ready.push({ index: score.index, relevanceScore: score.score });
      wake();
      onScore?.(score);
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
    const list = checkPairs(pairs);
    const run = (signal) => (list.length ? this.#backend.score(list, during(clean, signal)) : new Float32Array(0));
    return this.#queue.run(clean.signal, run);
  }

  async tokenize(query, document, options) {
    const clean = checkCall(options);
    checkQuery(query);
    const [text] = checkDocuments([document]);
    const run = (signal) => this.#backend.tokenize(query, text.text ?? text, during(clean, signal));
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
  const { warnings, ...clean } = checkLoad(options);
  throwIfAborted(clean.signal);
  const spec = { model: await describeModel(clean.model, clean, platform), wasm: describeWasm(clean.wasm, platform) };
  if (clean.tokenizer) spec.tokenizer = await describeTokenizer(clean.tokenizer, platform);
  const { signal, onProgress, fetch } = clean;
  const hooks = { platform, signal, onProgress, fetch, reader: isReader(clean.model) ? clean.model : undefined };
  const worker = clean.worker ?? platform.workerByDefault;
  if (!worker) return new Class(await openLocal(spec, hooks), warnings);
  try {
    return new Class(await openRemote(worker, spec, hooks), warnings);
  } catch (error) {
    if (!(error instanceof NoWorker)) throw error;
    if (clean.worker != null) throw workerRefused(error);
    const local = await openLocal(spec, hooks);
    return new Class(local, [...warnings, `The worker does not start (${error.message}); the engine runs in this thread.`]);
  }
}
