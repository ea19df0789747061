// Progress events in the manner of transformers.js: initiate, download, progress, done for each file, verify where a hash is checked, then
// ready.

const EVERY_MS = 50;
const RECENT_MS = 4000; // the speed is that of the last seconds

export class Progress {
  #emit;
  #model;

  constructor(onProgress, model) {
    this.#emit = onProgress ?? (() => {});
    this.#model = model;
  }

  file(file) {
    const base = { name: this.#model, file };
    let fromCache = false;
    let finished = false;
    let last = 0;
    let loaded = 0;
    let total = 0;
    let recent = []; // { time, loaded } of the last seconds

    const speed = (now) => {
      while (recent.length > 2 && now - recent[0].time > RECENT_MS) recent.shift();
      const [oldest] = recent;
      return oldest && now > oldest.time ? (1000 * (loaded - oldest.loaded)) / (now - oldest.time) : 0;
    };
    const emit = (status, at = loaded) => {
      const bytesPerSecond = speed(performance.now());
      const etaMs = total && bytesPerSecond > 0 ? (1000 * (total - loaded)) / bytesPerSecond : null;
      this.#emit({ status, ...base, fromCache, loaded: at, total, progress: total ? (100 * at) / total : 0, bytesPerSecond, etaMs });
    };
    const now = () => {
      if (performance.now() - last < EVERY_MS) return false;
      last = performance.now();
      return true;
    };

    this.#emit({ status: 'initiate', ...base, fromCache });
    return {
      // `size` 0 means that the server did not say; `here` bytes of it are stored already. It may start again.
      start(size, { here = 0, cached = false } = {}) {
        if (finished) return;
        [total, loaded, fromCache] = [size, here, cached];
        recent = [{ time: performance.now(), loaded }];
        emit('download');
      },
      add(bytes) {
        if (finished) return; // what is read again later is no news
        loaded = total ? Math.min(loaded + bytes, total) : loaded + bytes;
        if (!now()) return;
        recent.push({ time: last, loaded });
        emit('progress');
      },
      // What another tab or process has downloaded by now.
      at(bytes, size) {
        [loaded, total] = [bytes, size];
        if (now()) emit('progress');
      },
      // So many bytes have gone through a hash.
      verify(bytes) {
        if (!finished && (bytes >= total || now())) emit('verify', bytes);
      },
      done(size) {
        if (finished) return;
        loaded = total = size;
        emit('progress');
        emit('done');
        finished = true;
      },
    };
  }

  ready() {
    this.#emit({ status: 'ready', name: this.#model });
  }
}
