// What the engine measured on an adapter, kept for later loads: in this thread, and where the browser lets us in its Cache.
// That it cannot be kept is no failure.

const STORE = 'edge-reranker-tuning';
const PATIENCE_MS = 1000;
const here = new Map();

const addressOf = (adapter) => `https://edge-reranker.invalid/tuning/${encodeURIComponent(adapter)}`;

// `act` gets the cache; undefined where there is none, or where it fails or does not answer.
async function inCache(act) {
  let timer;
  const late = new Promise((done) => (timer = setTimeout(done, PATIENCE_MS)));
  try {
    return await Promise.race([globalThis.caches?.open(STORE).then(act), late]);
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}

export async function recall(adapter) {
  const kept = here.get(adapter) ?? (await inCache(async (cache) => (await cache.match(addressOf(adapter)))?.text()));
  if (kept !== undefined) here.set(adapter, kept);
  return kept;
}

export async function remember(adapter, text) {
  if (!text || here.get(adapter) === text) return;
  here.set(adapter, text);
  await inCache((cache) => cache.put(addressOf(adapter), new Response(text)));
}
