// How fast the adapter multiplies and adds when it does nothing else: the inner step of a register-tiled matrix product, with no memory in it.
//
// Every invocation holds a tile of sums in registers and adds outer products to it. One operand of each product is a row of the tile itself,
// so it changes at every step and no product can be taken out of the loop; the other is small, so the sums stay finite. Tiles of several
// sizes are tried, since an adapter with few registers wants a small one and an adapter with long latencies a large one.

const STEPS = 256;
const WORKGROUP = 64;
const TILES = [2, 4, 8]; // rows of 4 sums

// The first half of the rows takes its operands from the last row, the second half from the last row of the first.
function shader(rows, { type, enable = '', first, operands, add }) {
  const all = Array.from({ length: rows }, (_, at) => `c${at}`);
  const adds = (part, from, b) => part.map((row, at) => add(row, `${from}.${'xyzw'[at]}`, b)).join('\n    ');
  return `${enable}
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<uniform> seed: vec4<f32>;
@compute @workgroup_size(${WORKGROUP}) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  ${all.map((row, at) => `var ${row} = vec4<${type}>(${first(at)});`).join('\n  ')}
  let b0 = ${operands};
  let b1 = b0.wzyx;
  for (var step = 0u; step < ${STEPS}u; step++) {
    let r = ${all.at(-1)};
    ${adds(all.slice(0, rows / 2), 'r', 'b0')}
    let s = ${all[rows / 2 - 1]};
    ${adds(all.slice(rows / 2), 's', 'b1')}
  }
  let sum = ${all.join(' + ')};
  out[id.x] = f32(sum.x + sum.y + sum.z + sum.w);
}`;
}

const float = (type, enable) => ({
  type,
  enable,
  first: (at) => `${type}((id.x & 7u) + ${at}u)`,
  operands: `vec4<${type}>(seed) * vec4<${type}>(1, -1, 1, -1)`,
  add: (row, operand, b) => `${row} = fma(vec4<${type}>(${operand}), ${b}, ${row});`,
});

const packed = {
  type: 'i32',
  first: (at) => `i32(id.x * 747796405u + ${at}u)`,
  operands: 'bitcast<vec4<u32>>(seed)',
  add: (row, operand, b) => `${row} += vec4<i32>(${[...'xyzw'].map((part) => `dot4I8Packed(bitcast<u32>(${operand}), ${b}.${part})`).join(', ')});`,
};

// `values` is how many products one operation of a component makes.
const KINDS = [
  { name: 'f32', source: float('f32'), values: 1 },
  { name: 'f16', source: float('f16', 'enable f16;'), values: 1, feature: 'shader-f16' },
  { name: 'dot4I8Packed', source: packed, values: 4, language: 'packed_4x8_integer_dot_product' },
];

/** -> { adapter, gigaOps: { f32, f16, dot4I8Packed } }, null where there is no adapter. Kinds that the adapter lacks are null. */
export async function run() {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) return null;
  const { vendor, architecture, device: model, description, subgroupMinSize, subgroupMaxSize, isFallbackAdapter } = adapter.info;
  const device = await adapter.requestDevice({ requiredFeatures: ['shader-f16'].filter((name) => adapter.features.has(name)) });
  const gigaOps = {};
  for (const { name, source, values, feature, language } of KINDS) {
    const there = (!feature || adapter.features.has(feature)) && (!language || navigator.gpu.wgslLanguageFeatures.has(language));
    const rates = [];
    for (const rows of there ? TILES : []) {
      const invocations = await perSecond(device, shader(rows, source)).catch((error) => console.error(`${name}: ${error.message}`));
      if (invocations) rates.push((invocations * STEPS * rows * 4 * values * 2) / 1e9);
    }
    gigaOps[name] = rates.length ? Math.max(...rates) : null;
  }
  device.destroy();
  const software = isFallbackAdapter || /swiftshader|llvmpipe/i.test(`${architecture} ${model} ${description}`);
  const f16 = adapter.features.has('shader-f16');
  return { adapter: { vendor, architecture, device: model, description, software, f16, subgroups: [subgroupMinSize, subgroupMaxSize] }, gigaOps };
}

// Invocations a second: as many workgroups as take a fifth of a second, and the best of five such runs.
async function perSecond(device, code) {
  const pipeline = await device.createComputePipelineAsync({ layout: 'auto', compute: { module: device.createShaderModule({ code }) } });
  const most = 65_535; // workgroups a dispatch
  const out = device.createBuffer({ size: most * WORKGROUP * 4, usage: GPUBufferUsage.STORAGE });
  const seed = device.createBuffer({ size: 16, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
  device.queue.writeBuffer(seed, 0, new Float32Array([1e-4, 2e-4, 3e-4, 4e-4]));
  const entries = [out, seed].map((buffer, binding) => ({ binding, resource: { buffer } }));
  const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });

  async function seconds(workgroups) {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    for (let left = workgroups; left > 0; left -= most) pass.dispatchWorkgroups(Math.min(left, most));
    pass.end();
    const start = performance.now();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    return (performance.now() - start) / 1000;
  }

  let workgroups = 64;
  while ((await seconds(workgroups)) < 0.2) workgroups *= 2;
  let best = Infinity;
  for (let run = 0; run < 5; run++) best = Math.min(best, await seconds(workgroups));
  out.destroy();
  seed.destroy();
  return (workgroups * WORKGROUP) / best;
}
