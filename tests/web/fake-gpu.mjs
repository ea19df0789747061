// Puts a WebGPU without a GPU behind it into this thread.

export const LIMITS = { maxBufferSize: 2 ** 30, maxStorageBufferBindingSize: 2 ** 27, maxStorageBuffersPerShaderStage: 8, maxComputeWorkgroupStorageSize: 16384, maxComputeInvocationsPerWorkgroup: 256 };
export const HARDWARE = { vendor: 'acme', architecture: 'rocket-3', device: '', description: '', isFallbackAdapter: false };
export const SOFTWARE = { vendor: 'google', architecture: 'swiftshader', device: '', description: '', isFallbackAdapter: true };

export function fakeDevice(info = HARDWARE) {
  let lose;
  const lost = new Promise((resolve) => (lose = resolve));
  return { lost, lose, destroy: () => lose({ reason: 'destroyed', message: '' }), createBuffer() {}, queue: {}, features: new Set(), limits: LIMITS, adapterInfo: info, onuncapturederror: null };
}

export function fakeAdapter(info = HARDWARE, features = ['shader-f16', 'subgroups']) {
  return { info, features: new Set(features), limits: LIMITS, requestDevice: async () => fakeDevice(info) };
}

export function fakeGpu(requestAdapter) {
  return { wgslLanguageFeatures: new Set(['packed_4x8_integer_dot_product']), getPreferredCanvasFormat: () => 'rgba8unorm', requestAdapter };
}

// `gpu` becomes navigator.gpu; undefined takes it away. Gives the function that puts the old state back.
export function install(gpu, globals = { window: globalThis }) {
  const values = { ...globals, navigator: gpu ? { gpu, hardwareConcurrency: 4 } : {} };
  const before = Object.keys(values).map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);
  for (const [name, value] of Object.entries(values)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  return () => {
    for (const [name, descriptor] of before) {
      delete globalThis[name];
      if (descriptor) Object.defineProperty(globalThis, name, descriptor);
    }
  };
}
