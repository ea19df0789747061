// The workers that help the engine of this thread to compute: they run its module on its memory. All models that the engine has loaded
// share them, and they end with the last one.
import { hear } from './hear.js';
import { onTrap } from './trap.js';

const START_MS = 10_000;
const END_MS = 1000;

export class Pool {
  #engine;
  #platform;
  #workers = [];
  #late = []; // not counted, and left alone until the end
  #users = 0;
  #turn = Promise.resolve(); // starting and ending, one after the other
  #unwatch = () => {};

  // `engine`: { Engine, build, module, memory, instance }.
  constructor(engine, platform) {
    this.#engine = engine;
    this.#platform = platform;
  }

  // Sees to `count` threads with this one. Gives { threads, warning? }; each call needs a `release`.
  hire(count) {
    this.#users += 1;
    return this.#next(async () => {
      if (!this.#workers.length) this.#unwatch = onTrap(this.#engine.instance, () => this.#drop());
      const missing = Math.max(count - 1 - this.#workers.length, 0);
      const started = await Promise.allSettled(Array.from({ length: missing }, () => this.#start()));
      const failed = started.find(({ status }) => status === 'rejected');
      const threads = Math.min(1 + this.#workers.length, count);
      if (!failed) return { threads };
      return { threads, warning: `Only ${threads} of ${count} threads started (${failed.reason.message}). Allow workers in the page's Content-Security-Policy (worker-src 'self'), or load with threads: ${threads}.` };
    });
  }

  release() {
    this.#users -= 1;
    return this.#next(() => this.#users || this.#end());
  }

  #next(act) {
    return (this.#turn = this.#turn.then(act, act));
  }

  async #start() {
    const { build, module, memory } = this.#engine;
    const worker = this.#platform.spawnThread();
    try {
      await said(worker, 'ready', START_MS, () => worker.postMessage({ build, module, memory }));
    } catch (error) {
      // One that is only late may be about to join: to end it now could leave the others waiting for it.
      if (error.late) this.#late.push(worker);
      else worker.terminate();
      throw error;
    }
    this.#workers.push(worker);
    hear(worker, 'error', (event) => {
      event.preventDefault?.();
      this.#engine.Engine.failThread();
    });
  }

  async #end() {
    this.#unwatch();
    if (!this.#workers.length && !this.#late.length) return;
    const ended = this.#workers.map((worker) => said(worker, 'ended', END_MS).catch(() => {}));
    this.#engine.Engine.endThreads();
    await Promise.all(ended);
    await this.#drop();
  }

  #drop() {
    return Promise.all([...this.#workers.splice(0), ...this.#late.splice(0)].map((worker) => worker.terminate()));
  }
}

// Resolves when the worker says the `word`; `ask` is called when all ears are open.
function said(worker, word, ms, ask = () => {}) {
  let ends = [];
  let timer;
  const answer = new Promise((resolve, reject) => {
    const fail = (why) => reject(new Error(why));
    const tell = (message) => (message === word ? resolve() : message?.failed && fail(message.failed));
    timer = setTimeout(() => reject(Object.assign(new Error(`no answer within ${ms / 1000} seconds`), { late: true })), ms);
    ends = [
      hear(worker, 'message', (event) => tell(event?.data ?? event)),
      hear(worker, 'messageerror', () => fail('the memory cannot be shared with a worker')),
      hear(worker, 'error', (event) => {
        event.preventDefault?.(); // it is no error of this thread
        fail(event.message || 'the script of the thread could not be loaded or run');
      }),
      hear(worker, 'exit', () => fail('it ended')),
    ];
    ask();
  });
  return answer.finally(() => {
    clearTimeout(timer);
    for (const end of ends) end();
  });
}
