// Reading a stored file across its blocks, and its end as a part.
import { RerankError } from '../errors.js';
import { hashFile, mismatch } from '../integrity.js';
import { BLOCK } from './entry.js';
import { StorageError } from './storage-error.js';

// The bytes from `start` to `end`; `bytesOf(index, from, to)` gives those of one block.
export async function assemble(start, end, bytesOf) {
  const first = Math.floor(start / BLOCK);
  if (end <= (first + 1) * BLOCK) return bytesOf(first, start - first * BLOCK, end - first * BLOCK);
  const out = new Uint8Array(end - start);
  for (let at = start; at < end; ) {
    const index = Math.floor(at / BLOCK);
    const from = at - index * BLOCK;
    const bytes = await bytesOf(index, from, Math.min(BLOCK, end - index * BLOCK));
    out.set(bytes, at - start);
    at += bytes.length;
  }
  return out;
}

export const changed = (url) =>
  new RerankError('download', `What was stored of ${url} is damaged or gone, and the file there is another one by now. Load again to read it anew.`);

// Of the file as it is stored. A block that cannot be read is a StorageError.
export const hashEntry = (entry, { meter, signal }) =>
  hashFile(
    {
      size: entry.size,
      async read(start, end) {
        const bytes = await entry.get(start / BLOCK, 0, end - start);
        if (!bytes) throw new StorageError('the storage', 'what was written cannot be read back');
        return bytes;
      },
    },
    { block: BLOCK, meter, signal },
  );

// All blocks are there: the file is checked, and counts as whole from now on. `got` is its hash where that is known.
export async function finish(entry, { name, sha256 }, { meter, signal, got }) {
  if (sha256) {
    got ??= await hashEntry(entry, { meter, signal });
    if (got !== sha256) {
      await entry.remove();
      throw mismatch(name, sha256, got);
    }
  }
  await entry.publish(sha256);
}
