// Node, Deno and Bun: a folder for each entry under the user's cache folder.
import * as fs from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { holdLockFile } from './lock-file.js';

const { mkdir, open, readdir, readFile, rename, rm, writeFile } = fs;

const missing = (error) => {
  if (error?.code === 'ENOENT') return null;
  throw error;
};

// Read anew each time: a program may set it after the import.
function rootFolder({ EDGE_RERANKER_CACHE: own, XDG_CACHE_HOME: xdg } = process.env) {
  return own || join(xdg || join(homedir(), '.cache'), 'edge-reranker');
}

// What may be used of the disk; null in a runtime that cannot tell.
export async function freeSpace() {
  if (!fs.statfs) return null;
  const { bavail, bsize } = await fs.statfs(await folderIn(rootFolder()));
  return { quota: bavail * bsize };
}

async function folderIn(root) {
  const models = join(root, 'models');
  await mkdir(models, { recursive: true });
  return models;
}

let next = 0;

export async function openFiles(root = rootFolder()) {
  const models = await folderIn(root);
  const at = (key, ...name) => join(models, key, ...name);

  return {
    place: models,

    async list() {
      const all = await readdir(models, { withFileTypes: true });
      return all.filter((one) => one.isDirectory()).map((one) => one.name);
    },

    names: async (key) => ((await readdir(at(key)).catch(missing)) ?? []).map((name) => [name]),

    // Seen whole or not at all.
    async put(key, name, bytes) {
      const aside = at(key, `.${name}.${process.pid}.${next++}`);
      try {
        await writeFile(aside, bytes).catch(async (error) => {
          if (missing(error) === null) await mkdir(at(key), { recursive: true });
          await writeFile(aside, bytes);
        });
        await rename(aside, at(key, name));
      } catch (error) {
        await rm(aside, { force: true }).catch(() => {});
        throw error;
      }
    },

    async get(key, name, start = 0, end = undefined) {
      if (end === undefined) return readFile(at(key, name)).catch(missing);
      const file = await open(at(key, name)).catch(missing);
      if (!file) return null;
      try {
        const bytes = new Uint8Array(end - start);
        let done = 0;
        while (done < bytes.length) {
          const { bytesRead } = await file.read(bytes, done, bytes.length - done, start + done);
          if (!bytesRead) break;
          done += bytesRead;
        }
        return bytes.subarray(0, done);
      } finally {
        await file.close();
      }
    },

    remove: (key, name) => rm(name === undefined ? at(key) : at(key, name), { recursive: true, force: true }),

    lock: (key, options) => holdLockFile(at(`${key}.lock`), options),
  };
}
