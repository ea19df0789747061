// Where there is no private file system: the browser's Cache, a response for each item.
import { holdWebLock } from './web-lock.js';

const STORE = 'edge-reranker-models';
const ROOT = 'https://edge-reranker.invalid/models/';
const PATTERN = /\/models\/([^/]+)\/([^/]+)$/;

const addressOf = (key, name) => `${ROOT}${key}/${name}`;

export async function openCacheApi() {
  const cache = await caches.open(STORE);
  const all = async () => (await cache.keys()).map(({ url }) => PATTERN.exec(url)).filter(Boolean);

  return {
    place: "the site's Cache",

    async list() {
      return [...new Set((await all()).map(([, key]) => key))];
    },

    async names(key) {
      return (await all()).filter(([, one]) => one === key).map(([, , name]) => [name]);
    },

    put: (key, name, bytes) => cache.put(addressOf(key, name), new Response(bytes)),

    async get(key, name, start, end) {
      const response = await cache.match(addressOf(key, name));
      if (!response) return null;
      return new Uint8Array(await (await response.blob()).slice(start, end).arrayBuffer());
    },

    async remove(key, name) {
      const names = name === undefined ? await this.names(key) : [[name]];
      await Promise.all(names.map(([one]) => cache.delete(addressOf(key, one))));
    },

    lock: holdWebLock,
  };
}
