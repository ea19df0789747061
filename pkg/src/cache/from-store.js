// A file that is whole in the store. A block that cannot be read any more is fetched anew, if the file behind the address is the same.
import { differs, HttpFile } from '../http.js';
import { assemble, changed } from './blocks.js';
import { BLOCK } from './entry.js';

export function fromStore(entry, { name, url, sha256 }, { fetch, signal, platform }, meter) {
  const { size, journal } = entry;
  const mending = new Map(); // index -> promise of bytes
  let opening = null;
  let keeping = Promise.resolve();
  let loading = true;
  meter.start(size, { cached: true });

  async function open(from) {
    const http = await HttpFile.open(url, { fetch, init: platform.requestInit, signal: loading ? signal : undefined, from, first: 1 });
    if (http.ranged && http.size === size && !differs(http.identity, journal)) return http;
    http.close();
    throw changed(url); // what is stored by now may be the new file: the next load looks
  }

  async function fetchBlock(index) {
    const start = index * BLOCK;
    opening ??= open(start).catch((error) => {
      opening = null;
      throw error;
    });
    const bytes = await (await opening).read(start, Math.min(start + BLOCK, size));
    if (!(await entry.accepts(index, bytes))) {
      await remove();
      throw changed(url);
    }
    keeping = keeping.then(() => entry.ifStill(() => entry.put(index, bytes))).catch(() => {}); // else the next load tries again
    await keeping;
    return bytes;
  }

  function mended(index) {
    if (!mending.has(index)) mending.set(index, fetchBlock(index).finally(() => mending.delete(index)));
    return mending.get(index);
  }

  const remove = () => entry.ifStill(() => entry.remove()).catch(() => {});
  const close = async () => {
    (await opening?.catch(() => null))?.close();
    await keeping;
  };

  return {
    name,
    url,
    size,
    block: BLOCK,
    async read(start, end) {
      const bytes = await assemble(start, end, async (index, from, to) => (await entry.get(index, from, to)) ?? (await mended(index)).subarray(from, to));
      meter.add(bytes.length);
      return bytes;
    },
    async done() {
      loading = false;
      (await opening)?.detach();
      meter.done(size);
    },
    close,
    // The engine refused the file. One with a hash is what its host publishes, and stays.
    async discard() {
      await close();
      if (!sha256) await remove();
    },
  };
}
