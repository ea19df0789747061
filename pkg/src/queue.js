// One call at a time: `task(signal, fail)`, where `fail(error)` aborts the call with an error of its own. Whoever aborts is told at once; what runs hears of it through the signal its task was given, and the next
// call starts when it has really stopped.
import { aborted, follow } from './errors.js';

export class Queue {
  #waiting = [];
  #running = null;
  #closed = null;

  run(signal, task) {
    if (this.#closed) return Promise.reject(this.#closed());
    if (signal?.aborted) return Promise.reject(aborted(signal));
    return new Promise((resolve, reject) => {
      const job = { task, resolve, reject, controller: new AbortController() };
      job.unfollow = follow(signal, job.controller);
      job.controller.signal.addEventListener('abort', () => {
        const at = this.#waiting.indexOf(job);
        if (at >= 0) this.#waiting.splice(at, 1);
        job.unfollow();
        reject(job.failure ?? (this.#closed ? this.#closed() : aborted(signal)));
      });
      this.#waiting.push(job);
      this.#next();
    });
  }

  #next() {
    if (this.#running || !this.#waiting.length) return;
    const job = this.#waiting.shift();
    this.#running = job;
    const fail = (error) => {
      job.failure ??= error;
      job.controller.abort();
    };
    job.settled = (async () => job.task(job.controller.signal, fail))()
      .then(job.resolve, job.reject)
      .finally(() => {
        job.unfollow();
        job.controller.abort(); // nothing more is heard of it
        this.#running = null;
        this.#next();
      });
  }

  // Refuses what waits and what comes later with `makeError()`.
  refuse(makeError) {
    this.#closed ??= makeError;
    for (const job of [...this.#waiting]) job.controller.abort();
  }

  // Refuses what runs as well, and resolves when nothing runs any more.
  async close(makeError) {
    this.refuse(makeError);
    this.#running?.controller.abort();
    await this.#running?.settled;
  }
}
