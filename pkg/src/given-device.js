// A caller's own GPUDevice. The module asks `navigator.gpu` for an adapter and that for a device, so while it loads it finds
// there an adapter that hands out the caller's.
import { unsupported } from './errors.js';
import { BROWSER } from './gpu.js';

const UNKNOWN = { vendor: '', architecture: '', device: '', description: '', subgroupMinSize: 4, subgroupMaxSize: 128, isFallbackAdapter: false };

const ordinary = new Set(); // loads on devices of their own
let alone = Promise.resolve(); // the last load on a given device

// Runs `load` so that no other load in this thread sees the `device`, if one is given.
export function inTurn(device, load) {
  const turn = Promise.allSettled(device ? [alone, ...ordinary] : [alone]).then(() => (device ? presenting(device, load) : load()));
  if (device) alone = turn;
  else {
    ordinary.add(turn);
    turn.catch(() => {}).finally(() => ordinary.delete(turn));
  }
  return turn;
}

async function presenting(device, load) {
  const { navigator } = globalThis;
  const before = Object.getOwnPropertyDescriptor(navigator, 'gpu');
  try {
    Object.defineProperty(navigator, 'gpu', { value: stage(device, navigator.gpu), configurable: true });
  } catch {
    throw unsupported('options.gpu.device cannot be used here, since navigator.gpu is locked: leave it out.');
  }
  try {
    return await load();
  } finally {
    if (before) Object.defineProperty(navigator, 'gpu', before);
    else delete navigator.gpu;
  }
}

function stage(device, gpu) {
  const adapter = {
    features: device.features,
    limits: device.limits,
    info: device.adapterInfo ?? UNKNOWN,
    requestDevice: async () => device,
  };
  return {
    [BROWSER]: gpu,
    wgslLanguageFeatures: gpu?.wgslLanguageFeatures ?? new Set(),
    getPreferredCanvasFormat: () => gpu?.getPreferredCanvasFormat() ?? 'bgra8unorm',
    requestAdapter: async () => adapter,
  };
}
