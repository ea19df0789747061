// Rows of f32 to bytes in blocks: q = round(x / scale), scale = largest magnitude / 127; and with each scale the block's scale * sum of q,
// which weights with a least value need. One thread a block.
struct Params {
  blocks: u32, // of all rows
}
@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<vec4<f32>>;         // [blocks, BLOCK4]
@group(1) @binding(1) var<storage, read_write> bytes: array<u32>;      // [blocks, BLOCK4] of four
@group(1) @binding(2) var<storage, read_write> scales: array<vec2<f32>>; // [blocks]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let block = id.x;
  if (block >= params.blocks) {
    return;
  }
  var most = vec4<f32>();
  for (var k = 0u; k < BLOCK4; k++) {
    most = max(most, abs(x[block * BLOCK4 + k]));
  }
  let scale = max(max(most.x, most.y), max(most.z, most.w)) / 127.0;
  let inverse = select(0.0, 1.0 / scale, scale > 0.0);
  var sum = 0;
  for (var k = 0u; k < BLOCK4; k++) {
    let q = clamp(vec4<i32>(round(x[block * BLOCK4 + k] * inverse)), vec4<i32>(-127), vec4<i32>(127));
    sum += q.x + q.y + q.z + q.w;
    let b = vec4<u32>(q) & vec4<u32>(0xffu);
    bytes[block * BLOCK4 + k] = b.x | (b.y << 8u) | (b.z << 16u) | (b.w << 24u);
  }
  scales[block] = vec2<f32>(scale, scale * f32(sum));
}
