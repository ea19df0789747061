// One file in the store: its journal, and its blocks. A block's name holds its place, its length and a part of its SHA-256, so that what
// is there can be listed, and what is damaged is found when it is read. The file counts as whole when the journal says so and every block
// is there; until then it is a part, whatever its length.
import { sha256 } from '../sha256.js';
import { stored } from './storage-error.js';

export const BLOCK = 8 << 20;

const JOURNAL = 'journal.json';
const VERSION = 1;
const NAME = /^(\d+)-(\d+)-([\da-f]{16})$/;
const utf8 = new TextEncoder();

const digestOf = async (bytes) => (await sha256(bytes)).slice(0, 16);

const nameOf = async (index, bytes) => `${index}-${bytes.length}-${await digestOf(bytes)}`;

export const keyOf = async (kind, text) => `${kind}${(await sha256(utf8.encode(text))).slice(0, 32)}`;

export class Entry {
  #store;
  #checked = new Set(); // the blocks that were written or read whole
  #lost = new Map(); // index -> name, of blocks that could not be read
  key;
  journal = null; // { id, address, name, size, block, etag, modified, wanted, sha256, whole, at }
  blocks = new Map(); // index -> name

  static async open(store, address) {
    const entry = new Entry(store, await keyOf('f', address));
    await entry.look();
    return entry;
  }

  constructor(store, key) {
    this.#store = store;
    this.key = key;
  }

  // Reads what is there now.
  async look() {
    this.journal = await this.#do(() => readJournal(this.#store, this.key));
    this.blocks.clear();
    if (!this.journal) return;
    for (const [name, size] of await this.#do(() => this.#store.names(this.key))) {
      const [, index, length] = (NAME.exec(name) ?? []).map(Number);
      if (length === this.lengthOf(index) && length === (size ?? length)) this.blocks.set(index, name);
    }
  }

  get size() {
    return this.journal?.size ?? 0;
  }
  get count() {
    return Math.ceil(this.size / BLOCK);
  }
  get whole() {
    return Boolean(this.journal?.whole) && this.blocks.size === this.count;
  }
  get bytes() {
    return [...this.blocks.keys()].reduce((sum, index) => sum + this.lengthOf(index), 0);
  }
  get firstMissing() {
    for (let index = 0; index < this.count; index++) if (!this.blocks.has(index)) return index;
    return 0;
  }

  lengthOf(index) {
    return Math.min(BLOCK, this.size - index * BLOCK);
  }

  // Starts a part. Blocks that are there stay: the caller knows that they are of this file.
  async begin(fields) {
    const id = this.journal?.id ?? `${Date.now()}-${Math.random()}`; // of this copy, until it is removed
    await this.#write({ ...fields, id, version: VERSION, block: BLOCK, whole: false, at: Date.now() });
  }

  // True if `other` is of the copy that was read here.
  isCopy(other) {
    return Boolean(this.journal && other) && this.journal.id === other.id;
  }

  // For who does not hold the lock: `act`, unless somebody else holds it, or has removed or replaced this copy since it was read.
  async ifStill(act) {
    const release = await this.#store.lock(this.key, { wait: false });
    if (!release) return;
    try {
      if (this.isCopy(await readJournal(this.#store, this.key))) await act();
    } finally {
      await release();
    }
  }

  // Removes what writes that were cut short have left. Only for who holds the lock.
  async tidy() {
    const known = new Set([JOURNAL, ...this.blocks.values()]);
    const names = await this.#store.names(this.key).catch(() => []);
    for (const [name] of names) if (!known.has(name)) await this.#store.remove(this.key, name).catch(() => {});
  }

  async publish(sha256) {
    await this.#write({ ...this.journal, sha256: sha256 ?? this.journal.sha256, whole: true, at: Date.now() });
  }

  async put(index, bytes) {
    const name = await nameOf(index, bytes);
    await this.#do(() => this.#store.put(this.key, name, bytes));
    this.#checked.add(index);
    this.blocks.set(index, name);
    this.#lost.delete(index);
  }

  // False if a block that was lost here was another one: then the file behind the address has changed.
  async accepts(index, bytes) {
    const lost = this.#lost.get(index);
    return !lost || lost === (await nameOf(index, bytes));
  }

  // Bytes of one block from `start` to `end`, counted from its beginning; null if it is not there or damaged: then it is no longer there.
  async get(index, start, end) {
    const name = this.blocks.get(index);
    if (!name) return null;
    const length = this.lengthOf(index);
    if (this.#checked.has(index)) {
      const bytes = await this.#store.get(this.key, name, start, end).catch(() => null);
      if (bytes?.length === end - start) return bytes;
    } else {
      const bytes = await this.#store.get(this.key, name).catch(() => null);
      if (bytes?.length === length && (await digestOf(bytes)) === NAME.exec(name)[3]) {
        this.#checked.add(index);
        return bytes.subarray(start, end);
      }
    }
    this.blocks.delete(index);
    this.#checked.delete(index);
    this.#lost.set(index, name);
    await this.#store.remove(this.key, name).catch(() => {});
    return null;
  }

  async remove() {
    this.journal = null;
    this.blocks.clear();
    this.#checked.clear();
    this.#lost.clear();
    await this.#do(() => this.#store.remove(this.key));
  }

  async #write(journal) {
    await this.#do(() => writeJournal(this.#store, this.key, journal));
    this.journal = journal;
  }

  #do(act) {
    return stored(this.#store.place, act);
  }
}

// null where there is none, or none that can be understood: then nothing else of the entry is worth anything.
export async function readJournal(store, key) {
  const bytes = await store.get(key, JOURNAL);
  if (!bytes) return null;
  try {
    const journal = JSON.parse(new TextDecoder().decode(bytes));
    return journal?.version === VERSION ? journal : null;
  } catch {
    return null;
  }
}

export const writeJournal = (store, key, journal) => store.put(key, JOURNAL, utf8.encode(JSON.stringify({ version: VERSION, ...journal })));
