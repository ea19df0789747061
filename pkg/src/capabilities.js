// What this machine and this runtime can do, and what is recommended because of it.

const HEADER = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10];
const SIMD = [10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];
const RELAXED_SIMD = [15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11];

const knows = (body) => typeof WebAssembly !== 'undefined' && WebAssembly.validate(new Uint8Array([...HEADER, ...body]));

export const hasSimd = () => knows(SIMD);

async function adapter() {
  try {
    return (await globalThis.navigator?.gpu?.requestAdapter()) ?? null;
  } catch {
    return null;
  }
}

export async function capabilities(cores = globalThis.navigator?.hardwareConcurrency ?? 1) {
  const gpu = await adapter();
  const simd = hasSimd();
  return {
    webgpu: Boolean(gpu),
    f16: gpu?.features.has('shader-f16') ?? false,
    subgroups: gpu?.features.has('subgroups') ?? false,
    simd,
    relaxedSimd: knows(RELAXED_SIMD),
    threads: typeof SharedArrayBuffer !== 'undefined' && globalThis.crossOriginIsolated !== false ? cores : 1,
    limits: {
      maxBufferSize: gpu?.limits.maxBufferSize ?? null,
      maxStorageBufferBindingSize: gpu?.limits.maxStorageBufferBindingSize ?? null,
      wasmMemory: 65_536 * 65_536,
    },
    recommended: simd
      ? { device: 'wasm', reason: 'This version computes on the CPU with WebAssembly SIMD, which is available here.' }
      : { device: null, reason: 'WebAssembly SIMD is missing here: use Chrome 91, Firefox 89, Safari 16.4, Node 20 or newer.' },
  };
}
