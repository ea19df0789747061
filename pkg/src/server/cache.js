// Scores that are known already, by a hash of all that they depend on: in memory, the latest used ones, and in a store of the caller's.

const VERSION = 'edge-reranker 1'; // another one where the arithmetic changes
const STORES = 8; // at once
const HASHES = 8; // at once: each holds its text a second time

// What a model and the way it computes are known by.
const modelKey = ({ warnings, deviceReason, threads, ...info }) => JSON.stringify([VERSION, info]);

export async function hash(parts) {
  const bytes = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(JSON.stringify(parts))));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export class ScoreCache {
  #entries;
  #store;
  #storeLimit;
  #version;
  #log;
  #known = new Map(); // key -> line, the one used longest ago first

  constructor({ entries, store, storeLimit, version }, log) {
    this.#entries = entries;
    this.#store = store;
    this.#storeLimit = storeLimit;
    this.#version = version;
    this.#log = log;
  }

  // Scores do not depend on a request's other documents, so each text has a key of its own. What they have in common is hashed once.
  async keys(info, { query, texts, instruction, template, maxLength }) {
    const head = await hash([modelKey(info), this.#version, template ?? 'card', instruction ?? null, query, maxLength]);
    const keys = [];
    for (let at = 0; at < texts.length; at += HASHES) {
      keys.push(...(await Promise.all(texts.slice(at, at + HASHES).map((text) => hash([head, text])))));
    }
    return keys;
  }

  // key -> line, of those that are known.
  async find(keys) {
    const found = new Map();
    for (const key of keys) {
      const line = this.#known.get(key);
      if (!line) continue;
      this.#remember(key, line);
      found.set(key, line);
    }
    if (!this.#store) return found;
    const asked = [...new Set(keys)].filter((key) => !found.has(key)).slice(0, this.#storeLimit);
    await inParts(asked, async (key) => {
      const line = readLine(await this.#store.get(key));
      if (!line) return;
      found.set(key, line);
      this.#remember(key, line);
    }, this.#log);
    return found;
  }

  // Keeps [key, line][]; resolves when the store has them.
  async keep(lines) {
    for (const [key, line] of lines) this.#remember(key, line);
    if (!this.#store) return;
    await inParts(lines.slice(0, this.#storeLimit), ([key, line]) => this.#store.put(key, JSON.stringify(line)), this.#log);
  }

  #remember(key, line) {
    this.#known.delete(key);
    this.#known.set(key, line);
    if (this.#known.size > this.#entries) this.#known.delete(this.#known.keys().next().value);
  }
}

// What a store gives is a stranger's.
function readLine(text) {
  if (typeof text !== 'string') return null;
  try {
    const { score, logit, tokens, truncated } = JSON.parse(text);
    const sound = Number.isFinite(score) && Number.isFinite(logit) && Number.isSafeInteger(tokens) && typeof truncated === 'boolean';
    return sound ? { score, logit, tokens, truncated } : null;
  } catch {
    return null;
  }
}

// A store that fails costs time, not the request.
async function inParts(list, act, log) {
  for (let at = 0; at < list.length; at += STORES) {
    const done = await Promise.allSettled(list.slice(at, at + STORES).map(async (one) => act(one)));
    const failed = done.find((one) => one.status === 'rejected');
    if (!failed) continue;
    log({ level: 'warn', message: 'The store of scores failed; the engine computes.', error: failed.reason });
    return;
  }
}
