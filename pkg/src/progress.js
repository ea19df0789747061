// Progress events in the manner of transformers.js: initiate, download, progress, done for each file, then ready.

const EVERY_MS = 50;

export class Progress {
  #emit;
  #model;

  constructor(onProgress, model) {
    this.#emit = onProgress ?? (() => {});
    this.#model = model;
  }

  file(file) {
    const base = { name: this.#model, file, fromCache: false };
    let started = 0;
    let last = 0;
    let loaded = 0;
    let total = 0;
    const state = () => {
      const seconds = (performance.now() - started) / 1000;
      const bytesPerSecond = seconds > 0 ? loaded / seconds : 0;
      return {
        loaded,
        total,
        progress: total ? (100 * loaded) / total : 0,
        bytesPerSecond,
        etaMs: bytesPerSecond > 0 ? (1000 * (total - loaded)) / bytesPerSecond : null,
      };
    };
    const emit = (status) => this.#emit({ status, ...base, ...state() });
    this.#emit({ status: 'initiate', ...base });
    return {
      // `size` 0 means that the server did not say.
      start(size) {
        total = size;
        loaded = 0;
        started = performance.now();
        emit('download');
      },
      add(bytes) {
        loaded = total ? Math.min(loaded + bytes, total) : loaded + bytes;
        if (performance.now() - last < EVERY_MS) return;
        last = performance.now();
        emit('progress');
      },
      done(size) {
        loaded = total = size;
        emit('progress');
        emit('done');
      },
    };
  }

  ready() {
    this.#emit({ status: 'ready', name: this.#model });
  }
}
