// Stands in for dist/edge_reranker.js where a test needs a GPU that fails on demand. What was loaded stands in `globalThis.loads`; the
// next load fails with the first code in `globalThis.failures`. The query says what a call does.

globalThis.loads = [];
globalThis.failures = [];

const failure = (code) => Object.assign(new Error(`fake ${code}`), { code });

export const instantiate = () => ({ Engine, start: async () => {} });

class Engine {
  #options;
  #device;
  #lose;
  #lost = new Promise((resolve) => (this.#lose = resolve));

  static async load(files, options) {
    const engine = new Engine();
    const load = { ...options, freed: 0 };
    globalThis.loads.push(load);
    engine.#options = load;
    for (const file of files) await file.read(0, file.size);
    if (options.device === 'webgpu') {
      const adapter = await navigator.gpu.requestAdapter({ powerPreference: options.powerPreference });
      engine.#device = load.gpuDevice = await adapter.requestDevice();
      engine.#device.onuncapturederror = () => {};
      engine.#device.lost.then((lost) => engine.#lose({ reason: lost.reason === 'destroyed' ? 'destroyed' : 'device-lost', message: lost.message }));
    }
    if (globalThis.failures.length) throw failure(globalThis.failures.shift());
    return engine;
  }

  info() {
    const { name, device } = this.#options;
    return { name, device, warnings: [] };
  }

  tuning() {
    return this.#options.device === 'webgpu' ? `measured on ${globalThis.loads.indexOf(this.#options)}` : undefined;
  }

  lost() {
    return this.#lost;
  }

  async rerank(query, documents, { signal, onScore, keepPrefix }) {
    if (query === 'wait') await new Promise((_, reject) => signal.addEventListener('abort', () => reject(failure('aborted'))));
    if (query === 'lose') {
      this.#lose({ reason: 'device-lost', message: 'on demand' });
      setTimeout(() => onScore?.({ index: 0, score: 0.5, done: 1, total: documents.length }));
      await new Promise(() => {}); // what waits for the device waits for ever
    }
    if (query === 'lose silently') throw failure('device-lost');
    if (query === 'out of memory') throw failure('oom');
    onScore?.({ index: 0, score: 0.5, done: 1, total: documents.length });
    return { results: [], usage: {}, timings: {}, model: this.#options.name, device: this.#options.device, warnings: [], keepPrefix };
  }

  unload() {}

  free() {
    this.#options.freed++;
    if (this.#options.ownsDevice) this.#device?.destroy();
  }
}
