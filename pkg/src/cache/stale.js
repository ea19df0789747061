// Parts that nobody went on with.
import { readJournal } from './entry.js';

const STALE_MS = 30 * 24 * 3600 * 1000;

export async function removeStale(store, own) {
  for (const key of await store.list()) {
    if (key === own || !key.startsWith('f')) continue;
    const journal = await readJournal(store, key);
    if (journal && (journal.whole || Date.now() - journal.at < STALE_MS)) continue;
    const release = await store.lock(key, { wait: false });
    if (!release) continue; // somebody does, or is about to
    await store.remove(key);
    await release();
  }
}
