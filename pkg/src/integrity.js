// Hashes that the caller, or the hub, gives for whole files.
import { badInput, RerankError, throwIfAborted } from './errors.js';
import { Sha256 } from './sha256.js';

const SLICE = 2 << 20; // a few milliseconds of hashing

// 'sha256-<base64>' as on a script tag, or 64 hexadecimal digits -> the digits; null for anything else.
export function parseHash(text) {
  if (typeof text !== 'string') return null;
  if (/^[\da-f]{64}$/i.test(text)) return text.toLowerCase();
  const base64 = /^sha256-([A-Za-z\d+/]{43})=?$/.exec(text)?.[1];
  return base64 ? Array.from(atob(`${base64}=`), (char) => char.charCodeAt(0).toString(16).padStart(2, '0')).join('') : null;
}

// The hash that is wanted for a file, by its address (one by branch, another by commit) or its name.
export function wantedHash(integrity = {}, { name, url, alias }) {
  const key = [url, alias, name].find((one) => Object.hasOwn(integrity, one));
  return key && integrity[key];
}

// A hash that names no file would not be checked.
export function checkNames(integrity, files) {
  const known = files.flatMap(({ name, url, alias }) => [name, url, alias]).filter(Boolean);
  const lost = Object.keys(integrity ?? {}).find((key) => !known.includes(key));
  if (lost) throw badInput(`options.integrity names '${lost}', which is none of the files that are read: ${files.map((file) => file.name).join(', ')}.`);
}

export function mismatch(name, expected, got) {
  return new RerankError('integrity', `${name} is not the file that was expected: its SHA-256 is ${got}, expected ${expected}. Nothing of it was kept. Check the source, or the hash.`);
}

// Hashes a file from `at` on, giving the thread back between slices. `hash` has seen what lies before.
export async function hashFile({ size, read }, { hash = newHash(), at = 0, block = 8 << 20, meter, signal } = {}) {
  while (at < size) {
    throwIfAborted(signal);
    const bytes = await read(at, Math.min(at + block, size));
    await update(hash, bytes);
    at += bytes.length;
    meter?.verify(at);
  }
  return hash.digest('hex');
}

export async function update(hash, bytes) {
  for (let at = 0; at < bytes.length; at += SLICE) {
    hash.update(bytes.subarray(at, at + SLICE));
    if (bytes.length > SLICE) await new Promise((done) => setTimeout(done));
  }
}

// Node's own is several times as fast.
export function newHash() {
  const crypto = globalThis.process?.getBuiltinModule?.('node:crypto');
  return crypto ? crypto.createHash('sha256') : new Sha256();
}

const WAITING = 4;

// The file, hashed as far as it is read in order (a few blocks may overtake each other); `done` reads the rest and fails if it is another.
export function verified(file, expected, { meter, signal }) {
  const hash = newHash();
  const waiting = new Map(); // start -> bytes that came too early
  let at = 0;
  let checking = null; // what was read ahead may still come then
  function see(start, bytes) {
    if (checking) return;
    if (start > at && waiting.size < WAITING) waiting.set(start, bytes);
    if (start > at || start + bytes.length <= at) return;
    hash.update(bytes.subarray(at - start));
    at = start + bytes.length;
    const next = waiting.get(at);
    if (!next) return;
    waiting.delete(at);
    see(at, next);
  }
  return {
    ...file,
    async read(start, end) {
      const bytes = await file.read(start, end);
      see(start, bytes);
      return bytes;
    },
    // Once, however often it is asked for.
    done: () => (checking ??= check()),
  };

  async function check() {
    waiting.clear();
    const got = await hashFile(file, { hash, at, meter, signal });
    if (got !== expected) throw mismatch(file.name, expected, got);
    meter?.verify(file.size);
    await file.done?.();
  }
}
