// RMSNorm on every head of a row, then the rotary position embedding: elements i and i + D/2 turn together. In place.
//
// 16 threads a head, four heads a workgroup; a thread keeps its pairs' sum of squares, one barrier shares them.
struct Params {
  heads: u32,
  head_dim: u32,  // D without padding
  stride: u32,    // of a row of x
  head_stride: u32, // D with padding
  x_row: u32,     // first row in x
  position: u32,  // where the rows' positions start
  eps: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read_write> x: array<f32>;      // [.., stride]
@group(1) @binding(1) var<storage, read> w: array<f32>;            // [D]
@group(1) @binding(2) var<storage, read> positions: array<u32>;
@group(1) @binding(3) var<storage, read> angles: array<vec2<f32>>; // [positions, D/2] cosine, sine

const SHARE = 16u;
var<workgroup> sums: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let share = thread % SHARE;
  let head = group.y * 4u + thread / SHARE;
  let half = params.head_dim / 2u;
  let at = (params.x_row + group.x) * params.stride + min(head, params.heads - 1u) * params.head_stride;
  var sum = 0.0;
  for (var i = share; i < half; i += SHARE) {
    let a = x[at + i];
    let b = x[at + i + half];
    sum += a * a + b * b;
  }
  sums[thread] = sum;
  workgroupBarrier();
  sum = 0.0;
  for (var i = 0u; i < SHARE; i++) {
    sum += sums[thread - share + i];
  }
  if (head >= params.heads) {
    return;
  }
  let scale = inverseSqrt(sum / f32(params.head_dim) + params.eps);
  let angle = positions[params.position + group.x] * half;
  for (var i = share; i < half; i += SHARE) {
    let a = x[at + i] * scale * w[i];
    let b = x[at + i + half] * scale * w[i + half];
    let turn = angles[angle + i];
    x[at + i] = a * turn.x - b * turn.y;
    x[at + i + half] = b * turn.x + a * turn.y;
  }
}
