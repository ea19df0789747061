// One download at a time among the tabs and workers of a site: the browser lets the lock go when its holder dies.

// Gives the function that lets it go; null if `wait` is false and another one holds it.
export function holdWebLock(key, { signal, wait = true } = {}) {
  if (!globalThis.navigator?.locks) return async () => {};
  return new Promise((resolve, reject) => {
    const options = wait ? { signal } : { ifAvailable: true };
    const held = (lock) => {
      if (!lock) return resolve(null);
      return new Promise((end) => resolve(async () => end()));
    };
    navigator.locks.request(`edge-reranker:${key}`, options, held).catch(reject);
  });
}
