// The page's side of a worker: the same interface as local.js, with the engine in another thread.
import { abortable, RerankError, throwIfAborted, unsupported } from './errors.js';
import { hear } from './hear.js';
import { connect, Transfer } from './rpc.js';

const HELLO_MS = 30_000;

// The worker could not be started at all; the caller may compute in this thread instead.
export class NoWorker extends Error {}

export async function openRemote(given, spec, hooks) {
  const { platform, signal, onProgress, reader } = hooks;
  throwIfAborted(signal);
  const worker = given === true ? start(platform) : given;
  const { port1, port2 } = new MessageChannel();
  const link = connect(port1, pageHandlers(hooks, reader, (lost) => client.lose(lost)));
  const client = new Client(worker, worker !== given, link);
  try {
    const listen = client.listener();
    worker.postMessage({ port: port2 }, [port2]);
    await abortable(greet(listen, link), signal);
    client.watch(listen, port1);
    const args = { spec: compact(spec), ownFetch: Boolean(hooks.fetch), ownReader: Boolean(reader) };
    const { info, warnings } = await link.call('load', args, { signal, onEvent: onProgress, hurry: true });
    Object.assign(client, { info, warnings });
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
}

// A view is sent with all of the buffer behind it: a part of a larger buffer is copied out first.
function compact(spec) {
  const { model } = spec;
  if (model.kind !== 'bytes' || model.bytes.length === model.bytes.buffer.byteLength) return spec;
  return { ...spec, model: { ...model, bytes: model.bytes.slice() } };
}

function start(platform) {
  try {
    return platform.spawn();
  } catch (error) {
    if (error instanceof RerankError) throw error;
    throw new NoWorker(error.message);
  }
}

// Resolves when the worker's script answers.
function greet(listen, link) {
  return new Promise((resolve, reject) => {
    const fail = (why) => reject(new NoWorker(why));
    const timer = setTimeout(() => fail(`it did not answer within ${HELLO_MS / 1000} seconds; its script must be edge-reranker/worker`), HELLO_MS);
    const quiet = (act) => (value) => {
      clearTimeout(timer);
      act(value);
    };
    listen('error', quiet((event) => fail(event.message || 'its script could not be loaded or run')));
    link.call('hello').then(quiet(resolve), quiet(reject));
  });
}

// What the worker asks of this side.
function pageHandlers({ fetch }, reader, lose) {
  const bodies = new Map();
  let next = 1;
  return {
    lost: lose,
    async read({ start, end }) {
      const bytes = await reader.read(start, end);
      // A view is sent with all of the buffer behind it: a part is copied out, and the copy handed over.
      if (!(bytes instanceof Uint8Array) || bytes.byteLength === bytes.buffer.byteLength) return bytes;
      const part = new Uint8Array(bytes);
      return new Transfer(part, [part.buffer]);
    },
    async fetch({ url, method, headers }, { signal }) {
      const controller = new AbortController();
      signal.addEventListener('abort', () => controller.abort(), { once: true });
      const response = await fetch(url, { method, headers, signal: controller.signal });
      const id = next++;
      if (response.body) bodies.set(id, { reader: response.body.getReader(), controller });
      const { status, statusText } = response;
      return { id, status, statusText, headers: [...response.headers], hasBody: Boolean(response.body) };
    },
    async fetchNext(id) {
      const { done, value } = await bodies.get(id).reader.read();
      if (done) bodies.delete(id);
      return done ? null : value;
    },
    fetchCancel(id) {
      bodies.get(id)?.controller.abort();
      bodies.delete(id);
    },
  };
}

class Client {
  #worker;
  #own;
  #link;
  #lost;
  #deaf = []; // each ends one listener
  info;
  warnings;
  lost = new Promise((resolve) => (this.#lost = resolve));

  constructor(worker, own, link) {
    this.#worker = worker;
    this.#own = own;
    this.#link = link;
  }

  // Listeners of the worker, or of the `target`, that end with this client.
  listener() {
    return (event, act, target = this.#worker) => this.#deaf.push(hear(target, event, act));
  }

  // A worker that ran and then fails takes its calls with it.
  watch(listen, port) {
    const lost = (event) => this.#crash(`The worker failed: ${event.message || 'no reason given'}. Load the model in a fresh worker.`);
    const garbled = () => this.#crash('A message of the worker could not be read, most likely for lack of memory. Load the model in a fresh worker.');
    listen('error', lost);
    listen('messageerror', garbled);
    listen('messageerror', garbled, port);
    listen('exit', () => this.#crash('The worker ended. Load the model in a fresh worker.'));
  }

  rerank(query, documents, { signal, onScore, ...options }) {
    return this.#link.call('rerank', { query, documents, options, scores: Boolean(onScore) }, { signal, onEvent: onScore });
  }

  score(pairs, { signal, onScore, ...options }) {
    return this.#link.call('score', { pairs, options, scores: Boolean(onScore) }, { signal, onEvent: onScore });
  }

  tokenize(query, document, { signal, ...options }) {
    return this.#link.call('tokenize', { query, document, options }, { signal });
  }

  lose(lost) {
    this.#lost(lost);
  }

  // Ends our own worker at once; one that was given is asked to let the model go when it is idle.
  async close(idle) {
    if (!this.#own) {
      await idle;
      this.#link.call('unload').catch(() => {}); // the worker may be gone already: no answer is awaited
    }
    this.#link.close(new RerankError('not-loaded', 'The reranker was unloaded.'));
    if (this.#own) await this.#worker.terminate();
    for (const end of this.#deaf.splice(0)) end();
  }

  #crash(message) {
    if (!this.#own) this.#link.call('unload').catch(() => {}); // it may still run and hold the model
    this.#link.close(new RerankError('oom', message));
    this.#lost({ reason: 'oom' });
  }
}

export const workerRefused = (error) =>
  unsupported(`The worker does not start (${error.message}). Allow it in the page's Content-Security-Policy (worker-src 'self'), let the bundler emit it, or load with worker: false.`);
