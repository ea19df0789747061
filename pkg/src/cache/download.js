// The download of one file into its entry, while the engine reads it already: blocks go to both. A few are fetched at once, in the order of
// the file from where the engine reads. Where the store fails, the engine goes on with what comes from the network.
import { aborted } from '../errors.js';
import { hashFile, mismatch, newHash, update } from '../integrity.js';
import { assemble, changed, finish } from './blocks.js';
import { BLOCK } from './entry.js';
import { StorageError } from './storage-error.js';

const PARALLEL = 4;
const PARALLEL_STREAMING = 2; // 16 MB in flight
const SMALL = 256 << 10;

export class Download {
  #http;
  #entry;
  #place;
  #context;
  #meter;
  #release;
  #held = true; // the lock
  #released = null;
  #over = false;
  #controller;
  #unfollow;
  #jobs = new Map(); // index -> { bytes, kept }, promises
  #cursor;
  #broken = null; // why nothing is stored any more
  #foreign = null; // the file was another one than expected
  #hash;
  #hashed = 0; // blocks
  #hashing = Promise.resolve();
  #running;
  #all;

  // The `controller` follows the signal of the load until `unfollow`. The `release` of the lock is called at the end, whichever it is.
  constructor({ http, entry, place, context, meter, release, controller, unfollow }) {
    Object.assign(this, { name: place.name, url: place.url, size: http.size, block: BLOCK });
    this.#http = http;
    this.#entry = entry;
    this.#place = place;
    this.#context = context;
    this.#meter = meter;
    this.#release = release;
    this.#controller = controller;
    this.#unfollow = unfollow;
    this.#cursor = entry.firstMissing;
    this.#hash = place.sha256 ? newHash() : null;
    this.#running = this.#run().finally(() => (this.#over = true));
    this.#running.catch(() => this.#letGo().catch(() => {}));
    this.#all = this.#running.then(() => this.#letGo());
    this.#all.catch(() => {}); // heard by `done`, or by who reads on
  }

  read = async (start, end) => {
    if (this.#foreign) throw this.#foreign;
    return assemble(start, end, (index, from, to) => this.#bytes(index, from, to));
  };

  // Waits for the whole file, stored and checked, or for what can be had of that.
  done = async ({ wait = !this.#context.streaming } = {}) => {
    if (wait) {
      await this.#all.catch((error) => {
        if (!(error instanceof StorageError) || this.#context.mustStore) throw error;
      });
      if (this.#broken && this.#place.strict) await this.#verifyUnstored();
    }
    this.#unfollow();
    this.#meter.done(this.size);
  };

  close = async () => {
    this.#unfollow();
    this.#controller.abort();
    this.#http.close();
    await this.#letGo();
    await this.#settled();
    if (this.#foreign || (this.#broken && !this.#context.mustStore)) await this.#remove(); // it would never become whole
  };

  // The engine refused the file. One with a hash is what its host publishes, and stays.
  discard = async () => {
    await this.close();
    if (!this.#place.sha256) await this.#remove();
  };

  #remove = () => this.#entry.ifStill(() => this.#entry.remove()).catch(() => {});

  // Nothing is written without the lock: it would bring back what is deleted as soon as the lock is free.
  #letGo = () => (this.#released ??= this.#settle());

  async #settle() {
    await this.#running.catch(() => {});
    await this.#settled();
    this.#held = false;
    await this.#settled();
    await this.#release();
  }

  #settled = () => Promise.allSettled([...this.#jobs.values()].map((job) => job.kept));

  async #run() {
    // A block of an earlier part may turn out to be damaged when it is hashed: then it is fetched, too.
    let got;
    do {
      await this.#fetchAll();
      if (this.#broken) throw this.#broken;
      if (this.#controller.signal.aborted) throw aborted(this.#controller.signal);
      got = await this.#digest();
    } while (this.#entry.blocks.size < this.#entry.count);
    try {
      await finish(this.#entry, this.#place, { meter: this.#meter, signal: this.#controller.signal, got });
    } catch (error) {
      if (error instanceof StorageError) this.#break(error);
      else if (error.code !== 'aborted') this.#foreign = error;
      throw error;
    }
  }

  async #fetchAll() {
    const { count, blocks } = this.#entry;
    const next = () => {
      for (let step = 0; step < count; step++) {
        const index = (this.#cursor + step) % count;
        if (!blocks.has(index) && !this.#jobs.has(index)) return index;
      }
      return -1;
    };
    const work = async () => {
      for (let index; !this.#over && !this.#broken && !this.#controller.signal.aborted && (index = next()) >= 0; ) {
        this.#cursor = index + 1;
        await this.#fetch(index).kept;
      }
    };
    await Promise.all(Array.from({ length: this.#context.streaming ? PARALLEL_STREAMING : PARALLEL }, work));
    await Promise.all([...this.#jobs.values()].map((job) => job.kept));
  }

  async #bytes(index, from, to) {
    const stored = await this.#entry.get(index, from, to);
    if (stored) return stored;
    // A row of a matrix does not wait for the block around it.
    const small = to - from < Math.min(SMALL, this.#entry.lengthOf(index));
    if (small && !this.#jobs.has(index)) return this.#http.read(index * BLOCK + from, index * BLOCK + to);
    this.#cursor = Math.max(this.#cursor, index + 1);
    return (await this.#fetch(index).bytes).subarray(from, to);
  }

  #fetch(index) {
    let job = this.#jobs.get(index);
    if (job) return job;
    const start = index * BLOCK;
    const bytes = this.#http.read(start, Math.min(start + BLOCK, this.size)).then((all) => this.#accepted(index, all));
    const kept = bytes.then((all) => this.#keep(index, all)).finally(() => this.#jobs.delete(index));
    kept.catch(() => {}); // whoever reads the block hears of the failure
    job = { bytes, kept };
    this.#jobs.set(index, job);
    return job;
  }

  async #accepted(index, bytes) {
    if (await this.#entry.accepts(index, bytes)) return bytes;
    throw (this.#foreign ??= changed(this.url));
  }

  async #keep(index, bytes) {
    if (this.#broken) return;
    if (!this.#held) return this.#entry.ifStill(() => this.#entry.put(index, bytes)).catch(() => {}); // it was lost since
    try {
      await this.#entry.put(index, bytes);
    } catch (error) {
      this.#break(error);
      return;
    }
    if (!this.#hash) return;
    this.#hashing = this.#hashing.then(() => this.#hashOn(index, bytes));
    await this.#hashing; // so that the download does not run ahead of it
  }

  #break(error) {
    this.#broken ??= error;
    if (!this.#context.mustStore) this.#context.warn(error);
  }

  // Hashes on while the next blocks are there; `bytes` are those of block `index`.
  async #hashOn(index, bytes) {
    while (this.#hash && !this.#controller.signal.aborted && this.#entry.blocks.has(this.#hashed)) {
      const length = this.#entry.lengthOf(this.#hashed);
      const block = index === this.#hashed ? bytes : await this.#entry.get(this.#hashed, 0, length);
      if (!block) return;
      await update(this.#hash, block);
      this.#hashed++;
    }
  }

  // null where nothing is expected, or where it is left to `finish`.
  async #digest() {
    if (!this.#hash) return undefined;
    await this.#hashing;
    await this.#hashOn(-1);
    if (this.#hashed < this.#entry.count) return undefined;
    this.#meter.verify(this.size);
    return this.#hash.digest('hex');
  }

  async #verifyUnstored() {
    const { name, sha256 } = this.#place;
    const got = await hashFile({ size: this.size, read: this.read }, { block: BLOCK, meter: this.#meter, signal: this.#controller.signal });
    if (got !== sha256) throw mismatch(name, sha256, got);
  }
}
