// The public `models`: what has a short name, and what is kept on this machine.
import { asFailure } from './cache/storage-error.js';
import { Entry, readJournal } from './cache/entry.js';
import { allRecords, readRecord } from './cache/records.js';
import { openStore } from './cache/store.js';
import { checkDownload, checkFetch, checkPlace, checkStore } from './check.js';
import { asRerankError, badInput, follow, RerankError, threw, throwIfAborted, unsupported } from './errors.js';
import { areWhole } from './places.js';
import { Progress } from './progress.js';
import { REGISTRY } from './registry.js';
import { openSources } from './sources.js';
import { describeModel } from './spec.js';

const isKept = (spec) => spec.kind === 'hub' || (spec.kind === 'address' && !/^(?:blob|data):/i.test(spec.url));

export function createModels(platform) {
  // The description of an id or address, and the store; `store` is null where nothing can be kept.
  async function find(model, options) {
    const clean = checkPlace(model, options);
    const spec = await describeModel(model instanceof URL ? model.href : model, clean, platform);
    return { spec, store: await openStore(clean.cache, platform).catch(() => null) };
  }

  // The entries of a model; those of a plain address are known without a record.
  async function entriesOf(store, spec) {
    const record = await readRecord(store, spec);
    const files = record?.files ?? (spec.kind === 'address' ? [{ url: spec.url }] : []);
    return { record, entries: await Promise.all(files.map((file) => Entry.open(store, file.url))) };
  }

  async function isCached(model, options) {
    const { spec, store } = await find(model, options);
    if (!isKept(spec)) return true; // it is here anyway
    const record = store && (await readRecord(store, spec));
    return Boolean(record) && areWhole(store, record.files);
  }

  return {
    async list() {
      const store = await openStore('auto', platform).catch(() => null);
      const cachedOf = async (entry) => {
        if (entry.builtin) return { cached: true, bytesCached: entry.bytes };
        if (!store) return { cached: false, bytesCached: 0 };
        const { record, entries } = await entriesOf(store, await describeModel(entry.id, {}, platform));
        return { cached: Boolean(record) && entries.every((one) => one.whole), bytesCached: sum(entries, (one) => one.bytes) };
      };
      return Promise.all(REGISTRY.map(async (entry) => ({ builtin: false, ...entry, ...(await cachedOf(entry).catch(() => ({ cached: false, bytesCached: 0 }))) })));
    },

    isCached: (model, options) => told(isCached(model, options)),

    // Fetches what is missing and resolves when all of it is stored and checked. Aborted, or ended, it goes on where it was.
    download: (model, options) =>
      told(async () => {
        const { signal, onProgress, fetch: own, integrity, ...clean } = checkDownload(model, options);
        throwIfAborted(signal);
        const spec = await describeModel(model instanceof URL ? model.href : model, clean, platform);
        if (spec.kind === 'builtin') return;
        if (!isKept(spec)) throw badInput(`${spec.name} is a file of this machine: there is nothing to download.`);
        await guarded({ signal, onProgress }, (signal, tell) =>
          openAndStore(spec, {
            platform,
            signal,
            integrity,
            cache: clean.cache,
            mustStore: true,
            progress: new Progress(tell, spec.name),
            fetch: own ? checkFetch(own) : (...args) => fetch(...args),
          }),
        );
      }),

    delete: (model, options) =>
      told(async () => {
        const { spec, store } = await find(model, options);
        if (!store || !isKept(spec)) return false;
        const { record, entries } = await entriesOf(store, spec);
        const others = (await allRecords(store)).filter((one) => one.key !== record?.key).flatMap((one) => one.files.map((file) => file.url));
        const mine = entries.filter((entry, at) => !others.includes((record?.files ?? [{ url: spec.url }])[at].url));
        let found = Boolean(record);
        for (const entry of mine) found = (await removeEntry(store, entry, spec.name)) || found;
        if (record) await store.remove(record.key);
        return found;
      }),

    usage: (options) =>
      told(async () => {
        const store = await openStore(checkStore(options).cache, platform).catch(() => null);
        const models = store ? await modelsIn(store) : [];
        return { bytes: sum(models, (model) => model.bytes), quota: await quotaOf(platform), models };
      }),

    // Asks the browser not to clear the storage when space runs short; true if it agrees. Elsewhere nobody clears it.
    async persist() {
      if (platform.openFiles) return true;
      try {
        return Boolean(await globalThis.navigator?.storage?.persist?.());
      } catch {
        return false;
      }
    },
  };

  async function openAndStore(spec, context) {
    if (!(await openStore(context.cache, platform))) throw unsupported('There is no storage here that outlives this program.');
    const sources = await openSources([spec], context);
    try {
      await Promise.all(sources.files.map((file) => file.done()));
    } finally {
      await sources.close();
    }
  }
}

const sum = (list, of) => list.reduce((all, one) => all + of(one), 0);

async function told(act) {
  try {
    return await (typeof act === 'function' ? act() : act);
  } catch (error) {
    throw asRerankError(asFailure(error), 'unsupported');
  }
}

// Runs `work(signal, onProgress)`; what the caller's callback throws ends it.
async function guarded({ signal, onProgress }, work) {
  const controller = new AbortController();
  const unfollow = follow(signal, controller);
  let thrown = null;
  const tell = (event) => {
    if (controller.signal.aborted) return;
    try {
      onProgress?.(event);
    } catch (error) {
      thrown = threw('onProgress', error);
      controller.abort();
    }
  };
  try {
    await work(controller.signal, tell);
    if (thrown) throw thrown;
  } catch (error) {
    throw thrown ?? error;
  } finally {
    unfollow();
  }
}

async function removeEntry(store, entry, name) {
  const there = entry.journal !== null;
  const release = await store.lock(entry.key, { wait: false });
  if (!release) throw new RerankError('unsupported', `${name} is being downloaded, here or in another tab or process: end that first.`);
  try {
    await entry.remove();
  } finally {
    await release();
  }
  return there;
}

// By model, and what belongs to none by its address.
async function modelsIn(store) {
  const left = new Set((await store.list()).filter((key) => key.startsWith('f')));
  const models = [];
  for (const { id, remoteHost, files } of await allRecords(store)) {
    const entries = await Promise.all(files.map((file) => Entry.open(store, file.url)));
    for (const entry of entries) left.delete(entry.key);
    models.push({ ...summary(id, entries), ...(remoteHost && { remoteHost }) });
  }
  for (const key of left) {
    const address = (await readJournal(store, key))?.address;
    if (address) models.push(summary(address, [await Entry.open(store, address)]));
  }
  return models.filter((model) => model.files.length);
}

function summary(id, entries) {
  const there = entries.filter((entry) => entry.journal);
  return {
    id,
    files: there.map((entry) => entry.journal.name),
    bytes: sum(there, (entry) => entry.bytes),
    partial: there.length < entries.length || there.some((entry) => !entry.whole),
  };
}

async function quotaOf(platform) {
  try {
    return (await (platform.freeSpace?.() ?? globalThis.navigator?.storage?.estimate?.()))?.quota ?? null;
  } catch {
    return null;
  }
}
