// y = x W^T straight from the buffers: no workgroup memory, no barriers.
//
// For adapters whose caches serve well and whose barriers are dear, software ones above all. A thread multiplies ROWS rows by 8
// outputs held in registers; neighbouring threads have the same rows. Each reads them from the cache (@each), or each thread of a
// quad reads a quarter of them and the others get it by quadBroadcast (@quad): a register move in place of three loads. Quads
// are whole in subgroups of any size from 4 to 64.
@group(1) @binding(0) var<storage, read> x: array<vec4<f32>>; // [.., inputs4]

override WX: u32;
override WY: u32;

@compute @workgroup_size(WX, WY)
@each fn main(@builtin(global_invocation_id) id: vec3<u32>) {
@quad fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let row = (id.y + params.tile_y * WY) * ROWS;
  let column = (id.x + params.tile_x * WX) * 8u;
  let last = params.outputs - 1u;
@each  let x#r = min(row + #ru, params.rows - 1u) * params.inputs4;
@quad  let x#q = min(row + #qu * 4u + (lane & 3u), params.rows - 1u) * params.inputs4;
  let n#c = min(vec4<u32>(column + 4u * #cu) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last));
  var sum#r_#c = vec4<f32>();
  for (var block = 0u; block < params.inputs4; block += BLOCK4) {
    let s#c_0 = scale_least(n#c.x, block);
    let s#c_1 = scale_least(n#c.y, block);
    let s#c_2 = scale_least(n#c.z, block);
    let s#c_3 = scale_least(n#c.w, block);
    for (var k = block; k < block + BLOCK4; k++) {
      let w#c = mat4x4<f32>(values4(n#c.x, k) * s#c_0.x + s#c_0.y, values4(n#c.y, k) * s#c_1.x + s#c_1.y,
                            values4(n#c.z, k) * s#c_2.x + s#c_2.y, values4(n#c.w, k) * s#c_3.x + s#c_3.y);
@each      let v#r = x[x#r + k];
@quad      let p#q = x[x#q + k];
@quad      let v#r = quadBroadcast(p#d, #mu);
      sum#r_#c += v#r * w#c;
    }
  }
  store8(row + #ru, column, sum#r_0, sum#r_1);
}
