// Runs the GPU kernels' case list on this browser's WebGPU, with nothing of the package: what a shader gives is its own work.

const FEATURES = ['shader-f16', 'subgroups'];
const QUAD = 4; // lanes that the kernels with subgroups share rows in
const READERS = { f32: Float32Array, i8: Int8Array };

const bytesOf = (base64) => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));

// Gives { adapter, features, ran, skipped: [{ name, why }], failures: [{ name, error }] }. `log` hears of every kernel.
export async function runCases(cases, { log = () => {} } = {}) {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) throw new Error('There is no WebGPU adapter.');
  const { vendor, architecture, device: card, description, subgroupMinSize } = adapter.info ?? {};
  const features = FEATURES.filter((name) => adapter.features.has(name));
  const language = navigator.gpu.wgslLanguageFeatures ?? new Set();
  const result = {
    adapter: { vendor, architecture, device: card, description, subgroupMinSize },
    features: [...features, ...language],
    ran: 0,
    skipped: [],
    failures: [],
  };
  const device = await adapter.requestDevice({ requiredFeatures: features });
  let lost = null;
  device.lost.then(({ reason, message }) => (lost = `the device is lost (${reason}): ${message}`));
  const kernels = new Map();
  for (const given of cases) {
    const { name, kernel, source, constants, access } = given;
    const why = lacking(given, features, language, subgroupMinSize);
    if (why) {
      result.skipped.push({ name, why });
      continue;
    }
    try {
      const key = JSON.stringify([source, constants, access]);
      if (!kernels.has(key)) {
        log(kernel);
        kernels.set(key, compile(device, given));
      }
      const got = await dispatch(device, await kernels.get(key), given);
      const error = compare(got, given);
      if (error) result.failures.push({ name, error });
    } catch (error) {
      result.failures.push({ name, error: String(error?.message ?? error) });
    }
    result.ran++;
    if (lost) {
      result.failures.push({ name, error: lost });
      break;
    }
  }
  device.destroy();
  return result;
}

function lacking({ features, languageFeatures }, has, language, subgroupMinSize = QUAD) {
  const missing = features.find((name) => !has.includes(name)) ?? languageFeatures.find((name) => !language.has(name));
  if (missing) return `no ${missing}`;
  return features.includes('subgroups') && subgroupMinSize < QUAD ? `subgroups of ${subgroupMinSize}` : null;
}

// What `make` gives; an error that WebGPU reports on the way is thrown.
async function guarded(device, make) {
  const kinds = ['validation', 'internal', 'out-of-memory'];
  for (const kind of kinds) device.pushErrorScope(kind);
  const [made] = await Promise.allSettled([make()]);
  const errors = (await Promise.all(kinds.map(() => device.popErrorScope()))).filter(Boolean);
  if (errors.length > 0) throw new Error(errors.map(({ message }) => message).join('; '));
  if (made.status === 'rejected') throw made.reason;
  return made.value;
}

const entry = (binding, type) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } });

async function compile(device, { source, constants, access }) {
  const groups = [
    device.createBindGroupLayout({ entries: [entry(0, 'uniform')] }),
    device.createBindGroupLayout({ entries: access.map((kind, at) => entry(at, kind === 'read' ? 'read-only-storage' : 'storage')) }),
  ];
  let module;
  try {
    return await guarded(device, () => {
      module = device.createShaderModule({ code: source });
      const layout = device.createPipelineLayout({ bindGroupLayouts: groups });
      return device.createComputePipelineAsync({ layout, compute: { module, constants } });
    });
  } catch (error) {
    const { messages } = await module.getCompilationInfo();
    const told = messages.filter(({ type }) => type === 'error').map(({ lineNum, linePos, message }) => `${lineNum}:${linePos} ${message}`);
    throw new Error([...told, error.message].join('\n'));
  }
}

function dispatch(device, pipeline, { params, buffers, output, grid }) {
  const used = [];
  const buffer = (data, usage) => {
    const made = device.createBuffer({ size: data.byteLength, usage: usage | GPUBufferUsage.COPY_DST });
    device.queue.writeBuffer(made, 0, data);
    used.push(made);
    return made;
  };
  const bind = (group, bound) =>
    device.createBindGroup({ layout: pipeline.getBindGroupLayout(group), entries: bound.map((made, binding) => ({ binding, resource: { buffer: made } })) });
  return guarded(device, async () => {
    const uniform = buffer(Uint32Array.from(params), GPUBufferUsage.UNIFORM);
    const storage = buffers.map((base64) => buffer(bytesOf(base64), GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC));
    const { size } = storage[output];
    const back = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    used.push(back);
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bind(0, [uniform]));
    pass.setBindGroup(1, bind(1, storage));
    pass.dispatchWorkgroups(...grid);
    pass.end();
    encoder.copyBufferToBuffer(storage[output], 0, back, 0, size);
    device.queue.submit([encoder.finish()]);
    await back.mapAsync(GPUMapMode.READ);
    return back.getMappedRange().slice(0);
  }).finally(() => used.forEach((made) => made.destroy()));
}

// Null if all is within the tolerance, else a sentence about the worst element.
function compare(bytes, { kind, want: base64, tolerance }) {
  const got = new READERS[kind](bytes);
  const want = new READERS[kind](bytesOf(base64).buffer);
  if (got.length < want.length) return `${got.length} elements instead of ${want.length}`;
  let worst = { error: 0 };
  want.forEach((value, at) => {
    const scale = kind === 'f32' ? Math.max(1, Math.abs(value)) : 1;
    const error = Math.abs(got[at] - value) / scale;
    if (!(error <= worst.error)) worst = { error: Number.isNaN(error) ? Infinity : error, at };
  });
  return worst.error <= tolerance ? null : `element ${worst.at} is ${got[worst.at]}, want ${want[worst.at]} (error ${worst.error}, at most ${tolerance})`;
}
