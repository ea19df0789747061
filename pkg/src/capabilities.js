// What this machine and this runtime can do, and what is recommended because of it.
import { recommend } from './device.js';
import { findAdapter } from './gpu.js';
import { automatic, obstacleTo } from './threads.js';

const HEADER = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10];
const SIMD = [10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];
const RELAXED_SIMD = [15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11];

const knows = (body) => typeof WebAssembly !== 'undefined' && WebAssembly.validate(new Uint8Array([...HEADER, ...body]));

export const hasSimd = () => knows(SIMD);
export const hasRelaxedSimd = () => knows(RELAXED_SIMD);

const LIMITS = ['maxBufferSize', 'maxStorageBufferBindingSize', 'maxStorageBuffersPerShaderStage', 'maxComputeWorkgroupStorageSize', 'maxComputeInvocationsPerWorkgroup'];

export async function capabilities(platform) {
  const found = await findAdapter();
  const { adapter } = found;
  const simd = hasSimd();
  const has = (feature) => adapter?.features?.has(feature) ?? false;
  return {
    webgpu: Boolean(adapter),
    f16: has('shader-f16'),
    subgroups: has('subgroups'),
    packedInt8: found.packedInt8 ?? false,
    adapter: found.info ?? null,
    simd,
    relaxedSimd: hasRelaxedSimd(),
    threads: obstacleTo(platform) ? 1 : automatic(platform),
    limits: {
      ...Object.fromEntries(LIMITS.map((name) => [name, adapter?.limits?.[name] ?? null])),
      wasmMemory: 65_536 * 65_536,
    },
    recommended: simd
      ? recommend(found)
      : { device: null, reason: 'WebAssembly SIMD is missing here: use Chrome 91, Firefox 89, Safari 16.4, Node 20 or newer.' },
  };
}
