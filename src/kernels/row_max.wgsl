// The largest magnitude of every row. A workgroup a row; every thread looks at its share, then at all the shares: one barrier.
struct Params {
  width4: u32, // of a row
}
@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<vec4<f32>>;    // [rows, width4]
@group(1) @binding(1) var<storage, read_write> most: array<f32>; // [rows]

const THREADS = 64u;
var<workgroup> shares: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  var largest = vec4<f32>();
  for (var i = thread; i < params.width4; i += THREADS) {
    largest = max(largest, abs(x[group.x * params.width4 + i]));
  }
  shares[thread] = max(max(largest.x, largest.y), max(largest.z, largest.w));
  workgroupBarrier();
  if (thread > 0u) {
    return;
  }
  var all = 0.0;
  for (var i = 0u; i < THREADS; i++) {
    all = max(all, shares[i]);
  }
  most[group.x] = all;
}
