// A Chromium for one measurement, and the server of its page.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, sep } from 'node:path';
import { chromium } from '../web/node_modules/playwright-core/index.mjs';
import { watch } from './watch.mjs';

const QUIET = ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
// Without an adapter nothing of these: where there is no GPU, a browser told to draw with one keeps two cores busy.
const ADAPTERS = {
  hardware: process.platform === 'linux' ? ['--use-angle=vulkan', '--enable-features=Vulkan', '--disable-vulkan-surface'] : [],
  software: ['--use-webgpu-adapter=swiftshader', '--enable-features=Vulkan'],
};
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.json': 'application/json', '.wasm': 'application/wasm' };

/** Serves `roots`, { '/name/': folder }. Its pages are cross-origin isolated, so that engines may use threads. */
export async function serve(roots) {
  const server = createServer((request, response) => answer(roots, request, response).catch(() => response.destroy()));
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  const close = () => (server.closeAllConnections(), server.close());
  return { url: `http://127.0.0.1:${server.address().port}/`, close };
}

async function answer(roots, request, response) {
  response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
  response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
  const path = decodeURIComponent(new URL(request.url, 'http://here').pathname);
  const root = Object.keys(roots).find((name) => path.startsWith(name));
  const place = root && join(roots[root], path.slice(root.length));
  const file = place?.startsWith(roots[root] + sep) ? await stat(place).catch(() => null) : null;
  if (!file?.isFile()) return response.writeHead(404).end();
  const headers = { 'Content-Type': TYPES[extname(place)] ?? 'application/octet-stream', 'Accept-Ranges': 'bytes' };
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
  const start = Number(from ?? 0);
  const end = Math.min(to ? Number(to) + 1 : file.size, file.size);
  if (from) headers['Content-Range'] = `bytes ${start}-${end - 1}/${file.size}`;
  response.writeHead(from ? 206 : 200, { ...headers, 'Content-Length': end - start });
  if (request.method === 'HEAD' || start >= end) response.end();
  else createReadStream(place, { start, end: end - 1 }).pipe(response);
}

// onnxruntime-web gives wrong results on an adapter whose subgroups are 4 wide, unless the page hides that there are any.
function hideNarrowSubgroups() {
  const { get } = Object.getOwnPropertyDescriptor(GPUAdapter.prototype, 'features');
  const visible = (adapter) => [...get.call(adapter)].filter((name) => adapter.info.subgroupMinSize > 4 || !name.startsWith('subgroup'));
  Object.defineProperty(GPUAdapter.prototype, 'features', { get() { return new Set(visible(this)); } });
}

/** Runs `run(job)` of a module in a fresh browser, and says what that took: { result, chromium, peakMB, othersCores }. */
export async function inBrowser({ url, module, job, adapter, minutes }) {
  const flags = ['--enable-unsafe-webgpu', '--js-flags=--max-old-space-size=8192', ...(ADAPTERS[adapter] ?? [])];
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: [...QUIET, ...flags] });
  const watched = watch('browser');
  let timer;
  try {
    const page = await browser.newPage();
    const told = [];
    page.on('pageerror', (error) => told.push(error.message));
    page.on('console', (message) => message.type() === 'error' && told.push(message.text()));
    if (process.env.BENCH_VERBOSE) page.on('console', (message) => console.error(`| ${message.text()}`));
    page.setDefaultTimeout(0);
    await page.exposeFunction('passBegins', watched.begin);
    await page.exposeFunction('passEnds', watched.end);
    await page.addInitScript(hideNarrowSubgroups);
    await page.goto(`${url}bench/index.html`);
    const late = new Promise((_, fail) => (timer = setTimeout(() => fail(new Error(`no answer in ${minutes} minutes`)), minutes * 60_000)));
    const work = page.evaluate(async ([module, job]) => (await import(module)).run(job), [module, job]);
    const result = await Promise.race([work, late]).catch((error) => {
      throw new Error([error.message.split('\n')[0], ...told.slice(0, 3)].join(' | '));
    });
    return { result, chromium: browser.version(), ...watched.close() };
  } finally {
    clearTimeout(timer);
    watched.close();
    await browser.close();
  }
}
