// What the module finds at `navigator.gpu` while it loads: an adapter that hands out a caller's own GPUDevice, or the browser's
// own adapter, which is asked for subgroups too, since the library that the module is built on does not know how to.
import { unsupported } from './errors.js';
import { BROWSER, browserGpu, isPage } from './gpu.js';

const UNKNOWN = { vendor: '', architecture: '', device: '', description: '', subgroupMinSize: 4, subgroupMaxSize: 128, isFallbackAdapter: false };

const LABEL = 'edge-reranker'; // of the devices that the module asks for

const ordinary = new Set(); // loads on devices of their own
let alone = Promise.resolve(); // the last load on a given device
let sharers = 0;
let restore = null; // undoes what ordinary loads share

// Runs `load` so that no other load in this thread sees the `device`, if one is given.
export function inTurn(device, load) {
  const turn = Promise.allSettled(device ? [alone, ...ordinary] : [alone]).then(() => (device ? presenting(device, load) : sharing(load)));
  if (device) alone = turn;
  else {
    ordinary.add(turn);
    turn.catch(() => {}).finally(() => ordinary.delete(turn));
  }
  return turn;
}

async function presenting(device, load) {
  const adapter = {
    features: device.features,
    limits: device.limits,
    info: device.adapterInfo ?? UNKNOWN,
    requestDevice: async () => device,
  };
  const undo = present(async () => adapter);
  if (!undo) throw unsupported('options.gpu.device cannot be used here, since navigator.gpu is locked: leave it out.');
  try {
    return await load();
  } finally {
    undo();
  }
}

// Loads on devices of their own may run at once; the last one to end restores what the first one found.
async function sharing(load) {
  sharers += 1;
  restore ??= present(async (options) => withSubgroups(await browserGpu().requestAdapter(options))) ?? (() => {});
  try {
    return await load();
  } finally {
    sharers -= 1;
    if (!sharers) {
      restore();
      restore = null;
    }
  }
}

// Puts something in the place of `navigator.gpu`. Gives what undoes it, or null where it is locked. The module looks for it in pages and
// their workers only: elsewhere (Deno, Node) the mark of a worker is there meanwhile.
function present(requestAdapter) {
  const ownNavigator = globalThis.navigator === undefined; // a caller's GPUDevice needs none
  if (ownNavigator) globalThis.navigator = {};
  const { navigator } = globalThis;
  const { gpu } = navigator;
  const marked = !isPage();
  const before = Object.getOwnPropertyDescriptor(navigator, 'gpu');
  const value = {
    [BROWSER]: gpu,
    wgslLanguageFeatures: new Set(gpu?.wgslLanguageFeatures ?? []), // a true Set, which not every implementation gives
    getPreferredCanvasFormat: () => gpu?.getPreferredCanvasFormat() ?? 'bgra8unorm',
    requestAdapter,
  };
  try {
    Object.defineProperty(navigator, 'gpu', { value, configurable: true });
  } catch {
    return null;
  }
  if (marked) globalThis.WorkerGlobalScope = class WorkerGlobalScope {};
  return () => {
    if (marked) delete globalThis.WorkerGlobalScope;
    if (ownNavigator) delete globalThis.navigator;
    if (before) Object.defineProperty(navigator, 'gpu', before);
    else delete navigator.gpu;
  };
}

// The adapter itself; only what the module asks of it is changed.
function withSubgroups(adapter) {
  if (!adapter?.features.has('subgroups')) return adapter;
  const ask = adapter.requestDevice.bind(adapter);
  adapter.requestDevice = (descriptor) => ask(descriptor?.label === LABEL ? { ...descriptor, requiredFeatures: [...(descriptor.requiredFeatures ?? []), 'subgroups'] } : descriptor);
  return adapter;
}
