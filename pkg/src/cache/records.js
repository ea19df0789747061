// Which files a model is made of, kept beside them, so that a model that is whole here needs no answer of any server.
import { idOf } from '../hub.js';
import { REMOTE_HOST } from '../registry.js';
import { Entry, keyOf, readJournal, writeJournal } from './entry.js';
import { stored } from './storage-error.js';

const hostOf = ({ host }) => host.replace(/\/+$/, '');

// What tells two models apart.
const sourceOf = (spec) => (spec.kind === 'hub' ? `${hostOf(spec)}/${idOf({ ...spec, revision: spec.revision ?? 'main' })}` : spec.url);

// By which they can be named again: a short name where it says all.
function nameOf(spec) {
  if (spec.kind !== 'hub') return { id: spec.url };
  const remoteHost = hostOf(spec) === REMOTE_HOST ? undefined : hostOf(spec);
  return { id: (spec.revision ?? 'main') === 'main' ? spec.name : idOf(spec), remoteHost };
}

const keyFor = (spec) => keyOf('m', sourceOf(spec));

// null where nothing is known of it.
export async function readRecord(store, spec) {
  const key = await keyFor(spec);
  const record = await stored(store.place, () => readJournal(store, key));
  return Array.isArray(record?.files) ? { ...record, key } : null;
}

export async function writeRecord(store, spec, files) {
  const key = await keyFor(spec);
  const record = { ...nameOf(spec), source: sourceOf(spec), files: files.map(({ name, url, alias, sha256 }) => ({ name, url, alias, sha256 })) };
  const known = await readRecord(store, spec);
  if (known && JSON.stringify(known.files) === JSON.stringify(record.files)) return;
  await stored(store.place, () => writeJournal(store, key, record));
  if (known) await removeUnnamed(store, known.files).catch(() => {}); // else removed when they are stale
}

// Files that a model was made of before, and that none is made of now.
async function removeUnnamed(store, files) {
  const named = (await allRecords(store)).flatMap((record) => record.files.map(({ url }) => url));
  for (const { url } of files) {
    if (named.includes(url)) continue;
    const entry = await Entry.open(store, url);
    await entry.ifStill(() => entry.remove());
  }
}

export async function allRecords(store) {
  const keys = (await store.list()).filter((key) => key.startsWith('m'));
  const records = await Promise.all(keys.map(async (key) => ({ ...(await readJournal(store, key)), key })));
  return records.filter((record) => Array.isArray(record.files));
}
