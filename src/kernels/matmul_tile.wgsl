// y = x W^T through workgroup memory, in f32 or f16 (sums always f32).
//
// A workgroup computes WY * ROWS rows by WX * 8 outputs. For every BK4 * 4 inputs it stages a tile of x and a tile of W, unpacked
// once for all its threads; a thread then multiplies ROWS rows by 8 outputs held in registers: (ROWS + 8) reads for 8 * ROWS
// products of four. A tile's row n lies at slot (n % run) * threads + n / run, and slots are one vec4 longer than their
// data, so that neighbouring threads read different banks.
@group(1) @binding(0) var<storage, read> x: array<vec4<f32>>; // [.., inputs4]

override WX: u32;
override WY: u32;
override BK4: u32;
var<workgroup> xs: array<Vec, WY * ROWS * (BK4 + 1u)>;
var<workgroup> ws: array<Vec, WX * 8u * (BK4 + 1u)>;

@compute @workgroup_size(WX, WY)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) at: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let row = (group.y + params.tile_y) * WY * ROWS;
  let column = (group.x + params.tile_x) * WX * 8u;
  let slot = BK4 + 1u;
  let xj = WY * slot;
  let wj = WX * slot;
  var sum#r_#c = vec4<f32>();
  for (var k4 = 0u; k4 < params.inputs4; k4 += BK4) {
    for (var i = thread; i < WY * ROWS * BK4; i += WX * WY) {
      let n = i / BK4;
      let k = i % BK4;
      let source = min(row + n, params.rows - 1u);
      xs[((n % ROWS) * WY + n / ROWS) * slot + k] = Vec(x[source * params.inputs4 + k4 + k] / row_scale(source));
    }
    for (var i = thread; i < WX * 8u * BK4; i += WX * WY) {
      let n = i / BK4;
      let k = i % BK4;
      let source = min(column + n, params.outputs - 1u);
      let s = scale_least(source, k4 + k);
      ws[((n % 8u) * WX + n / 8u) * slot + k] = Vec(values4(source, k4 + k) * s.x + s.y);
    }
    workgroupBarrier();
    for (var k = 0u; k < BK4; k++) {
      let wi = at.x * slot + k;
      let xi = at.y * slot + k;
      let w#c = Mat(ws[wi + #cu * 4u * wj], ws[wi + (#cu * 4u + 1u) * wj],
                    ws[wi + (#cu * 4u + 2u) * wj], ws[wi + (#cu * 4u + 3u) * wj]);
      let x#r = xs[xi + #ru * xj];
      sum#r_#c += vec4<f32>(x#r * w#c);
    }
    workgroupBarrier();
  }
  let scale#r = row_scale(min(row + at.y * ROWS + #ru, params.rows - 1u));
  store8(row + at.y * ROWS + #ru, column + at.x * 8u, sum#r_0 * scale#r, sum#r_1 * scale#r);
}
