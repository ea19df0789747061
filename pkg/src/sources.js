// A description (spec.js) -> the files the engine reads: [{ name, size, read(start, end) }].
import { kind } from './check.js';
import { badInput, RerankError, shorten, throwIfAborted } from './errors.js';
import { HttpFile } from './http.js';
import { resolveFolder, resolveHub } from './hub.js';

// `context`: platform, fetch, signal, progress, reader. Gives { files, close }.
export async function openSources(specs, context) {
  const opened = [];
  const close = () => Promise.all(opened.map((file) => file.close?.()));
  try {
    for (const spec of specs) opened.push(...(await openSpec(spec, context)));
    return { files: opened, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openSpec(spec, context) {
  const { platform } = context;
  switch (spec.kind) {
    case 'builtin':
      return [await platform.builtin({ http: (url) => openHttp({ name: 'mini.gguf', url }, context, true), local: (file) => metered(file, context) })];
    case 'bytes':
      return [metered({ name: spec.name, size: spec.bytes.length, read: (start, end) => spec.bytes.subarray(start, end) }, context)];
    case 'blob':
      return [metered({ name: spec.name, size: spec.blob.size, read: (start, end) => readBlob(spec, start, end) }, context)];
    case 'reader':
      return [metered({ name: spec.name, size: spec.size, read: (start, end) => readReader(context.reader, start, end) }, context)];
    case 'path':
      return (await platform.openPath(spec.path)).map((file) => metered(file, context));
    case 'address':
      if (/^(?:blob|data):/i.test(spec.url)) return [metered(await openInline(spec, context), context)];
      if (spec.url.endsWith('/')) return openAll(await resolveFolder(spec.url, context), context);
      return [await openHttp(spec, context)];
    case 'hub':
      return openAll(await resolveHub(spec, context), context);
  }
}

async function openAll(places, context) {
  const opened = await Promise.allSettled(places.map((place) => openHttp(place, context)));
  const bad = opened.find((one) => one.status === 'rejected');
  if (!bad) return opened.map((one) => one.value);
  for (const one of opened) one.value?.close();
  throw bad.reason;
}

async function openHttp({ name, url }, { fetch, platform, signal, progress }, whole = false) {
  const meter = progress.file(name);
  const file = await HttpFile.open(url, { fetch, init: whole ? {} : platform.requestInit, signal, meter, whole });
  return {
    name,
    size: file.size,
    read: (start, end) => file.read(start, end),
    done: () => meter.done(file.size),
    close: () => file.close(),
  };
}

// What a blob: or data: address holds is here already or nowhere: nothing is tried twice.
async function openInline({ name, url }, { fetch, signal }) {
  try {
    const blob = await (await fetch(url, { signal })).blob();
    return { name, size: blob.size, read: (start, end) => readBlob({ name, blob }, start, end) };
  } catch (cause) {
    throwIfAborted(signal);
    throw badInput(`Cannot read ${shorten(url)}: ${cause?.message ?? cause}. A blob: address works only where it was made, until it is revoked; pass the Blob itself.`);
  }
}

// Counts what is read from files that are at hand.
function metered(file, { progress }) {
  const meter = progress.file(file.name);
  meter.start(file.size);
  return {
    ...file,
    async read(start, end) {
      const bytes = await file.read(start, end);
      meter.add(bytes.length);
      return bytes;
    },
    done: () => meter.done(file.size),
  };
}

async function readBlob({ blob, name }, start, end) {
  try {
    return new Uint8Array(await blob.slice(start, end).arrayBuffer());
  } catch (cause) {
    throw new RerankError('bad-model', `Cannot read ${name}: it was changed or removed after it was chosen. Choose the file again.`, { cause });
  }
}

async function readReader(reader, start, end) {
  let given;
  try {
    given = await reader.read(start, end);
  } catch (cause) {
    if (cause?.code === 'aborted') throw cause;
    throw new RerankError('download', `model.read(${start}, ${end}) failed: ${cause?.message ?? cause}.`, { cause });
  }
  const bytes = given instanceof ArrayBuffer ? new Uint8Array(given) : given;
  if (bytes instanceof Uint8Array && bytes.length === end - start) return bytes;
  const got = bytes instanceof Uint8Array ? `${bytes.length} bytes` : kind(given);
  throw new RerankError('bad-input', `model.read(${start}, ${end}) must give a Uint8Array of ${end - start} bytes, got ${got}.`);
}
