// A file server with faults that can be chosen request by request, and that counts what it sends: what the tests of the cache talk to.
import { once } from 'node:events';
import { createServer } from 'node:http';

// `behave(request)`, request = { number, method, path, start, end } gives any of: bytes (the file), etag, modified, status, headers, noRange,
// breakAfter (bytes), stall (after so many bytes), shift (the part begins so much later than asked), extra (bytes beyond the announced end),
// short (bytes fewer than announced), noLength, slowMs (for each 64 KB), json.
export async function faultServer(bytes, behave = () => ({})) {
  const served = { bytes: 0, requests: [], most: 0, running: 0 };
  const server = createServer(async (request, response) => {
    const { start = 0, end = Infinity } = rangeOf(request.headers.range);
    const asked = { number: served.requests.length + 1, method: request.method, path: request.url, start, end };
    served.requests.push(asked);
    served.most = Math.max(served.most, ++served.running);
    response.on('close', () => served.running--);
    const act = behave(asked) ?? {};
    for (const [name, value] of Object.entries(CORS)) response.setHeader(name, value);
    if (request.method === 'OPTIONS') return response.writeHead(204).end();
    if (act.json) return response.end(JSON.stringify(act.json));
    if (act.status) return response.writeHead(act.status, act.headers).end();
    await send(request, response, act.bytes ?? bytes, act, served).catch(() => response.destroy());
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    served,
    reset() {
      Object.assign(served, { bytes: 0, requests: [], most: 0 });
    },
    close() {
      server.closeAllConnections();
      return new Promise((done) => server.close(done));
    },
  };
}

const CORS = {
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Allow-Headers': 'Range',
  'Access-Control-Expose-Headers': 'Content-Range, Content-Length, ETag',
  'Cross-Origin-Resource-Policy': 'cross-origin',
};

function rangeOf(header) {
  const match = /^bytes=(\d+)-(\d+)$/.exec(header ?? '');
  return match ? { start: Number(match[1]), end: Number(match[2]) + 1 } : {};
}

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

async function send(request, response, body, act, served) {
  const ranged = Boolean(request.headers.range) && !act.noRange;
  const asked = ranged ? rangeOf(request.headers.range) : { start: 0, end: body.length };
  if (asked.start >= body.length) return response.writeHead(416, { 'Content-Range': `bytes */${body.length}` }).end();
  const start = asked.start + (act.shift ?? 0);
  const end = Math.min(asked.end, body.length);
  const headers = { ETag: act.etag ?? '"one"', ...(act.modified && { 'Last-Modified': act.modified }) };
  if (ranged) headers['Content-Range'] = `bytes ${start}-${end - 1}/${body.length}`;
  if (!act.noLength && !act.extra) headers['Content-Length'] = end - start;
  response.writeHead(ranged ? 206 : 200, headers);
  if (request.method === 'HEAD') return response.end();
  const closed = new Promise((done) => response.once('close', done));
  const last = Math.min(start + (act.breakAfter ?? act.stall ?? Infinity), end - (act.short ?? 0));
  for (let at = start; at < last && !response.destroyed; at += STEP) {
    const part = body.subarray(at, Math.min(at + STEP, last));
    if (act.slowMs) await Promise.race([wait(act.slowMs), closed]);
    if (response.destroyed) return;
    served.bytes += part.length;
    if (!response.write(part)) await Promise.race([once(response, 'drain').catch(() => {}), closed]);
  }
  if (act.stall !== undefined) return;
  if (act.extra) response.write(new Uint8Array(act.extra));
  if (act.breakAfter === undefined && !act.short) return response.end();
  await wait(20);
  response.destroy();
}
const STEP = 64 << 10;
