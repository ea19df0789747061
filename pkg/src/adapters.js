// What the adapters to other libraries share.
import { kind } from './check.js';
import { badInput } from './errors.js';

// Gives a function that gives the reranker: `given` is one, or a promise of one, or a function that makes one when it is first needed.
// If making it failed, the next call tries again.
export function provider(given) {
  if (typeof given !== 'function' && !isReranker(given) && typeof given?.then !== 'function') {
    throw badInput(`reranker must be a Reranker, a RemoteReranker, a promise of one or a function that gives one, got ${kind(given)}.`);
  }
  let made = null;
  return () => {
    if (typeof given !== 'function') return settled(given);
    made ??= settled((async () => given())()).catch((error) => {
      made = null;
      throw error;
    });
    return made;
  };
}

const isReranker = (value) => typeof value?.rerank === 'function';

async function settled(promise) {
  const reranker = await promise;
  if (isReranker(reranker)) return reranker;
  throw badInput(`reranker must come to a Reranker or a RemoteReranker, got ${kind(reranker)}.`);
}

// Options of this call, over those of the adapter; absent ones take no place.
export const merged = (...layers) => Object.assign({}, ...layers.map((layer) => Object.fromEntries(Object.entries(layer ?? {}).filter(([, value]) => value != null))));
