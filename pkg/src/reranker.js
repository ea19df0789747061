// The class that users hold: checks arguments, queues calls, hands them to an engine in this thread or in a worker.
import { checkCall, checkFetch, checkLoad, checkPairs, checkRequest } from './check.js';
import { NoWorker, openRemote, workerRefused } from './client.js';
import { asRerankError, follow, RerankError, threw, throwIfAborted, unsupported } from './errors.js';
import { Live } from './live.js';
import { Queue } from './queue.js';
import { describeModel, describeTokenizer, describeWasm } from './spec.js';
import { scoresOf } from './stream.js';

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
  #live;
  #queue = new Queue();

  constructor(live) {
    if (!(live instanceof Live)) throw unsupported('Use `await Reranker.load()`: a model is loaded asynchronously.');
    this.#live = live;
    live.ended.then(({ reason }) => this.#queue.refuse(() => new RerankError('not-loaded', `The engine was lost (${reason}): load the model again.`)));
  }

  // After a loss of the GPU and the call that loaded the model again, this is another promise.
  get lost() {
    return this.#live.lost;
  }

  async rerank(query, documents, options) {
    const clean = checkCall(options);
    const list = checkRequest(query, documents, clean);
    if (!list.length) return this.#queue.run(clean.signal, () => this.#nothing());
    const result = await this.#run(clean, (backend, options) => backend.rerank(query, list, options));
    return { ...result, warnings: [...this.#live.warnings, ...result.warnings] };
  }

  // In the order of the computation.
  rerankStream(query, documents, options) {
    return scoresOf((own) => this.rerank(query, documents, own), options);
  }

  async score(pairs, options) {
    const clean = checkCall(options);
    const list = checkPairs(pairs, clean);
    if (!list.length) return this.#queue.run(clean.signal, () => new Float32Array(0));
    return this.#run(clean, (backend, options) => backend.score(list, options));
  }

  async tokenize(query, document, options) {
    const clean = checkCall(options);
    const [text] = checkRequest(query, [document], clean);
    return this.#run(clean, (backend, options) => backend.tokenize(query, text.text ?? text, options));
  }

  async explain() {
    throw unsupported('explain is not supported by this version.');
  }

  info() {
    const { info } = this.#live;
    return { ...info, warnings: [...this.#live.warnings, ...info.warnings] };
  }

  async unload() {
    const idle = this.#queue.close(() => new RerankError('not-loaded', 'The reranker was unloaded: load the model again.'));
    await this.#live.close(idle);
    await idle;
  }

  [Symbol.asyncDispose ?? 'asyncDispose']() {
    return this.unload();
  }

  // `work(backend, options)` in its turn.
  #run(clean, work) {
    return this.#queue.run(clean.signal, (signal, fail) => this.#live.use(signal, (backend) => work(backend, during(clean, signal, fail))));
  }

  #nothing() {
    const { name, device } = this.#live.info;
    return {
      results: [],
      usage: { promptTokens: 0, totalTokens: 0, prefixReusedTokens: 0 },
      timings: { tokenizeMs: 0, inferMs: 0, totalMs: 0 },
      model: name,
      device,
      warnings: this.#live.warnings,
    };
  }
}

export async function load(Class, options, platform) {
  const { signal, ...clean } = checkLoad(options);
  throwIfAborted(signal);
  const reopen = (signal) => openAgain(clean, signal, platform);
  return new Class(new Live(await open(clean, signal, platform), reopen));
}

// A device that the caller gave is not there any more: the GPU is asked for another one.
async function openAgain(clean, signal, platform) {
  if (!clean.gpu.device) return open(clean, signal, platform);
  const backend = await open({ ...clean, gpu: { ...clean.gpu, device: undefined }, device: 'webgpu', worker: false }, signal, platform);
  backend.warnings.push('The GPUDevice that was given was lost: the model was loaded again on another one.');
  return backend;
}

async function open(clean, outer, platform) {
  let backend;
  let failure = null;
  const controller = new AbortController();
  const unfollow = follow(outer, controller);
  const { signal } = controller;
  const fail = (error) => {
    failure ??= error;
    controller.abort();
  };
  try {
    const onProgress = clean.onProgress && guarded(clean.onProgress, 'onProgress', signal, fail);
    backend = await openBackend({ ...clean, signal, onProgress }, platform);
    if (failure) throw failure;
    return backend;
  } catch (error) {
    await backend?.close();
    throw failure ?? asRerankError(error, 'bad-input');
  } finally {
    unfollow();
  }
}

// Fetched when it is needed: with a worker, the engine is there and not here.
async function openLocal(spec, hooks) {
  const local = await import('./local.js').catch((cause) => {
    throw new RerankError('download', `Cannot load the script of the engine: ${cause.message}. Serve all files of the package's src folder, and those of a bundle.`, { cause });
  });
  return local.openLocal(spec, hooks);
}

async function openBackend(clean, platform) {
  const { device, threads, memoryMB, gpu, cache, integrity, signal, onProgress } = clean;
  const model = await describeModel(clean.model, clean, platform);
  const wasm = describeWasm(clean.wasm, platform);
  const spec = { model, wasm, device, threads, memoryMB, cache, integrity, powerPreference: gpu.powerPreference };
  if (clean.tokenizer) spec.tokenizer = await describeTokenizer(clean.tokenizer, platform);
  const reader = spec.model.kind === 'reader' ? clean.model : undefined;
  const hooks = { platform, signal, onProgress, reader, gpuDevice: gpu.device, fetch: clean.fetch && checkFetch(clean.fetch) };
  const worker = clean.worker ?? (gpu.device ? false : platform.workerByDefault);
  if (!worker) return openLocal(spec, hooks);
  try {
    return await openRemote(worker, spec, hooks);
  } catch (error) {
    if (!(error instanceof NoWorker)) throw error;
    if (clean.worker != null) throw workerRefused(error);
    const backend = await openLocal(spec, hooks);
    backend.warnings.push(`The worker does not start (${error.message}); the engine runs in this thread.`);
    return backend;
  }
}
