// A model in a bucket that is bound to an edge worker: only the bytes that are read are fetched.
import { badInput, RerankError } from './errors.js';

const ATTEMPTS = 4;
const FIRST_WAIT_MS = 100;
const WINDOW = 4 << 20;
const GAP = 64 << 10; // what may lie between two tensors that are read one after the other

// `bucket` has head(key) -> { size, etag? } and get(key, { range: { offset, length } }) -> { arrayBuffer() }; both give null where there is no
// such object. Gives a reader to be passed as `model`.
export async function fromBucket(bucket, key, { attempts = ATTEMPTS } = {}) {
  if (typeof bucket?.head !== 'function' || typeof bucket.get !== 'function') {
    throw badInput('fromBucket needs a bucket with head(key) and get(key, { range }): check the binding in the worker\'s configuration.');
  }
  if (typeof key !== 'string' || !key) throw badInput('fromBucket needs the key of an object, as a string.');
  const gone = () => new RerankError('download', `The bucket has no object '${key}': check the key, and that it was uploaded.`);
  const again = (what, act) => retry(act, attempts, (cause) => new RerankError('download', `${what} of '${key}' in the bucket failed ${attempts} times: ${cause?.message ?? cause}.`, { cause }));
  const head = await again('head()', () => bucket.head(key));
  if (!head) throw gone();
  if (!Number.isSafeInteger(head.size)) throw badInput(`head('${key}') of the bucket tells no size.`);

  const range = (start, end) =>
    again(`Bytes ${start} to ${end}`, async () => {
      const object = await bucket.get(key, { range: { offset: start, length: end - start } });
      if (!object) throw gone();
      if (head.etag && object.etag && object.etag !== head.etag) {
        throw new RerankError('download', `The object '${key}' changed while it was read: load the model again.`);
      }
      const bytes = new Uint8Array(await object.arrayBuffer());
      if (bytes.length !== end - start) throw new Error(`${bytes.length} bytes came for ${end - start}`);
      return bytes;
    });
  return { name: key.split('/').pop(), size: head.size, read: inWindows(range, head.size) };
}

// Reads that go on where the last one ended are cut out of windows, for hosts count requests; others are made as they are. A window is kept when it
// has come, not while it is awaited: a request to an edge worker must not wait for the reads of another one.
function inWindows(range, size) {
  let held = { start: 0, end: 0, bytes: new Uint8Array(0) };
  let last = 0;
  return async (start, end) => {
    const { start: from, end: until, bytes } = held;
    const goesOn = start >= last && start - last <= GAP;
    last = end;
    if (start >= end) return new Uint8Array(0);
    if (start >= from && end <= until) return bytes.subarray(start - from, end - from);
    if (!goesOn) return range(start, end);
    const known = start >= from && start < until ? bytes.subarray(start - from) : bytes.subarray(0, 0);
    const next = start + known.length;
    const stop = Math.min(Math.max(end, next + WINDOW), size);
    const got = await range(next, stop);
    held = { start: next, end: stop, bytes: got };
    if (!known.length) return got.subarray(0, end - start);
    const out = new Uint8Array(end - start);
    out.set(known);
    out.set(got.subarray(0, end - next), known.length);
    return out;
  };
}

async function retry(act, attempts, failure) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await act();
    } catch (error) {
      if (error instanceof RerankError) throw error;
      if (attempt >= attempts) throw failure(error);
      await new Promise((done) => setTimeout(done, FIRST_WAIT_MS * 2 ** (attempt - 1)));
    }
  }
}
