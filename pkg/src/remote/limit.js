// How many requests run at once, and how many begin in a second. Whoever waits hears its signal.
import { aborted, whenAborted } from '../errors.js';
import { sleep } from '../sleep.js';

export class Limit {
  #free;
  #waiting = [];
  #gapMs;
  #next = 0; // when the next request may begin

  constructor({ concurrent = 4, requestsPerSecond = Infinity }) {
    this.#free = concurrent;
    this.#gapMs = 1000 / requestsPerSecond;
  }

  // `work()` in its turn.
  async run(signal, work) {
    await this.#enter(signal);
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    }
  }

  // The pace: every request that goes out, a repeated one too, takes the next free moment.
  async pace(signal) {
    const now = Date.now();
    const at = Math.max(now, this.#next);
    this.#next = at + this.#gapMs;
    if (at > now) await sleep(at - now, signal);
  }

  #enter(signal) {
    if (signal.aborted) throw aborted(signal);
    if (this.#free) {
      this.#free -= 1;
      return undefined;
    }
    return new Promise((resolve, reject) => {
      const enter = () => {
        unlisten();
        resolve();
      };
      const unlisten = whenAborted(signal, () => {
        this.#waiting.splice(this.#waiting.indexOf(enter), 1);
        reject(aborted(signal));
      });
      this.#waiting.push(enter);
    });
  }
}
