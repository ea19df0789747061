// A file behind an address, read in ranges. The first request tells size and identity and brings the first bytes; every request is tried
// again, from where it broke off, and must answer with the same file. A server without Range can only be drained, from the beginning.
import { follow, RerankError } from './errors.js';
import { Hiccup, laterAdvice, lengthOf, Requests } from './request.js';

const FIRST = 8 << 20;

const changedAdvice = 'Load again to read the new file from its beginning.';
const UNSEEN = { start() {}, add() {} };

function totalOf(response) {
  const match = /^bytes\s+(\d+)-(\d+)\/(\d+)$/i.exec(response.headers.get('content-range') ?? '');
  return match ? { start: Number(match[1]), end: Number(match[2]) + 1, total: Number(match[3]) } : null;
}

// What must stay equal while a file is read. Absent headers prove nothing.
export const identityOf = ({ headers }) => ({ etag: headers.get('etag'), modified: headers.get('last-modified') });

const isWeak = (etag) => etag.startsWith('W/');
const valueOf = (etag) => (isWeak(etag) ? etag.slice(2) : etag);

// A strong tag outweighs the date. A weak one stands for a file that means the same: another one proves a change, an equal one little.
export function differs(a, b) {
  const tagged = Boolean(a.etag && b.etag);
  if (tagged && valueOf(a.etag) !== valueOf(b.etag)) return true;
  if (tagged && !isWeak(a.etag) && !isWeak(b.etag)) return false;
  return Boolean(a.modified && b.modified && a.modified !== b.modified);
}

// Without anything to compare, that is not known.
export const isSame = (a, b) => Boolean((a.etag && b.etag) || (a.modified && b.modified)) && !differs(a, b);

export class HttpFile {
  #url;
  #requests;
  #controller = new AbortController();
  #unfollow;
  #meter;
  #first = null; // { start, bytes } that came with the first answer, until they are read
  #opened = null; // the answer of a server without Range, until it is drained
  identity = {};
  size = 0; // 0 for a server without Range that does not tell
  ranged = true;

  // `from` is where the first request begins and `first` how much it asks for: at most that much is held until it is read. `whole` asks for
  // the file in one request that the browser's own cache may answer; `init` goes into every request.
  static async open(url, { fetch, init, attempts, signal, meter = UNSEEN, whole = false, from = 0, first = FIRST }) {
    const file = new HttpFile();
    file.#url = url;
    file.#requests = new Requests(url, { fetch, init, attempts, signal: file.#controller.signal });
    file.#meter = meter;
    file.#unfollow = follow(signal, file.#controller);
    try {
      if (whole) await file.#beginWhole();
      else await file.#begin(from, first);
      return file;
    } catch (error) {
      file.close();
      throw error;
    }
  }

  // One request a read.
  async read(start, end) {
    if (end <= start) return new Uint8Array(0);
    const first = this.#first;
    if (first && start >= first.start && end <= first.start + first.bytes.length) {
      if (start === first.start && end === start + first.bytes.length) this.#first = null;
      return first.bytes.subarray(start - first.start, end - first.start);
    }
    return this.#fill(new Uint8Array(end - start), start, 0);
  }

  // The whole file from its beginning: `begin(size)`, then `add(bytes)` in order; both again if the connection breaks off, since a server
  // without Range starts anew. The size is 0 where the server does not tell. Gives the length.
  async drain({ begin, add }) {
    let at;
    await this.#requests.retry(async () => {
      const reply = this.#opened ?? (await this.#requests.ask(null));
      this.#opened = null;
      const length = lengthOf(reply.response);
      this.identity = identityOf(reply.response);
      this.#meter.start(length);
      await begin(length);
      at = 0;
      for await (const chunk of this.#requests.chunks(reply)) {
        at += chunk.length;
        if (length && at > length) throw this.#requests.failed(`the server sent more than the ${length} bytes that it announced`, laterAdvice);
        await add(chunk);
        this.#meter.add(chunk.length);
      }
      if (at < length) throw new Hiccup(`the connection ended ${length - at} bytes too early`);
    });
    this.size = at;
    return at;
  }

  // The same into memory.
  async readAll() {
    let bytes;
    let at;
    await this.drain({
      begin: (length) => {
        bytes = allocate(length, this.#url);
        at = 0;
      },
      add: (chunk) => {
        if (at + chunk.length > bytes.length) {
          const larger = allocate(Math.max(at + chunk.length, bytes.length * 2, 1 << 16), this.#url);
          larger.set(bytes.subarray(0, at));
          bytes = larger;
        }
        bytes.set(chunk, at);
        at += chunk.length;
      },
    });
    return bytes.subarray(0, at);
  }

  // From now on the signal of the load has no power over this file.
  detach() {
    this.#unfollow();
  }

  // Stops what is in flight and lets the bytes go.
  close() {
    this.#unfollow();
    this.#controller.abort();
    this.#first = null;
    this.#opened?.cancel();
    this.#opened = null;
  }

  async #begin(from, first) {
    let start = from;
    const opened = await this.#requests.retry(async () => {
      const reply = await this.#requests.ask(`bytes=${start}-${start + first - 1}`).catch((error) => {
        if (error.status !== 416 || !start) throw error;
        start = 0; // it has become shorter
        return this.#requests.ask(`bytes=0-${first - 1}`);
      });
      if (reply.response.status !== 206) return reply;
      const range = totalOf(reply.response);
      this.size = range?.total ?? (await this.#requests.sizeByHead());
      if (!range || range.start === start) return reply;
      reply.cancel();
      throw this.#requests.failed('the server answered with another part of the file', laterAdvice);
    });
    if (opened.response.status === 206 && !this.size) opened.cancel();
    if (!this.size) return this.#unranged(opened.response.status === 200 ? opened : null);
    this.identity = identityOf(opened.response);
    this.#meter.start(this.size, this.identity);
    const bytes = new Uint8Array(Math.min(first, this.size - start));
    this.#first = { start, bytes: await this.#fill(bytes, start, 0, opened) };
  }

  async #beginWhole() {
    this.#unranged(await this.#requests.retry(() => this.#requests.ask(null)));
  }

  #unranged(opened) {
    this.ranged = false;
    this.#opened = opened;
    if (!opened) return;
    this.identity = identityOf(opened.response);
    this.size = lengthOf(opened.response);
  }

  // Fills `bytes`, which stand at `start` in the file. An attempt goes on where the last one broke off.
  async #fill(bytes, start, at, opened) {
    await this.#requests.retry(
      async () => {
        const reply = opened ?? (await this.#requests.ask(`bytes=${start + at}-${start + bytes.length - 1}`));
        if (!opened) this.#checkPart(reply, start + at);
        opened = null;
        for await (const chunk of this.#requests.chunks(reply)) {
          if (at + chunk.length > bytes.length) throw this.#requests.failed('the server sent more than was asked for', laterAdvice);
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
    else if (differs(identity, this.identity)) what = 'the file changed while it was read (its ETag or date is another)';
    else if (range && range.start !== start) what = 'the server answered with another part of the file';
    if (!what) return;
    cancel();
    throw this.#requests.failed(what, changedAdvice);
  }
}

function allocate(length, url) {
  try {
    return new Uint8Array(length);
  } catch (cause) {
    throw new RerankError('oom', `There is no memory for the ${length} bytes of ${url}. Use a smaller model or a host that supports Range.`, { cause });
  }
}
