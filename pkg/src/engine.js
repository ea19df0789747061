// The WebAssembly module, loaded once a thread and build.
import { buildOf, nameOf } from './builds.js';
import { hasRelaxedSimd, hasSimd } from './capabilities.js';
import { RerankError, unsupported } from './errors.js';
import { Pool } from './pool.js';

const started = new Map(); // build, or 'given' -> promise of an engine

function once(key, start) {
  if (!started.has(key)) {
    const starting = start();
    started.set(key, starting);
    starting.catch(() => started.delete(key));
  }
  return started.get(key);
}

// Gives { Engine, pool }; `pool` is null where this thread computes alone. `wasm` is the caller's own module, whichever build that is. With
// `memoryMB` an instance of the module is made for this one caller, whose memory ends there. `instance` is that of trap.js.
export function loadEngine(platform, { wasm, several, memoryMB, instance }) {
  const build = (threads) => nameOf({ relaxed: hasRelaxedSimd(), threads });
  if (memoryMB) return start(platform, { wasm, name: wasm === undefined ? build(several) : undefined, most: memoryMB * PAGES_IN_MB, instance });
  if (wasm !== undefined) return once('given', () => start(platform, { wasm, instance }));
  const threaded = build(true);
  if (several && started.has(threaded)) return started.get(threaded);
  const memory = several ? newMemory(true) : null;
  const name = build(Boolean(memory));
  return once(name, () => start(platform, { name, memory, instance }));
}

const PAGES_IN_MB = 16;
const FEWEST_PAGES = 4 * PAGES_IN_MB; // more than the module asks for at its start, less than any model needs

// 4 GiB are as much as the module can address; some systems grant less. Null where there is none.
function newMemory(shared, most = 65_536) {
  for (const maximum of new Set([most, Math.min(most, 32_768), Math.min(most, 16_384)])) {
    try {
      return new WebAssembly.Memory({ initial: FEWEST_PAGES, maximum, shared });
    } catch {
      // the next one is smaller
    }
  }
  return null;
}

// `name`: the build, unless a module is given; `memory`: one that is there already; `most`: the pages it may grow to.
async function start(platform, { wasm, name, memory, most, instance }) {
  if (typeof WebAssembly === 'undefined') throw unsupported('WebAssembly is switched off here (a browser setting or lockdown mode): switch it on for this page.');
  if (!hasSimd()) throw unsupported('This engine needs WebAssembly SIMD: use Chrome 91, Firefox 89, Safari 16.4, Node 20 or newer.');
  const loading = name && loadGlue(platform, name);
  loading?.catch(() => {}); // heard below, after the module
  const source = await platform.wasm(wasm, name);
  const module = await compile(source).catch(noStart);
  const build = name ?? buildOf(module);
  const glue = (await (loading ?? loadGlue(platform, build))).instantiate();
  const threaded = build.endsWith('-threads');
  memory ??= newMemory(threaded, most);
  if (!memory) throw new RerankError('oom', 'There is no memory for the engine: close other tabs, or choose a smaller memoryMB.');
  await glue.start({ module_or_path: module, memory }).catch(noStart);
  const { Engine } = glue;
  return { Engine, pool: threaded ? new Pool({ Engine, build, module, memory, instance }, platform) : null };
}

async function loadGlue(platform, build) {
  const load = platform.builds[build];
  if (!load) throw unsupported(`The build ${build} of the module does not run here: pass dist/edge_reranker_bg.wasm or dist/edge_reranker_relaxed_bg.wasm as \`wasm\`.`);
  try {
    return await load();
  } catch (cause) {
    throw new RerankError('download', `Cannot load the script of the build ${build}: ${cause.message}. Serve the package's dist folder beside its src folder.`, { cause });
  }
}

async function compile(source) {
  if (source instanceof WebAssembly.Module) return source;
  if (!(source instanceof Response)) return WebAssembly.compile(source);
  const streams = WebAssembly.compileStreaming && source.headers.get('Content-Type') === 'application/wasm';
  return streams ? WebAssembly.compileStreaming(source) : WebAssembly.compile(await source.arrayBuffer());
}

function noStart(cause) {
  const csp = /content security policy|unsafe-eval|disallowed by embedder/i.test(cause.message);
  throw unsupported(
    csp
      ? "The page's Content-Security-Policy forbids WebAssembly: add 'wasm-unsafe-eval' to script-src."
      : `The WebAssembly module does not start: ${cause.message}. Is the .wasm file one of this package version, whole, and not an HTML page?`,
  );
}

// Fetches the module from an address, so that it compiles while it arrives.
export async function fetchWasm(url) {
  let response;
  try {
    response = await fetch(url);
  } catch (cause) {
    throw new RerankError('download', `Cannot download ${url}: ${cause.message}. Serve the .wasm file beside the scripts or pass the \`wasm\` option.`, { cause });
  }
  if (response.ok) return response;
  throw new RerankError('download', `Cannot download ${url}: the server answered ${response.status}. Serve the .wasm file beside the scripts or pass the \`wasm\` option.`);
}
