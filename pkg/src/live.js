// The backend in use. When its GPU is lost, the next call opens another one from the same source.
import { abortable, asRerankError, RerankError } from './errors.js';

export class Live {
  #backend;
  #reopen;
  #opening = null;
  #fallen = false; // the backend waits to be replaced
  #life = new AbortController();
  #settle;
  #end;
  lost;
  ended = new Promise((resolve) => (this.#end = resolve)); // lost for good

  // `reopen(signal)` gives another backend like this one.
  constructor(backend, reopen) {
    this.#reopen = reopen;
    this.#take(backend);
  }

  get info() {
    return this.#backend.info;
  }

  get warnings() {
    return this.#backend.warnings;
  }

  // A call that runs while the GPU is lost fails.
  async use(signal, work) {
    if (this.#fallen) await this.#again(signal);
    const backend = this.#backend;
    try {
      return await work(backend);
    } catch (error) {
      if (error.code === 'device-lost') this.#fall(backend, 'device-lost');
      throw error;
    }
  }

  async close(idle) {
    this.#life.abort();
    this.#settle({ reason: 'destroyed' });
    await this.#opening?.catch(() => {});
    await this.#backend.close(idle);
  }

  #take(backend) {
    this.#backend = backend;
    this.#fallen = false;
    this.lost = new Promise((resolve) => (this.#settle = resolve));
    if (backend.info.device !== 'webgpu') this.#reopen = null; // holds the source no longer
    backend.lost.then(({ reason, ofDevice }) => {
      if (ofDevice) return this.#fall(backend, reason);
      if (backend !== this.#backend || this.#fallen) return;
      this.#settle({ reason });
      this.#end({ reason });
    });
  }

  #fall(backend, reason) {
    if (backend !== this.#backend || this.#fallen || !this.#reopen) return;
    this.#fallen = true;
    this.#settle({ reason });
  }

  // One load serves all calls. A caller who leaves does not end it; `close` does.
  #again(signal) {
    this.#opening ??= this.#replace().finally(() => (this.#opening = null));
    return abortable(this.#opening, signal);
  }

  async #replace() {
    const { signal } = this.#life;
    await this.#backend.close();
    try {
      this.#take(await this.#reopen(signal));
    } catch (cause) {
      const { code, message } = asRerankError(cause);
      throw new RerankError(code, `The GPU was lost, and the model could not be loaded again: ${message}`, { cause });
    }
    if (signal.aborted) this.#settle({ reason: 'destroyed' });
  }
}
