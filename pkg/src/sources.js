// A description (spec.js) -> the files the engine reads: [{ name, size, read(start, end), done() }].
import { openCached } from './cache/cached.js';
import { openStore } from './cache/store.js';
import { StorageError, warningOf } from './cache/storage-error.js';
import { RerankError, unsupported } from './errors.js';
import { openPlain } from './http-plain.js';
import { checkNames, verified, wantedHash } from './integrity.js';
import { openInline, readBlob, readReader } from './local-files.js';
import { placesOf } from './places.js';
import { EDGE, readAhead, RESIDENT, STREAMING } from './read-ahead.js';

// `given`: platform, fetch, signal, progress, reader, cache, integrity, streaming. Gives { files, close, discard, warnings }. Without `streaming` the
// files are for one load: when it is through, `done` of each must be awaited, which reads the rest of what is stored or checked, and may
// refuse the file. With it they may be read until `close`. `discard`
// forgets what was stored, where the engine refused it: else an error page that came in place of a model would be there for ever. `mustStore`
// fails where else a warning says that nothing is kept.
export async function openSources(specs, given) {
  const warnings = [];
  const warn = (error) => {
    context.store = null; // for what is opened after this
    const text = warningOf(error);
    if (!warnings.includes(text)) warnings.push(text);
  };
  const context = { ...given, warn };
  let found = [];
  const close = async () => {
    await Promise.all(found.map((file) => file.close?.()));
  };
  try {
    const asked = !['auto', undefined].includes(context.cache); // a choice that cannot be met is refused, whatever is loaded
    context.store = asked || specs.some(isStored) ? await storeFor(context) : null;
    for (const spec of specs) found.push(...(await findFiles(spec, context)));
    checkNames(context.integrity, found);
    found = await openAll(found);
    const discard = () => Promise.all(found.map((file) => file.discard?.()));
    return { files: found, close, discard, warnings };
  } catch (error) {
    await close();
    throw error;
  }
}

const BUILTIN = 'mini.gguf';
const isInline = (spec) => /^(?:blob|data):/i.test(spec.url);
const isStored = (spec) => spec.kind === 'hub' || (spec.kind === 'address' && !isInline(spec));

async function storeFor(context) {
  try {
    return await openStore(context.cache, context.platform);
  } catch (error) {
    if (!(error instanceof StorageError) || context.mustStore) throw error;
    context.warn(error);
    return null;
  }
}

// [{ name, url?, open() }]
async function findFiles(spec, context) {
  const { platform } = context;
  const here = (file) => ({ name: file.name, open: () => atHand(file, context), close: file.close });
  const ahead = (file) => (context.streaming ? readAhead(file, windowsOf(context)) : file);
  switch (spec.kind) {
    case 'builtin': {
      const places = { http: (url) => openWhole({ name: BUILTIN, url }, context), local: (file) => atHand(file, context) };
      return [{ name: BUILTIN, open: () => platform.builtin(places) }];
    }
    case 'bytes':
      return [here({ name: spec.name, size: spec.bytes.length, read: (start, end) => spec.bytes.subarray(start, end) })];
    case 'blob':
      return [here(ahead({ name: spec.name, size: spec.blob.size, read: (start, end) => readBlob(spec, start, end) }))];
    case 'reader':
      return [here(ahead({ name: spec.name, size: spec.size, read: (start, end) => readReader(context.reader, start, end) }))];
    case 'path':
      return (await platform.openPath(spec.path)).map(here);
    case 'address':
      if (isInline(spec)) return [here(await openInline(spec, context))];
  }
  return (await placesOf(spec, context)).map((place) => ({ ...place, open: () => openPlace(place, context) }));
}

function windowsOf({ streaming, platform }) {
  if (!streaming) return RESIDENT;
  return platform.name === 'edge' ? EDGE : STREAMING;
}

// All or none.
async function openAll(found) {
  const opened = await Promise.allSettled(found.map((one) => one.open()));
  const bad = opened.find((one) => one.status === 'rejected');
  if (!bad) return opened.map((one) => one.value);
  await Promise.all(opened.map((one) => one.value?.close?.()));
  throw bad.reason;
}

async function openPlace(place, context) {
  const { integrity, streaming } = context;
  const given = wantedHash(integrity, place);
  const wanted = { ...place, sha256: given ?? place.sha256, strict: Boolean(given) };
  const windows = windowsOf(context);
  const meter = context.progress.file(place.name);
  if (context.store) {
    try {
      const file = await openCached(wanted, context, meter);
      if (streaming && wanted.strict) await checkFirst(file);
      return readAhead(file, { ...windows, block: file.block, ahead: 1, keep: streaming ? 2 : 3 });
    } catch (error) {
      if (!(error instanceof StorageError) || context.mustStore) throw error;
      context.warn(error);
    }
  }
  if (wanted.strict && streaming) {
    throw unsupported(`options.integrity cannot be checked for ${place.name} while it is streamed: nobody sees the whole file. Allow a cache, or load without streaming.`);
  }
  const plain = await openPlain(place, context, { meter, first: windows.block });
  return readAhead(wanted.strict ? verified(plain, given, { ...context, meter }) : plain, windows);
}

// A stream must not be read before all of it was checked.
async function checkFirst(file) {
  try {
    await file.done({ wait: true });
  } catch (error) {
    await file.close?.();
    throw error;
  }
}

// The browser's own cache may answer.
async function openWhole(place, context) {
  const meter = context.progress.file(place.name);
  return checked(await openPlain(place, context, { meter, whole: true }), context, meter);
}

// Counts what is read from files that are here.
async function atHand(file, context) {
  const meter = context.progress.file(file.name);
  meter.start(file.size);
  const metered = {
    ...file,
    async read(start, end) {
      const bytes = await file.read(start, end);
      meter.add(bytes.length);
      return bytes;
    },
    done: async () => meter.done(file.size),
  };
  return checked(metered, context, meter);
}

async function checked(file, context, meter) {
  const given = wantedHash(context.integrity, file);
  if (!given) return file;
  const sure = verified(file, given, { ...context, meter });
  if (context.streaming) await checkFirst(sure);
  return sure;
}
