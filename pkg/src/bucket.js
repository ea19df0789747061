// A model in a bucket that is bound to an edge worker: only the bytes that are read are fetched.
import { badInput, RerankError } from './errors.js';

const ATTEMPTS = 4;
const FIRST_WAIT_MS = 100;

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

  return {
    name: key.split('/').pop(),
    size: head.size,
    read: (start, end) =>
      again(`Bytes ${start} to ${end}`, async () => {
        if (end <= start) return new Uint8Array(0);
        const object = await bucket.get(key, { range: { offset: start, length: end - start } });
        if (!object) throw gone();
        if (head.etag && object.etag && object.etag !== head.etag) {
          throw new RerankError('download', `The object '${key}' changed while it was read: load the model again.`);
        }
        const bytes = new Uint8Array(await object.arrayBuffer());
        if (bytes.length !== end - start) throw new Error(`${bytes.length} bytes came for ${end - start}`);
        return bytes;
      }),
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
