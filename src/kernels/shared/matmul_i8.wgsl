// Operands of the products in packed bytes: x as bytes in blocks of BLOCK4 * 4 with a scale each.
@group(1) @binding(0) var<storage, read> x: array<u32>; // [.., inputs4] of four bytes
@group(1) @binding(1) var<storage, read> x_scales: array<vec2<f32>>; // [.., inputs4 / BLOCK4] scale, scale * sum of bytes

fn dots(v: u32, w: vec4<u32>) -> vec4<i32> {
  return vec4<i32>(dot4I8Packed(v, w.x), dot4I8Packed(v, w.y), dot4I8Packed(v, w.z), dot4I8Packed(v, w.w));
}
