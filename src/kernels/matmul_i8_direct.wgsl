// y = x W^T with both sides in bytes, straight from the buffers; @each and @quad as in matmul_direct.
//
// A block's products are summed in i32, exactly, and scaled once: (sum of q_x q_w) * s_x * s_w + (s_x * sum of q_x) * least_w.
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
    var dot#r_#c = vec4<i32>();
    for (var k = block; k < block + BLOCK4; k++) {
      let w#c = vec4<u32>(quants4(n#c.x, k), quants4(n#c.y, k), quants4(n#c.z, k), quants4(n#c.w, k));
@each      let v#r = x[x#r + k];
@quad      let p#q = x[x#q + k];
@quad      let v#r = quadBroadcast(p#d, #mu);
      dot#r_#c += dots(v#r, w#c);
    }
    let s#c = transpose(mat4x2<f32>(scale_least(n#c.x, block), scale_least(n#c.y, block),
                                    scale_least(n#c.z, block), scale_least(n#c.w, block)));
@each    let t#r = x_scales[(x#r + block) / BLOCK4];
@quad    let u#q = x_scales[(x#q + block) / BLOCK4];
@quad    let t#r = quadBroadcast(u#d, #mu);
    sum#r_#c += vec4<f32>(dot#r_#c) * (t#r.x * s#c[0]) + t#r.y * s#c[1];
  }
  store8(row + #ru, column, sum#r_0, sum#r_1);
}
