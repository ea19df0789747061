// A small static server for the page and its tests: `node serve.mjs FOLDER [--port 8000] [--base /sub/] [--host 127.0.0.1] [--shared]`.
// Range requests, right types, the page's own Content-Security-Policy as a header, so that workers are bound by it too, and the headers
// that isolate the page from other origins, so that the engine may use threads.
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, resolve, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.wasm': 'application/wasm',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.txt': 'text/plain; charset=utf-8',
  '.webmanifest': 'application/manifest+json',
};
const USAGE = 'node serve.mjs [FOLDER] [--port 8000] [--base /sub/] [--host 127.0.0.1] [--shared: without the headers that isolate the page]';
const STRICT = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data:; connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'";

async function policyOf(root) {
  const html = await readFile(join(root, 'index.html'), 'utf8').catch(() => '');
  const policy = /http-equiv="Content-Security-Policy"\s+content="([^"]+)"/.exec(html)?.[1] ?? STRICT;
  return `${policy}; frame-ancestors 'none'`;
}

// Gives { url, close }. A busy port is replaced by a free one; port 0 takes any. `hear` is told every path that is asked for.
export async function serve({ root, base = '/', port = 0, host = '127.0.0.1', isolated = true, hear = () => {} }) {
  const folder = resolve(root);
  const prefix = `/${base.replace(/^\/+|\/+$/g, '')}/`.replace('//', '/');
  const policy = await policyOf(folder);
  const server = createServer((request, response) => {
    hear(request.url);
    answer(request, response, { folder, prefix, policy, isolated }).catch(() => response.destroy());
  });
  const listen = (at) =>
    new Promise((done, failed) => {
      server.once('error', failed);
      server.listen(at, host, () => done(server.off('error', failed)));
    });
  await listen(port).catch((error) => {
    if (error.code !== 'EADDRINUSE') throw error;
    return listen(0);
  });
  const close = () => {
    server.closeAllConnections();
    return new Promise((done) => server.close(done));
  };
  return { url: `http://${host}:${server.address().port}${prefix}`, close };
}

async function answer(request, response, { folder, prefix, policy, isolated }) {
  if (isolated) {
    response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
    response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
  }
  response.setHeader('Content-Security-Policy', policy);
  response.setHeader('X-Content-Type-Options', 'nosniff');
  response.setHeader('Referrer-Policy', 'no-referrer');
  const refuse = (status, text, headers = {}) => response.writeHead(status, { 'Content-Type': 'text/plain', ...headers }).end(`${text}\n`);
  if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(405, 'Only GET and HEAD.', { Allow: 'GET, HEAD' });
  let path;
  try {
    path = decodeURIComponent(new URL(request.url, 'http://here').pathname);
  } catch {
    return refuse(400, 'The address is malformed.');
  }
  if (!path.startsWith(prefix)) return refuse(404, `Nothing here: the page is at ${prefix}`);
  const place = join(folder, path.slice(prefix.length), path.endsWith('/') ? 'index.html' : '');
  if (path.includes('\0') || !place.startsWith(folder + sep)) return refuse(404, 'No such file.');
  const file = await stat(place).catch(() => null);
  if (file?.isDirectory()) return refuse(301, 'A folder.', { Location: `${path}/` });
  if (!file?.isFile()) return refuse(404, 'No such file.');
  const etag = `"${file.size.toString(36)}-${Math.floor(file.mtimeMs).toString(36)}"`;
  const headers = {
    'Content-Type': TYPES[extname(place)] ?? 'application/octet-stream',
    'Accept-Ranges': 'bytes',
    'Cache-Control': 'no-cache',
    ETag: etag,
  };
  if (request.headers['if-none-match'] === etag) return response.writeHead(304, headers).end();
  const range = parseRange(request.headers.range, file.size);
  if (range === null) return refuse(416, 'No such range.', { 'Content-Range': `bytes */${file.size}` });
  const { start, end } = range ?? { start: 0, end: file.size };
  if (range) headers['Content-Range'] = `bytes ${start}-${end - 1}/${file.size}`;
  response.writeHead(range ? 206 : 200, { ...headers, 'Content-Length': end - start });
  if (request.method === 'HEAD' || start === end) return response.end();
  const stream = createReadStream(place, { start, end: end - 1 });
  stream.on('error', () => response.destroy());
  response.on('close', () => stream.destroy());
  stream.pipe(response);
}

// undefined: the whole file. null: no such part.
function parseRange(header, size) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (!match || (!match[1] && !match[2])) return undefined;
  const start = match[1] ? Number(match[1]) : Math.max(size - Number(match[2]), 0);
  const end = match[1] && match[2] ? Math.min(Number(match[2]) + 1, size) : size;
  return start < end ? { start, end } : null;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        port: { type: 'string', default: '8000' },
        base: { type: 'string', default: '/' },
        host: { type: 'string', default: '127.0.0.1' },
        shared: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h' },
      },
    });
    if (values.help) console.log(USAGE);
    else {
      const port = /^\d{1,5}$/.test(values.port) ? Number(values.port) : NaN;
      if (!(port <= 65535)) throw new Error(`--port must be a whole number from 0 to 65535, not '${values.port}'.`);
      const root = positionals[0] ?? fileURLToPath(new URL('../../target/site', import.meta.url));
      const { url } = await serve({ root, base: values.base, host: values.host, port, isolated: !values.shared });
      console.log(`Serving ${root} at ${url} (Ctrl+C ends it)`);
    }
  } catch (error) {
    console.error(`serve.mjs: ${error.message}\n${USAGE}`);
    process.exitCode = 2;
  }
}
