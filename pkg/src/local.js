// The engine in this thread, behind the interface that client.js offers from another one.
import { bytesOf } from './check.js';
import { chooseDevice, isOfGpu } from './device.js';
import { loadEngine } from './engine.js';
import { abortable, asRerankError, RerankError, throwIfAborted } from './errors.js';
import { inTurn } from './presented.js';
import { Progress } from './progress.js';
import { openSources } from './sources.js';
import { planThreads, refused } from './threads.js';
import { newInstance, onTrap, shared, watched } from './trap.js';
import { recall, remember } from './tuning.js';

const TEXT_SHARE = 48; // of the memory for streaming; the engine keeps as much for what it makes of them

// `spec`: { model, tokenizer?, wasm?, device?, threads?, memoryMB?, powerPreference? } of spec.js.
// `hooks`: { platform, fetch?, reader?, gpuDevice?, signal?, onProgress? }.
export async function openLocal(spec, hooks) {
  if (spec.memoryMB) return openOn({ device: 'wasm', reason: 'The CPU computes, since weights are streamed.' }, spec, hooks);
  if (shared.trap) throw asRerankError(shared.trap);
  const { powerPreference } = spec;
  const choice = await abortable(chooseDevice(spec.device, { powerPreference, given: hooks.gpuDevice }), hooks.signal);
  try {
    return await openOn(choice, spec, hooks);
  } catch (error) {
    const bound = hooks.gpuDevice || spec.device === choice.device;
    if (bound || choice.device === 'wasm' || !isOfGpu(error) || shared.trap) throw error;
    const reason = `The CPU computes, since the GPU failed while the model was loaded (${error.code}: ${error.message}).`;
    return openOn({ device: 'wasm', reason, warning: reason }, spec, hooks);
  }
}

async function openOn(choice, spec, { platform, signal, reader, onProgress, gpuDevice, ...hooks }) {
  const plan = choice.device === 'wasm' ? planThreads(spec.threads, platform) : { count: 1 };
  const { memoryMB } = spec;
  const instance = memoryMB ? newInstance() : shared;
  const loading = loadEngine(platform, { wasm: spec.wasm, several: plan.count > 1, memoryMB, instance });
  const engaging = engage(loading, plan, spec); // the threads start while the model is read
  engaging.catch(() => {}); // heard below, after the sources
  const letGo = () => engaging.then((crew) => crew.release()).catch(() => {});
  const now = { signal, loading: true, instance, mostText: memoryMB && Math.floor((memoryMB << 20) / TEXT_SHARE) };
  const progress = new Progress(onProgress && ((event) => now.loading && onProgress(event)), spec.model.name);
  const { cache, integrity } = spec;
  const context = { platform, signal, reader, progress, cache, integrity, streaming: Boolean(memoryMB), fetch: hooks.fetch ?? ((...args) => fetch(...args)) };
  const specs = spec.tokenizer ? [spec.model, { ...spec.tokenizer, name: 'tokenizer.json' }] : [spec.model];
  const sources = await openSources(specs, context).catch((error) => {
    letGo();
    throw error;
  });
  let readError = null;
  const breathe = everySlice();
  const files = sources.files.map(({ name, size, read }) => ({
    name,
    size,
    async read(start, end) {
      try {
        await breathe();
        throwIfAborted(now.signal);
        return await abortable(Promise.resolve(read(start, end)), now.signal);
      } catch (error) {
        readError ??= error;
        throw error;
      }
    },
  }));
  try {
    const { Engine } = await abortable(loading, signal);
    const options = { name: spec.model.name, signal, threads: plan.count, memoryMB, ...(await deviceOptions(choice, spec, gpuDevice)) };
    const handler = gpuDevice?.onuncapturederror;
    const load = () => {
      throwIfAborted(signal);
      return watched(instance, () => Engine.load(files, options));
    };
    const engine = await (choice.device === 'wasm' ? load() : inTurn(gpuDevice, load));
    await Promise.all(sources.files.map((file) => file.done())).catch((error) => {
      engine.unload();
      engine.free();
      throw error;
    });
    const crew = await engaging;
    progress.ready();
    now.loading = false;
    if (!memoryMB) await sources.close();
    const end = async () => {
      if (gpuDevice) gpuDevice.onuncapturederror = handler; // a caller's device is given back as it was
      if (memoryMB) await sources.close();
    };
    return new Local(engine, choice, crew, sources.warnings, now, end);
  } catch (error) {
    letGo();
    const failure = asRerankError(readError ?? error);
    if (failure.code === 'bad-model' && !spec.tokenizer) await sources.discard();
    await sources.close();
    throw failure;
  }
}

// The threads that the engine gets, until `release`.
async function engage(loading, { count, warning }, { threads: wanted, wasm }) {
  const { pool } = await loading;
  if (count > 1 && pool) return { ...(await pool.hire(count)), release: () => pool.release() };
  const alone = wasm === undefined ? 'no shared memory could be had.' : 'the module given as `wasm` is one without threads.';
  return { threads: 1, warning: warning ?? (count > 1 && wanted > 1 ? refused(wanted, alone) : undefined), release: () => {} };
}

async function deviceOptions({ device, adapter, subgroups }, { powerPreference }, gpuDevice) {
  if (device === 'wasm') return { device };
  return { device, powerPreference, subgroups, adapterName: adapter, tuning: await recall(adapter), ownsDevice: !gpuDevice };
}

// Gives the thread back now and then: reads from memory alone would never do so.
function everySlice(sliceMs = 30) {
  let since = performance.now();
  return async () => {
    if (performance.now() - since < sliceMs) return;
    await new Promise((done) => setTimeout(done));
    since = performance.now();
  };
}

class Local {
  #engine;
  #choice;
  #crew;
  #now;
  #end;
  #unwatch;
  #gone = null; // why no call is taken any more
  #running = new Set(); // how to fail each call
  #lost;
  info;
  warnings;
  lost = new Promise((resolve) => (this.#lost = resolve));

  // `now.signal` is heard by reads of streamed weights; `end` lets go what is not the engine's.
  constructor(engine, choice, crew, warnings, now, end) {
    this.#engine = engine;
    this.#choice = choice;
    this.#crew = crew;
    this.#now = now;
    this.#end = end;
    this.info = { ...engine.info(), deviceReason: choice.reason, threads: crew.threads };
    if (this.info.adapter) this.info.adapter.name = choice.adapter; // the engine cannot see it
    this.warnings = [choice.warning, crew.warning, ...warnings].filter(Boolean);
    this.#unwatch = onTrap(now.instance, () => {
      this.#engine = null; // its memory can no longer be trusted, not even to free it
      this.#lost({ reason: 'oom' });
    });
    if (choice.device !== 'webgpu') return;
    engine.lost().then((lost) => this.#lose(lost));
    this.#keepTuning();
  }

  async rerank(query, documents, options) {
    this.#checkTexts([query, options.instruction, ...documents.map((document) => document.text ?? document)]);
    return this.#guard(() => this.#engine.rerank(query, documents, options), options);
  }

  async score(pairs, options) {
    this.#checkTexts([...pairs.flat(), options.instruction]);
    return this.#guard(() => this.#engine.score(pairs, options), options);
  }

  async tokenize(query, document, options) {
    this.#checkTexts([query, document, options.instruction]);
    return this.#guard(() => this.#engine.tokenize(query, document, options), options);
  }

  async close(idle) {
    await idle;
    this.#unwatch();
    this.#engine?.unload();
    this.#engine?.free();
    this.#engine = null;
    await this.#end();
    await this.#crew.release();
  }

  // The device is gone. Calls are failed here too: what waits for a device that is gone may wait for ever.
  #lose({ reason, message }) {
    if (!this.#engine) return; // it was closed
    this.#gone = new RerankError('device-lost', `The GPU was lost${message ? ` (${message})` : ''}.`);
    for (const fail of this.#running) fail(this.#gone);
    this.#lost({ reason: reason === 'oom' ? 'oom' : 'device-lost', ofDevice: true });
  }

  #keepTuning() {
    if (this.#choice.device === 'webgpu' && this.#engine) remember(this.#choice.adapter, this.#engine.tuning());
  }

  // Where the memory is bounded, texts must not fill it.
  #checkTexts(texts) {
    const most = this.#now.mostText;
    if (!most) return;
    const bytes = texts.reduce((sum, text) => sum + (text ? bytesOf(text) : 0), 0);
    if (bytes > most) throw new RerankError('too-long', `The texts of this call have ${bytes} bytes; the memory for streaming holds ${most}: make several calls, or give a larger streaming.memoryMB.`);
  }

  async #guard(work, { signal }) {
    if (this.#gone) throw this.#gone;
    this.#now.signal = signal;
    let fail;
    const lost = new Promise((_, reject) => (fail = reject));
    this.#running.add(fail);
    try {
      const result = await Promise.race([watched(this.#now.instance, work), lost]);
      this.#keepTuning();
      return result;
    } catch (error) {
      throw asRerankError(error, 'bad-input');
    } finally {
      this.#running.delete(fail);
    }
  }
}
