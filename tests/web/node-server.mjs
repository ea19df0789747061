// A file server that can misbehave: what the download tests talk to.
import { createServer } from 'node:http';

// `behave(request number, request)` gives any of: status, noRange, breakAfter (bytes), etag, hideRange, listing, delayMs.
export async function badServer(bytes, behave = () => ({})) {
  const log = [];
  const server = createServer(async (request, response) => {
    const range = request.headers.range;
    log.push(`${request.method} ${request.url}${range ? ` ${range}` : ''}`);
    const act = behave(log.length, request);
    if (act.delayMs) await new Promise((done) => setTimeout(done, act.delayMs).unref());
    if (act.status) return response.writeHead(act.status, act.headers).end();
    if (act.listing) return response.end(JSON.stringify({ siblings: act.listing.map((rfilename) => ({ rfilename })) }));
    const body = act.bytes ?? bytes;
    const match = act.noRange ? null : /^bytes=(\d+)-(\d+)$/.exec(range ?? '');
    const start = match ? Number(match[1]) : 0;
    const end = match ? Math.min(Number(match[2]) + 1, body.length) : body.length;
    const headers = { 'content-length': end - start, etag: act.etag ?? '"one"' };
    if (match && !act.hideRange) headers['content-range'] = `bytes ${start}-${end - 1}/${body.length}`;
    response.writeHead(match ? 206 : 200, headers);
    if (request.method === 'HEAD') return response.end();
    if (act.breakAfter === undefined) return response.end(body.subarray(start, end));
    response.write(body.subarray(start, Math.min(start + act.breakAfter, end)), () => setTimeout(() => response.destroy(), 20));
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const close = () => {
    server.closeAllConnections();
    return new Promise((done) => server.close(done));
  };
  return { url: `http://127.0.0.1:${server.address().port}`, log, close };
}
