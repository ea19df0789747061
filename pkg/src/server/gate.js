// One request computes at a time; a bounded number waits. Each goes on in its own asynchronous context: an edge runtime ties I/O to the
// request that began it, so that one request must not run another's work.
import { aborted } from '../errors.js';

export class Gate {
  #limit;
  #busy = false;
  #waiting = [];

  constructor(limit) {
    this.#limit = limit;
  }

  get length() {
    return this.#waiting.length;
  }

  get busy() {
    return this.#busy;
  }

  // Resolves to the function that lets the next one in; throws what `full()` gives where too many wait.
  async enter(signal, full) {
    if (signal?.aborted) throw aborted(signal);
    if (!this.#busy) this.#busy = true;
    else if (this.#waiting.length >= this.#limit) throw full();
    else await this.#wait(signal);
    let open = true;
    return () => {
      if (!open) return;
      open = false;
      const next = this.#waiting.shift();
      if (next) next();
      else this.#busy = false;
    };
  }

  #wait(signal) {
    return new Promise((resolve, reject) => {
      const go = () => {
        signal?.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(go), 1);
        reject(aborted(signal));
      };
      signal?.addEventListener('abort', leave, { once: true });
      this.#waiting.push(go);
    });
  }
}
