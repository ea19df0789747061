// y = x W^T with both sides in bytes, through workgroup memory; see matmul_tile and matmul_i8_direct.
//
// One block of BLOCK4 * 4 inputs is staged at a time, with its scales.
override WX: u32;
override WY: u32;
var<workgroup> xs: array<u32, WY * ROWS * (BLOCK4 + 1u)>;
var<workgroup> ws: array<u32, WX * 8u * (BLOCK4 + 1u)>;
var<workgroup> x_blocks: array<vec2<f32>, WY * ROWS>;
var<workgroup> w_blocks: array<vec2<f32>, WX * 8u>;

@compute @workgroup_size(WX, WY)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) at: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let row = (group.y + params.tile_y) * WY * ROWS;
  let column = (group.x + params.tile_x) * WX * 8u;
  let slot = BLOCK4 + 1u;
  let xj = WY * slot;
  let wj = WX * slot;
  var sum#r_#c = vec4<f32>();
  for (var block = 0u; block < params.inputs4; block += BLOCK4) {
    for (var i = thread; i < WY * ROWS * BLOCK4; i += WX * WY) {
      let n = i / BLOCK4;
      let k = i % BLOCK4;
      let source = min(row + n, params.rows - 1u) * params.inputs4 + block;
      let to = (n % ROWS) * WY + n / ROWS;
      xs[to * slot + k] = x[source + k];
      if (k == 0u) { x_blocks[to] = x_scales[source / BLOCK4]; }
    }
    for (var i = thread; i < WX * 8u * BLOCK4; i += WX * WY) {
      let n = i / BLOCK4;
      let k = i % BLOCK4;
      let source = min(column + n, params.outputs - 1u);
      let to = (n % 8u) * WX + n / 8u;
      ws[to * slot + k] = quants4(source, block + k);
      if (k == 0u) { w_blocks[to] = scale_least(source, block); }
    }
    workgroupBarrier();
    var dot#r_#c = vec4<i32>();
    for (var k = 0u; k < BLOCK4; k++) {
      let wi = at.x * slot + k;
      let xi = at.y * slot + k;
      let w#c = vec4<u32>(ws[wi + #cu * 4u * wj], ws[wi + (#cu * 4u + 1u) * wj],
                          ws[wi + (#cu * 4u + 2u) * wj], ws[wi + (#cu * 4u + 3u) * wj]);
      let v#r = xs[xi + #ru * xj];
      dot#r_#c += dots(v#r, w#c);
    }
    let s#c = transpose(mat4x2<f32>(w_blocks[at.x + #cu * 4u * WX], w_blocks[at.x + (#cu * 4u + 1u) * WX],
                                    w_blocks[at.x + (#cu * 4u + 2u) * WX], w_blocks[at.x + (#cu * 4u + 3u) * WX]));
    let t#r = x_blocks[at.y + #ru * WY];
    sum#r_#c += vec4<f32>(dot#r_#c) * (t#r.x * s#c[0]) + t#r.y * s#c[1];
    workgroupBarrier();
  }
  store8(row + at.y * ROWS + #ru, column + at.x * 8u, sum#r_0, sum#r_1);
}
