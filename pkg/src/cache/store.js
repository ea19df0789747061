// Where files are kept: what the caller asked for, or the best that there is.
//   { place, list() -> keys, names(key) -> [name, size?]s, put(key, name, bytes), get(key, name, start?, end?), remove(key, name?),
//     lock(key, { signal, wait }) -> release() }; sizes where a file can be there in part
import { unsupported } from '../errors.js';
import { openCacheApi } from './cache-api.js';
import { hasOpfs, openOpfs } from './opfs.js';
import { StorageError } from './storage-error.js';

const BROWSER = {
  opfs: { there: hasOpfs, open: openOpfs, what: 'a private file system (OPFS) that pages can write' },
  'cache-api': { there: () => typeof caches !== 'undefined', open: openCacheApi, what: 'a Cache API' },
};

// null where nothing is to be kept: the caller says so, or this is an edge runtime, whose machine is another one the next time. Fails with a
// StorageError where there should be a store and is none.
export async function openStore(choice = 'auto', platform) {
  if (choice === 'none') return null;
  if (platform.openFiles) return openNative(choice, platform);
  if (choice !== 'auto') return openKind(choice);
  if (platform.name !== 'browser') return null;
  let refused;
  for (const kind of Object.values(BROWSER)) {
    if (!kind.there()) continue;
    try {
      return await kind.open();
    } catch (error) {
      refused ??= error; // storage is switched off for this site, or this window is a private one
    }
  }
  throw new StorageError('this page', refused ?? 'there is no storage, most likely since the page does not come over https');
}

async function openNative(choice, platform) {
  if (choice !== 'auto') throw unsupported(`options.cache '${choice}' is one of browsers: use 'auto', which keeps files on the disk here, or 'none'.`);
  try {
    return await platform.openFiles();
  } catch (error) {
    throw new StorageError('the cache folder', error);
  }
}

async function openKind(choice) {
  const { there, open, what } = BROWSER[choice];
  if (!there()) throw unsupported(`options.cache '${choice}': there is no ${what.replace(/^an? /, '')} here. Use 'auto' or 'none'.`);
  try {
    return await open();
  } catch (error) {
    throw new StorageError(what, error);
  }
}
