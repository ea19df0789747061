// A server without Range sends one stream, which is cut into blocks. It cannot be resumed: a break starts the entry anew.
import { BLOCK } from './entry.js';

export async function drainInto(entry, http, journal) {
  const buffer = new Uint8Array(BLOCK);
  let filled;
  let index;
  let sum;
  const begin = async (size) => {
    await entry.remove();
    await entry.begin({ ...journal, ...http.identity, size });
  };
  await http.drain({
    async begin(size) {
      [filled, index, sum] = [0, 0, 0];
      await begin(size);
    },
    async add(bytes) {
      sum += bytes.length;
      for (let at = 0; at < bytes.length; ) {
        const part = bytes.subarray(at, at + BLOCK - filled);
        buffer.set(part, filled);
        filled += part.length;
        at += part.length;
        if (filled < BLOCK) continue;
        await entry.put(index++, buffer);
        filled = 0;
      }
    },
  });
  if (filled) await entry.put(index, buffer.slice(0, filled));
  await entry.begin({ ...journal, ...http.identity, size: sum }); // where the server did not tell
}
