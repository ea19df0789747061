// The engine in this thread, behind the interface that client.js offers from another one.
import { abortable, asRerankError, throwIfAborted } from './errors.js';
import { loadEngine } from './engine.js';
import { Progress } from './progress.js';
import { openSources } from './sources.js';
import { onTrap, trapped, watched } from './trap.js';

// `spec`: { model, tokenizer?, wasm? } of spec.js. `hooks`: { platform, fetch?, reader?, signal?, onProgress? }.
export async function openLocal(spec, hooks) {
  const { platform, signal, reader, onProgress } = hooks;
  if (trapped()) throw asRerankError(trapped());
  const progress = new Progress(onProgress, spec.model.name);
  const context = { platform, signal, reader, progress, fetch: hooks.fetch ?? ((...args) => fetch(...args)) };
  const loading = loadEngine(platform, spec.wasm);
  loading.catch(() => {}); // heard below, after the sources
  const sources = await openSources(spec.tokenizer ? [spec.model, { ...spec.tokenizer, name: 'tokenizer.json' }] : [spec.model], context);
  let readError = null;
  const breathe = everySlice();
  const files = sources.files.map(({ name, size, read }) => ({
    name,
    size,
    async read(start, end) {
      try {
        await breathe();
        throwIfAborted(signal);
        return await read(start, end);
      } catch (error) {
        readError ??= error;
        throw error;
      }
    },
  }));
  try {
    const Engine = await abortable(loading, signal);
    const engine = await watched(() => Engine.load(files, { name: spec.model.name, signal }));
    for (const file of sources.files) file.done();
    progress.ready();
    return new Local(engine);
  } catch (error) {
    throw asRerankError(readError ?? error);
  } finally {
    await sources.close();
  }
}

// Gives the thread back now and then: reads from memory alone would never do so.
function everySlice(sliceMs = 30) {
  let since = performance.now();
  return async () => {
    if (performance.now() - since < sliceMs) return;
    await new Promise((done) => setTimeout(done));
    since = performance.now();
  };
}

class Local {
  #engine;
  #lost;
  #unwatch;
  info;
  lost = new Promise((resolve) => (this.#lost = resolve));

  constructor(engine) {
    this.#engine = engine;
    this.info = engine.info();
    this.#unwatch = onTrap(() => {
      this.#engine = null; // its memory can no longer be trusted, not even to free it
      this.#lost({ reason: 'oom' });
    });
  }

  rerank(query, documents, options) {
    return this.#guard(() => this.#engine.rerank(query, documents, options));
  }

  score(pairs, options) {
    return this.#guard(() => this.#engine.score(pairs, options));
  }

  tokenize(query, document, options) {
    return this.#guard(() => this.#engine.tokenize(query, document, options));
  }

  async close(idle) {
    await idle;
    this.#unwatch();
    this.#engine?.free();
    this.#engine = null;
  }

  async #guard(work) {
    try {
      return await watched(work);
    } catch (error) {
      throw asRerankError(error, 'bad-input');
    }
  }
}
