// WebGPU in this thread: which adapter there is, or in a sentence why there is none.

const ANSWER_MS = 10_000;
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|softpipe|basic render|software/i;

// While a caller's device is presented (presented.js), the browser's own `navigator.gpu` is behind this key.
export const BROWSER = Symbol('the navigator.gpu of the browser');

export const browserGpu = () => {
  const gpu = globalThis.navigator?.gpu;
  return gpu?.[BROWSER] ?? gpu;
};

// A page, or a worker of one. (Deno and Node may have a GPU too.)
export const isPage = () => globalThis.window !== undefined || globalThis.WorkerGlobalScope !== undefined;

function whyNone() {
  if (!isPage()) return 'There is no WebGPU in this runtime (navigator.gpu).';
  if (globalThis.isSecureContext === false) return 'WebGPU needs a page that came over https or from localhost, which this one did not.';
  return 'WebGPU is missing here or switched off.';
}

// What an adapter says of itself; some browsers say nothing.
export function describe({ vendor = '', architecture = '', device = '', description = '', isFallbackAdapter }) {
  const text = [vendor, architecture, device, description].join(' ');
  return { vendor, architecture, description, software: isFallbackAdapter === true || SOFTWARE.test(text) };
}

export const nameOf = ({ vendor, architecture, description }) => description || [vendor, architecture].filter(Boolean).join(' ') || 'a GPU that does not say its name';

function within(ms, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms / 1000} seconds`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Gives { adapter, info, packedInt8 }, or { adapter: null, reason }. Never rejects.
export async function findAdapter({ powerPreference, answerMs = ANSWER_MS } = {}) {
  try {
    const gpu = browserGpu();
    if (!gpu) return { adapter: null, reason: whyNone() };
    const adapter = await within(answerMs, gpu.requestAdapter(powerPreference ? { powerPreference } : {}));
    if (!adapter) return { adapter: null, reason: 'The browser offers no GPU here: there is none, or its driver or hardware acceleration is blocked or switched off.' };
    const info = describe(adapter.info ?? {});
    if (adapter.isFallbackAdapter === true) info.software = true; // where browsers used to say it
    return { adapter, info, packedInt8: gpu.wgslLanguageFeatures?.has('packed_4x8_integer_dot_product') ?? false };
  } catch (error) {
    return { adapter: null, reason: `The browser was asked for a GPU and failed: ${error?.message ?? error}.` };
  }
}
