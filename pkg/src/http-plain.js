// A file behind an address that is not kept: read in ranges, or whole into memory where the server sends no ranges.
import { RerankError } from './errors.js';
import { HttpFile } from './http.js';

export async function openPlain({ name, url }, { fetch, platform, signal, streaming }, { meter: events, first, whole = false }) {
  const meter = { ...events, start: (size) => events.start(size) };
  const file = await HttpFile.open(url, { fetch, init: whole ? {} : platform.requestInit, signal, meter, first, whole });
  let all = null;
  try {
    if (!file.ranged && streaming && !whole) {
      const what = `Cannot stream ${url}: its server sends the file only as a whole, and there is no cache to keep it in.`;
      throw new RerankError('download', `${what} Use a host that supports Range requests, allow a cache, or load without streaming.`);
    }
    if (!file.ranged) all = await file.readAll();
  } catch (error) {
    file.close();
    throw error;
  }
  const { size } = file;
  return {
    name,
    url,
    size,
    read: (start, end) => (all ? all.subarray(start, end) : file.read(start, end)),
    async done() {
      file.detach();
      meter.done(size);
    },
    close() {
      all = null;
      file.close();
    },
  };
}
