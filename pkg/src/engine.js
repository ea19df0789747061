// The WebAssembly module, loaded once a thread.
import { hasSimd } from './capabilities.js';
import { RerankError, unsupported } from './errors.js';

let loading = null;

export function loadEngine(platform, wasm) {
  loading ??= start(platform, wasm).catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}

async function start(platform, wasm) {
  if (typeof WebAssembly === 'undefined') throw unsupported('WebAssembly is switched off here (a browser setting or lockdown mode): switch it on for this page.');
  if (!hasSimd()) throw unsupported('This engine needs WebAssembly SIMD: use Chrome 91, Firefox 89, Safari 16.4, Node 20 or newer.');
  const [glue, source] = await Promise.all([import('../dist/edge_reranker.js').catch(noGlue), platform.wasm(wasm)]);
  try {
    await glue.default({ module_or_path: source });
  } catch (cause) {
    const csp = /content security policy|unsafe-eval|disallowed by embedder/i.test(cause.message);
    throw unsupported(
      csp
        ? "The page's Content-Security-Policy forbids WebAssembly: add 'wasm-unsafe-eval' to script-src."
        : `The WebAssembly module does not start: ${cause.message}. Is the .wasm file the one of this package version, whole, and not an HTML page?`,
    );
  }
  return glue.Engine;
}

function noGlue(cause) {
  throw new RerankError('download', `Cannot load dist/edge_reranker.js: ${cause.message}. Serve the package's dist folder beside its src folder.`, { cause });
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
