// A model of the hub, or an address -> the names, addresses and hashes of its files: from what the store remembers, or from the server.
import { Entry } from './cache/entry.js';
import { readRecord, writeRecord } from './cache/records.js';
import { StorageError } from './cache/storage-error.js';
import { throwIfAborted } from './errors.js';
import { resolveFolder, resolveHub } from './hub.js';

// Files of the hub are used as they are stored: an id names a model that is published. Those of other addresses are asked for changes.
export async function placesOf(spec, context) {
  const fixed = spec.kind === 'hub';
  const places = await resolve(spec, context);
  return places.map((place) => ({ ...place, fixed }));
}

async function resolve(spec, context) {
  const single = spec.kind === 'address' && !spec.url.endsWith('/');
  const ask = () => (single ? [{ name: spec.name, url: spec.url }] : fromServer(spec, context));
  if (!context.store) return ask();
  try {
    const record = await readRecord(context.store, spec);
    if (record && (await areWhole(context.store, record.files))) return record.files;
    const places = asBefore(await answered(ask, record?.files, context), record?.files);
    await writeRecord(context.store, spec, places);
    return places;
  } catch (error) {
    if (!(error instanceof StorageError) || context.mustStore) throw error;
    context.warn(error);
    return ask();
  }
}

// A file whose hash is what it was stays at the commit where it is kept in part, whatever else has changed in its repository.
const asBefore = (places, known = []) =>
  places.map((place) => known.find((one) => place.sha256 && place.alias && one.alias === place.alias && one.sha256 === place.sha256) ?? place);

const fromServer = (spec, context) => {
  const asked = { ...context, hashes: Boolean(context.store) };
  return spec.kind === 'hub' ? resolveHub(spec, asked) : resolveFolder(spec.url, asked);
};

// Without an answer, what was known before.
async function answered(ask, known, { signal }) {
  try {
    return await ask();
  } catch (error) {
    throwIfAborted(signal);
    if (!known || error.code !== 'download') throw error;
    return known;
  }
}

export async function areWhole(store, files) {
  const entries = await Promise.all(files.map((file) => Entry.open(store, file.url)));
  return entries.every((entry) => entry.whole);
}
