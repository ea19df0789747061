// A file behind an address, by way of the store: what is there is read from there; what is missing is downloaded, by one of all who want it.
import { aborted, follow, throwIfAborted } from '../errors.js';
import { differs, HttpFile, identityOf, isSame } from '../http.js';
import { lengthOf } from '../request.js';
import { finish, hashEntry } from './blocks.js';
import { Download } from './download.js';
import { drainInto } from './drain.js';
import { BLOCK, Entry } from './entry.js';
import { fromStore } from './from-store.js';
import { removeStale } from './stale.js';
import { stored, StorageError } from './storage-error.js';

const CHECK_MS = 3000;
const LOOK_MS = 500;

// `place`: { name, url, sha256?, strict?, fixed? }: `strict` where the caller gave the hash, `fixed` where what is stored counts unasked.
// Gives { name, url, size, block, read, done, close }. Fails with a StorageError where the store is to blame.
export async function openCached(place, context, meter) {
  const { store } = context;
  const entry = await Entry.open(store, place.url);
  if (await isUsable(entry, place, context, meter)) return fromStore(entry, place, context, meter);
  const refused = entry.whole ? entry.journal : null;
  await stored(store.place, () => removeStale(store, entry.key));
  const release = await holdLock(entry, place, context, meter);
  try {
    await entry.look(); // another one may have finished it meanwhile
    const usable = !entry.isCopy(refused) && (await isUsable(entry, place, context, meter, true));
    if (!usable && entry.whole) await entry.remove();
    if (!usable) return await download(entry, place, context, meter, release);
    await release();
    return fromStore(entry, place, context, meter);
  } catch (error) {
    await release();
    throw error;
  }
}

// Meanwhile the progress of the one who has it is told.
async function holdLock({ key }, { url }, { store, signal }, meter) {
  const look = async () => {
    const now = await Entry.open(store, url);
    if (now.size) meter.at(now.bytes, now.size);
  };
  const timer = setInterval(() => look().catch(() => {}), LOOK_MS);
  try {
    return await stored(store.place, () => store.lock(key, { signal }));
  } catch (error) {
    throw signal?.aborted ? aborted(signal) : error;
  } finally {
    clearInterval(timer);
  }
}

// True if it is whole and the file that is wanted. `held` where the lock is.
async function isUsable(entry, place, context, meter, held = false) {
  if (!entry.whole) return false;
  return place.sha256 ? hasHash(entry, place, context, meter, held) : place.fixed || isCurrent(entry, place, context);
}

async function hasHash(entry, { sha256 }, { signal }, meter, held) {
  if (entry.journal.sha256) return entry.journal.sha256 === sha256;
  try {
    if ((await hashEntry(entry, { meter, signal })) !== sha256) return false;
    const publish = () => entry.publish(sha256);
    await (held ? publish() : entry.ifStill(publish).catch(() => {}));
    return true;
  } catch (error) {
    if (error instanceof StorageError) return false; // a block is damaged, and now missing
    throw error;
  }
}

// Asks the server whether the file is still the one that was stored. Where there is no answer soon, it is; so it is where
// nothing can be compared but an equal length.
async function isCurrent({ journal }, { url }, { fetch, signal, platform }) {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), CHECK_MS);
  const unfollow = follow(signal, controller);
  try {
    const response = await fetch(url, { ...platform.requestInit, method: 'HEAD', signal: controller.signal });
    if (!response.ok) return true;
    const length = lengthOf(response);
    return (!length || length === journal.size) && !differs(journal, identityOf(response));
  } catch {
    throwIfAborted(signal);
    return true;
  } finally {
    clearTimeout(timer);
    unfollow();
  }
}

// A part of an earlier load is gone on with where it is known to be of this file, or where the hash of the whole will tell.
function goesOn({ journal }, { sha256 }, size, identity) {
  if (!journal || !identity || journal.size !== size) return false;
  const hashed = sha256 && [journal.wanted, journal.sha256].includes(sha256);
  return hashed ? !differs(journal, identity) : isSame(journal, identity);
}

// Fetches what is missing. `release` is called at the end, whichever it is.
async function download(entry, place, context, meter, release) {
  const { fetch, platform } = context;
  const controller = new AbortController();
  const unfollow = follow(context.signal, controller);
  const { signal } = controller;
  const counted = { start: (size, identity) => meter.start(size, { here: goesOn(entry, place, size, identity) ? entry.bytes : 0 }), add: meter.add };
  const complete = entry.count > 0 && entry.blocks.size === entry.count;
  const http = await HttpFile.open(place.url, {
    fetch,
    init: platform.requestInit,
    signal,
    meter: counted,
    from: entry.firstMissing * BLOCK,
    first: complete ? 1 : BLOCK,
  }).catch((error) => {
    unfollow();
    throw error;
  });
  try {
    const journal = { address: place.url, name: place.name, size: http.size, wanted: place.sha256, ...http.identity };
    if (http.ranged) {
      if (!goesOn(entry, place, http.size, http.identity)) await entry.remove();
      await entry.begin(journal);
      await entry.tidy();
      return new Download({ http, entry, place, context, meter, release, controller, unfollow });
    }
    await drainInto(entry, http, journal);
    await finish(entry, place, { meter, signal });
    await release();
    http.close();
    unfollow();
    return fromStore(entry, place, context, meter);
  } catch (error) {
    http.close();
    unfollow();
    throw error;
  }
}
