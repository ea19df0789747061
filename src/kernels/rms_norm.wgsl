// y = x / sqrt(mean(x^2) + eps) * w. A workgroup a row; every thread sums its share, then all the shares: one barrier.
struct Params {
  width4: u32, // of a row, padding (zeros) included
  x_row: u32,  // first row in x
  width: f32,  // of a row without its padding
  eps: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<vec4<f32>>;       // [.., width4]
@group(1) @binding(1) var<storage, read> w: array<vec4<f32>>;       // [width4]
@group(1) @binding(2) var<storage, read_write> y: array<vec4<f32>>; // [.., width4]

const THREADS = 64u;
var<workgroup> sums: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let source = (params.x_row + group.x) * params.width4;
  let to = group.x * params.width4;
  var sum = 0.0;
  for (var i = thread; i < params.width4; i += THREADS) {
    let v = x[source + i];
    sum += dot(v, v);
  }
  sums[thread] = sum;
  workgroupBarrier();
  sum = 0.0;
  for (var i = 0u; i < THREADS; i++) {
    sum += sums[i];
  }
  let scale = inverseSqrt(sum / params.width + params.eps);
  for (var i = thread; i < params.width4; i += THREADS) {
    y[to + i] = x[source + i] * scale * w[i];
  }
}
