// A file behind an address. The first Range request tells size and identity; after that the file is read in blocks, a few of
// them ahead, so that hundreds of small reads become a few dozen requests. A server without Range sends the file once, whole.
import { aborted, follow, RerankError } from './errors.js';

const BLOCK = 8 << 20;
const AHEAD = 3;
const KEEP = 8;
const ATTEMPTS = 4;
const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 20_000;
const STALL_MS = 60_000;

const UNSEEN = { start() {}, add() {} };

// A failure that another attempt may mend.
class Hiccup extends Error {
  constructor(message, waitMs = 0) {
    super(message);
    this.waitMs = waitMs;
  }
}

const failed = (url, what, todo) => new RerankError('download', `Cannot download ${url}: ${what}. ${todo}`);

const advice = {
  401: 'The file needs a login: pass your own `fetch` that adds an Authorization header.',
  403: 'The server refuses access: for a gated model pass your own `fetch` that adds an Authorization header.',
  404: 'Check the address, the file name and the revision.',
  410: 'The file is gone: check the address.',
  429: 'The server asks for patience: try again later.',
};
const laterAdvice = 'Try again later, or use another host.';
const changedAdvice = 'Load again to read the new file from its beginning.';

async function sleep(ms, signal) {
  if (signal.aborted) throw aborted(signal);
  await new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(aborted(signal));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal.addEventListener('abort', stop, { once: true });
  });
}

function retryAfter(response) {
  const seconds = Number(response.headers.get('retry-after'));
  return Number.isFinite(seconds) ? Math.min(seconds * 1000, LONGEST_WAIT_MS) : 0;
}

function totalOf(response) {
  const match = /^bytes\s+(\d+)-(\d+)\/(\d+)$/i.exec(response.headers.get('content-range') ?? '');
  return match ? { start: Number(match[1]), end: Number(match[2]) + 1, total: Number(match[3]) } : null;
}

// What must stay equal while a file is read. Weak tags and absent headers prove nothing.
function identityOf(response) {
  const etag = response.headers.get('etag');
  return { etag: etag?.startsWith('W/') ? null : etag, modified: response.headers.get('last-modified') };
}
const differs = (a, b) => (a.etag && b.etag ? a.etag !== b.etag : Boolean(a.modified && b.modified && a.modified !== b.modified));

export class HttpFile {
  #url;
  #fetch;
  #init;
  #signal;
  #controller = new AbortController();
  #unfollow;
  #meter;
  #identity;
  #whole = null;
  #blocks = new Map(); // index -> promise of bytes, in order of last use
  size = 0;

  // `whole` asks for the file in one request that the browser's own cache may answer; `init` goes into every request.
  static async open(url, { fetch, init = {}, signal, meter = UNSEEN, whole = false }) {
    const file = new HttpFile();
    file.#url = url;
    file.#fetch = fetch;
    file.#init = init;
    file.#meter = meter;
    file.#signal = file.#controller.signal;
    file.#unfollow = follow(signal, file.#controller);
    try {
      if (whole) await file.#readWhole();
      else await file.#begin();
      return file;
    } catch (error) {
      file.close();
      throw error;
    }
  }

  async read(start, end) {
    if (this.#whole) return this.#whole.subarray(start, end);
    if (end <= start) return new Uint8Array(0);
    const first = Math.floor(start / BLOCK);
    const last = Math.ceil(end / BLOCK) - 1;
    if (first === last) return (await this.#block(first)).slice(start - first * BLOCK, end - first * BLOCK);
    const out = new Uint8Array(end - start);
    for (let index = first; index <= last; index++) {
      const from = index * BLOCK;
      const bytes = await this.#block(index);
      const part = bytes.subarray(Math.max(start - from, 0), Math.min(end - from, bytes.length));
      out.set(part, Math.max(from - start, 0));
    }
    return out;
  }

  // Stops what is in flight and lets the bytes go.
  close() {
    this.#unfollow();
    this.#controller.abort();
    this.#blocks.clear();
    this.#whole = null;
  }

  #block(index) {
    const wanted = this.#use(index);
    const count = Math.ceil(this.size / BLOCK);
    for (let ahead = index + 1; ahead <= index + AHEAD && ahead < count; ahead++) this.#use(ahead);
    this.#use(index);
    while (this.#blocks.size > KEEP) this.#blocks.delete(this.#blocks.keys().next().value);
    return wanted;
  }

  #use(index) {
    let bytes = this.#blocks.get(index);
    if (!bytes) {
      const start = index * BLOCK;
      bytes = this.#fill(new Uint8Array(Math.min(BLOCK, this.size - start)), start, 0);
      bytes.catch(() => this.#blocks.delete(index)); // whoever reads the block hears of the failure
    }
    this.#blocks.delete(index);
    this.#blocks.set(index, bytes);
    return bytes;
  }

  async #begin() {
    const opened = await this.#retry(async () => {
      const reply = await this.#ask(`bytes=0-${BLOCK - 1}`);
      if (reply.response.status !== 206) return reply;
      const range = totalOf(reply.response);
      this.size = range?.total ?? (await this.#sizeByHead());
      if (!range?.start) return reply;
      reply.cancel();
      throw failed(this.#url, 'the server answered with another part of the file', laterAdvice);
    });
    if (opened.response.status === 200) return this.#readWhole(opened);
    if (!this.size) {
      opened.cancel();
      return this.#readWhole();
    }
    this.#identity = identityOf(opened.response);
    this.#meter.start(this.size);
    const bytes = new Uint8Array(Math.min(BLOCK, this.size));
    const block = this.#fill(bytes, 0, 0, opened);
    this.#blocks.set(0, block);
    await block;
  }

  // Some servers keep Content-Range from pages of other origins, and Content-Length is always shown.
  async #sizeByHead() {
    try {
      const response = await this.#fetch(this.#url, { ...this.#init, method: 'HEAD', signal: this.#signal });
      return response.ok ? Number(response.headers.get('content-length')) || 0 : 0;
    } catch {
      return 0;
    }
  }

  // Fills `bytes`, which stand at `start` in the file. An attempt goes on where the last one broke off.
  async #fill(bytes, start, at, opened) {
    await this.#retry(
      async () => {
        const reply = opened ?? (await this.#ask(`bytes=${start + at}-${start + bytes.length - 1}`));
        if (!opened) this.#checkPart(reply, start + at);
        opened = null;
        for await (const chunk of this.#chunks(reply)) {
          if (at + chunk.length > bytes.length) throw failed(this.#url, 'the server sent more than was asked for', laterAdvice);
          bytes.set(chunk, at);
          at += chunk.length;
          this.#meter.add(chunk.length);
        }
        if (at < bytes.length) throw new Hiccup(`the connection ended ${bytes.length - at} bytes too early`);
      },
      () => at,
    );
    return bytes;
  }

  #checkPart({ response, cancel }, start) {
    const range = totalOf(response);
    const identity = identityOf(response);
    let what = null;
    if (response.status !== 206) what = `the server answered ${response.status} to a request for a part of it`;
    else if (range && range.total !== this.size) what = `the file changed while it was read (${this.size} bytes before, ${range.total} now)`;
    else if (differs(identity, this.#identity)) what = 'the file changed while it was read (its ETag or date is another)';
    else if (range && range.start !== start) what = 'the server answered with another part of the file';
    if (!what) return;
    cancel();
    throw failed(this.#url, what, changedAdvice);
  }

  async #readWhole(opened) {
    await this.#retry(async () => {
      const reply = opened ?? (await this.#ask(null));
      opened = null;
      const length = Number(reply.response.headers.get('content-length')) || 0;
      const encoded = Boolean(reply.response.headers.get('content-encoding'));
      this.#meter.start(encoded ? 0 : length);
      let bytes = allocate(length, this.#url);
      let at = 0;
      for await (const chunk of this.#chunks(reply)) {
        if (at + chunk.length > bytes.length) {
          const larger = allocate(Math.max(at + chunk.length, bytes.length * 2, 1 << 16), this.#url);
          larger.set(bytes.subarray(0, at));
          bytes = larger;
        }
        bytes.set(chunk, at);
        at += chunk.length;
        this.#meter.add(chunk.length);
      }
      if (at < length && !encoded) throw new Hiccup(`the connection ended ${length - at} bytes too early`);
      this.#whole = bytes.subarray(0, at);
      this.size = at;
    });
  }

  // One request, answered as far as its headers. Errors that may pass are Hiccups, all others are final.
  async #ask(range) {
    const attempt = new AbortController();
    const stop = () => attempt.abort(this.#signal.reason);
    if (this.#signal.aborted) throw aborted(this.#signal);
    this.#signal.addEventListener('abort', stop, { once: true });
    let timer;
    const touch = () => {
      clearTimeout(timer);
      timer = setTimeout(() => attempt.abort(), STALL_MS);
    };
    const release = () => {
      clearTimeout(timer);
      this.#signal.removeEventListener('abort', stop);
    };
    const cancel = () => {
      release();
      attempt.abort();
    };
    touch();
    let response;
    try {
      response = await this.#fetch(this.#url, { ...this.#init, headers: range ? { Range: range } : {}, signal: attempt.signal });
    } catch (error) {
      release();
      throw this.#hiccup(error);
    }
    const { status } = response;
    if (status === 200 || status === 206) return { response, touch, release, cancel };
    const wait = retryAfter(response);
    cancel();
    const what = `the server answered ${status} ${response.statusText}`.trim();
    if (status === 408 || status === 429 || status >= 500) throw Object.assign(new Hiccup(what, wait), { status });
    throw Object.assign(failed(this.#url, what, advice[status] ?? 'Check the address.'), { status });
  }

  async *#chunks({ response, touch, release, cancel }) {
    if (!response.body) return release();
    const reader = response.body.getReader();
    let whole = false;
    try {
      for (;;) {
        const { done, value } = await reader.read().catch((error) => {
          throw this.#hiccup(error);
        });
        whole = done;
        if (done) return;
        touch();
        yield value;
      }
    } finally {
      if (whole) release();
      else {
        reader.cancel().catch(() => {});
        cancel();
      }
    }
  }

  #hiccup(error) {
    if (this.#signal.aborted) return aborted(this.#signal);
    if (error instanceof RerankError && ['aborted', 'bad-input'].includes(error.code)) return error; // another attempt mends neither
    if (error?.name === 'AbortError') return new Hiccup(`nothing arrived for ${STALL_MS / 1000} seconds`);
    return new Hiccup(`the network failed (${error?.cause?.code ?? error?.message ?? error})`);
  }

  // Tries `work` again after a Hiccup. An attempt that moved `progress` forward starts the count anew.
  async #retry(work, progress = () => 0) {
    let before = progress();
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof Hiccup)) throw error;
        if (progress() > before) attempt = 1;
        before = progress();
        if (attempt >= ATTEMPTS) throw this.#giveUp(error);
        await sleep(Math.max(FIRST_WAIT_MS * 2 ** (attempt - 1) * (0.75 + Math.random() / 2), error.waitMs), this.#signal);
      }
    }
  }

  #giveUp({ message, status }) {
    const network = 'Check the connection; a page may read another host only if that host allows it (CORS).';
    return failed(this.#url, `${message}, ${ATTEMPTS} times in a row`, status ? (advice[status] ?? laterAdvice) : network);
  }
}

function allocate(length, url) {
  try {
    return new Uint8Array(length);
  } catch (cause) {
    throw new RerankError('oom', `There is no memory for the ${length} bytes of ${url}. Use a smaller model or a host that supports Range.`, { cause });
  }
}
