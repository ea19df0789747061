// The memory of bodies that are still arriving, which all requests together may take. Those that have arrived wait in gate.js, which counts them.
import { busy } from './problem.js';

const STALLED_MS = 30_000; // without a byte: a client that hangs, or a request that the runtime has dropped without a word

export class Uploads {
  #limit;
  #retryAfter;
  #stalledMs;
  #held = 0;
  #running = new Set();

  constructor(limit, retryAfter, stalledMs = STALLED_MS) {
    this.#limit = limit;
    this.#retryAfter = retryAfter;
    this.#stalledMs = stalledMs;
  }

  // `read(keep)` calls `keep(chunk)` for each chunk, and gets the list of all back from it.
  async during(read) {
    const upload = { chunks: [], bytes: 0, at: Date.now() };
    this.#running.add(upload);
    try {
      const result = await read((chunk) => this.#keep(upload, chunk));
      if (!this.#running.has(upload)) throw this.#full();
      return result;
    } finally {
      this.#drop(upload);
    }
  }

  #keep(upload, chunk) {
    upload.at = Date.now();
    const over = () => this.#held + chunk.length > this.#limit;
    if (over()) this.#tidy(upload);
    if (!this.#running.has(upload) || over()) throw this.#full();
    upload.chunks.push(chunk);
    upload.bytes += chunk.length;
    this.#held += chunk.length;
    return upload.chunks;
  }

  #full() {
    return busy(429, 'busy', 'Too many requests arrive at once: ask again soon.', this.#retryAfter);
  }

  #tidy(own) {
    for (const upload of this.#running) if (upload !== own && Date.now() - upload.at >= this.#stalledMs) this.#drop(upload);
  }

  #drop(upload) {
    if (!this.#running.delete(upload)) return;
    this.#held -= upload.bytes;
    upload.chunks.length = 0; // whoever is dropped may never come back to free them
  }
}
