// One request computes at a time; a bounded number waits in line.
//
// An edge runtime makes this harder than a list of callbacks. It ties work to the request that began it, so each request must go on by itself
// rather than be run by the one before. It takes a request for hung that waits for another one and for nothing of its own, hence the timers.
// And it may drop a request half way without a word, so that neither one who is called nor one who is inside can be trusted to be alive.
import { aborted } from '../errors.js';

const TICK_MS = 500;
const LATE = 4; // ticks after which one who was called and did not come is passed over
const DEAD = 120; // ticks without a sign of life of the one inside

export class Gate {
  #limit;
  #tickMs;
  #line = [];
  #inside = null; // { beats }
  #left = 0; // how many have been inside

  constructor(limit, tickMs = TICK_MS) {
    this.#limit = limit;
    this.#tickMs = tickMs;
  }

  get length() {
    return this.#line.length;
  }

  get busy() {
    return this.#inside !== null;
  }

  // Resolves to the function that lets the next one in. Throws what `full()` gives where too many wait, and what `stuck()` gives to all who
  // wait for one who is dead.
  async enter(signal, { full, stuck }) {
    if (signal?.aborted) throw aborted(signal);
    if (!this.#inside && !this.#line.length) return this.#in();
    if (this.#line.length >= this.#limit) throw full();
    return this.#wait(signal, stuck);
  }

  async #wait(signal, stuck) {
    const ticket = { wake: () => {} };
    this.#line.push(ticket);
    let seen = null; // what stood still when it was last looked at, and for how many ticks
    let still = 0;
    try {
      for (;;) {
        await this.#tick(ticket, signal);
        if (signal?.aborted) throw aborted(signal);
        const state = this.#inside ? `${this.#left} ${this.#inside.beats}` : `${this.#left} free`;
        still = state === seen ? still + 1 : 0;
        seen = state;
        if (this.#inside && still > DEAD) this.#bury(stuck);
        if (ticket.failure) throw ticket.failure;
        const place = this.#line.indexOf(ticket);
        // Those before who do not come get one after the other the time that this one leaves them.
        if (!this.#inside && (place === 0 || still > LATE * place)) {
          this.#line.splice(0, place);
          return this.#in();
        }
      }
    } finally {
      this.#line = this.#line.filter((one) => one !== ticket);
    }
  }

  // Until it is called, or a little time has passed. Whoever calls does no more than that: the rest is tidied up here.
  async #tick(ticket, signal) {
    let timer;
    let resolve;
    await new Promise((done) => {
      resolve = done;
      ticket.wake = done;
      timer = setTimeout(done, this.#tickMs);
      signal?.addEventListener('abort', done, { once: true });
    });
    clearTimeout(timer);
    signal?.removeEventListener('abort', resolve);
  }

  #in() {
    const one = { beats: 0 };
    this.#inside = one;
    const timer = setInterval(() => (one.beats += 1), this.#tickMs);
    return () => {
      clearInterval(timer);
      if (this.#inside === one) this.#out();
    };
  }

  #out() {
    this.#inside = null;
    this.#left += 1;
    this.#line[0]?.wake();
  }

  #bury(stuck) {
    const failure = stuck();
    for (const ticket of this.#line) {
      ticket.failure = failure;
      ticket.wake();
    }
    this.#out();
  }
}
