// Which device computes, and why. It is decided in the thread where the engine will run.
import { RerankError } from './errors.js';
import { describe, findAdapter, nameOf } from './gpu.js';

const WHICH = "use device 'auto' or 'wasm'";

const hasSubgroups = (gpu) => gpu?.features?.has('subgroups') ?? false;

// What an adapter (gpu.js) speaks for.
export function recommend({ adapter, info, reason }) {
  if (!adapter) return { device: 'wasm', reason: `${reason} The CPU computes.` };
  if (info.software) return { device: 'wasm', reason: `The only GPU offered here is one in software (${nameOf(info)}), which is slower than the CPU itself. The CPU computes.` };
  return { device: 'webgpu', reason: `The GPU computes through WebGPU: ${nameOf(info)}.` };
}

// Gives { device, reason, adapter?, subgroups? }, where `adapter` names the adapter.
export async function chooseDevice(wanted, { powerPreference, given }) {
  if (given) return chooseGiven(given);
  if (wanted === 'wasm') return { device: 'wasm', reason: 'The CPU was asked for.' };
  const found = await findAdapter({ powerPreference });
  const adapter = found.adapter && nameOf(found.info);
  const subgroups = hasSubgroups(found.adapter);
  if (wanted !== 'webgpu') return { ...recommend(found), adapter, subgroups };
  if (!found.adapter) throw new RerankError('webgpu-unavailable', `${found.reason} To compute on the CPU, ${WHICH}.`);
  return { device: 'webgpu', adapter, subgroups, reason: `WebGPU was asked for: ${adapter}${found.info.software ? ', which is a GPU in software' : ''}.` };
}

async function chooseGiven(device) {
  const lost = await Promise.race([device.lost.then(() => true), new Promise((done) => setTimeout(done, 0, false))]);
  if (lost) throw new RerankError('device-lost', 'options.gpu.device was lost or destroyed: give a new one.');
  const adapter = nameOf(describe(device.adapterInfo ?? {}));
  return { device: 'webgpu', adapter, subgroups: hasSubgroups(device), reason: `The GPUDevice that was given computes: ${adapter}.` };
}

// Failures of the GPU that leave the CPU as it was.
export const isOfGpu = (error) => ['webgpu-unavailable', 'device-lost', 'oom', 'unsupported'].includes(error.code);
