// What every matrix product has in common: its parameters and where its results go.
//
// These files are templates. A statement with #r, #q or #c is repeated for every row of a thread, every four of its rows, every four
// of its outputs (#d and #m are r / 4 and r % 4): not all compilers unroll loops, and an array that a loop indexes is memory, not
// registers. Lines with @each or @quad are for one way of fetching rows.
struct Params {
  rows: u32,      // of x and y in this dispatch
  inputs4: u32,   // K / 4
  outputs: u32,   // N: rows of this slice of W
  stride4: u32,   // of y, in vec4
  y_row: u32,     // first row in y
  column4: u32,   // first column of the slice in y, in vec4
  tile_x: u32,    // first tile of outputs
  tile_y: u32,    // first tile of rows
  mode: u32,      // 0: y = x W^T, 1: y += x W^T, 2: y = silu(gate) * up
}
@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(4) var<storage, read_write> y: array<vec4<f32>>; // [.., stride4]

// Results of a row at outputs `column` to `column + 7` of the slice. In mode 2 the rows of W are interleaved by fours: gate, up.
fn store8(row: u32, column: u32, low: vec4<f32>, high: vec4<f32>) {
  if (row >= params.rows || column >= params.outputs) {
    return;
  }
  let at = (params.y_row + row) * params.stride4 + params.column4;
  if (params.mode == 2u) {
    y[at + column / 8u] = low / (1.0 + exp(-low)) * high;
    return;
  }
  let i = at + column / 4u;
  let both = column + 4u < params.outputs;
  if (params.mode == 1u) {
    y[i] += low;
    if (both) { y[i + 1u] += high; }
  } else {
    y[i] = low;
    if (both) { y[i + 1u] = high; }
  }
}
