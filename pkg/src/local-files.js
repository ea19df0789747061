// Files that are here: blobs, what a blob: or data: address holds, and the caller's own reader.
import { kind } from './check.js';
import { badInput, RerankError, shorten, throwIfAborted } from './errors.js';

// What such an address holds is here already or nowhere: nothing is tried twice.
export async function openInline({ name, url }, { fetch, signal }) {
  try {
    const blob = await (await fetch(url, { signal })).blob();
    return { name, size: blob.size, read: (start, end) => readBlob({ name, blob }, start, end) };
  } catch (cause) {
    throwIfAborted(signal);
    throw badInput(`Cannot read ${shorten(url)}: ${cause?.message ?? cause}. A blob: address works only where it was made, until it is revoked; pass the Blob itself.`);
  }
}

export async function readBlob({ blob, name }, start, end) {
  try {
    return new Uint8Array(await blob.slice(start, end).arrayBuffer());
  } catch (cause) {
    throw new RerankError('bad-model', `Cannot read ${name}: it was changed or removed after it was chosen. Choose the file again.`, { cause });
  }
}

export async function readReader(reader, start, end) {
  let given;
  try {
    given = await reader.read(start, end);
  } catch (cause) {
    if (cause?.code === 'aborted') throw cause;
    throw new RerankError('download', `model.read(${start}, ${end}) failed: ${cause?.message ?? cause}.`, { cause });
  }
  const bytes = given instanceof ArrayBuffer ? new Uint8Array(given) : given;
  if (bytes instanceof Uint8Array && bytes.length === end - start) return bytes;
  const got = bytes instanceof Uint8Array ? `${bytes.length} bytes` : kind(given);
  throw new RerankError('bad-input', `model.read(${start}, ${end}) must give a Uint8Array of ${end - start} bytes, got ${got}.`);
}
