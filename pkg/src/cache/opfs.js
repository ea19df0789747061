// Files in the browser's private file system: a folder for each entry.
import { holdWebLock } from './web-lock.js';

const ROOT = 'edge-reranker';

const missing = (error) => {
  if (error?.name === 'NotFoundError') return null;
  throw error;
};

// Pages can write only so; some browsers have the private file system for workers alone. Page and worker must find the same place.
export const hasOpfs = () =>
  typeof globalThis.navigator?.storage?.getDirectory === 'function' && 'createWritable' in (globalThis.FileSystemFileHandle?.prototype ?? {});

// Workers have a fast way to write, which is not atomic: blocks bear checksums, and the small journal takes the other way.
const SMALL = 64 << 10;

// Chromium hands bytes to its own process through a pipe of 2 MiB. Where the storage is full, a write larger than the pipe may be told that the
// pipe is closed (an AbortError) before it is told why (the quota).
const WRITTEN_AT_ONCE = 1 << 20;

async function write(handle, bytes) {
  if (bytes.length > SMALL && typeof handle.createSyncAccessHandle === 'function') {
    const access = await handle.createSyncAccessHandle();
    try {
      access.truncate(0);
      if (access.write(bytes, { at: 0 }) !== bytes.length) throw new DOMException('The storage took only a part.', 'QuotaExceededError');
      access.flush();
    } finally {
      access.close();
    }
    return;
  }
  const writable = await handle.createWritable();
  try {
    for (let at = 0; at < bytes.length; at += WRITTEN_AT_ONCE) await writable.write(bytes.subarray(at, at + WRITTEN_AT_ONCE));
    await writable.close();
  } catch (error) {
    await writable.abort().catch(() => {});
    throw error;
  }
}

export async function openOpfs() {
  const top = await navigator.storage.getDirectory();
  const root = await top.getDirectoryHandle(ROOT, { create: true });
  const folders = new Map(); // handles, asked for once

  async function folder(key, create = false) {
    const known = folders.get(key);
    if (known) return known;
    const found = await root.getDirectoryHandle(key, { create }).catch(missing);
    if (found) folders.set(key, found);
    return found;
  }

  return {
    place: 'the private file system of this site',

    async list() {
      const keys = [];
      for await (const [name, { kind }] of root.entries()) if (kind === 'directory') keys.push(name);
      return keys;
    },

    // With their sizes, since a file is there before its bytes are.
    async names(key) {
      const names = [];
      try {
        for await (const handle of (await folder(key))?.values() ?? []) names.push([handle.name, (await handle.getFile()).size]);
      } catch (error) {
        folders.delete(key); // removed meanwhile
        return missing(error) ?? [];
      }
      return names;
    },

    async put(key, name, bytes) {
      const place = await folder(key, true);
      const handle = await place.getFileHandle(name, { create: true }).catch(async (error) => {
        if (error.name !== 'NotFoundError') throw error;
        folders.delete(key); // the folder was removed meanwhile
        return (await folder(key, true)).getFileHandle(name, { create: true });
      });
      await write(handle, bytes).catch(async (error) => {
        await place.removeEntry(name).catch(() => {});
        throw error;
      });
    },

    async get(key, name, start, end) {
      const handle = await (await folder(key))?.getFileHandle(name).catch(missing);
      if (!handle) return null;
      const file = await handle.getFile();
      return new Uint8Array(await file.slice(start, end).arrayBuffer());
    },

    async remove(key, name) {
      if (name !== undefined) return (await folder(key))?.removeEntry(name).catch(missing);
      folders.delete(key);
      await root.removeEntry(key, { recursive: true }).catch(missing);
    },

    lock: holdWebLock,
  };
}
