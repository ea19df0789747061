// How fast one core multiplies and adds in WebAssembly when it does nothing else: the inner loop of a register-tiled matrix product over
// two panels that stay in the first-level cache. The modules are assembled here, byte by byte, one for each instruction and tile.
//
// Every step loads as many vectors as the tile has rows and columns, and adds each product of a row's and a column's to a sum in a register.

const STEPS = 96; // of one walk over the panels
const TILES = [[2, 4], [3, 3], [4, 2], [4, 3], [3, 4], [6, 2]]; // rows, columns; with the operands they fill up to 16 registers

const unsigned = (value) => (value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >>> 7)]);
const positive = (value) => (value < 64 ? [value] : [(value & 127) | 128, ...positive(value >>> 7)]); // of a signed number
const sized = (bytes) => [...unsigned(bytes.length), ...bytes];
const section = (id, bytes) => [id, ...sized(bytes)];
const simd = (number) => [0xfd, ...unsigned(number)];
const get = (local) => [0x20, ...unsigned(local)];
const set = (local) => [0x21, ...unsigned(local)];
const constant = (value) => [0x41, ...positive(value)];
const load = (offset) => [...get(1), ...simd(0x00), 4, ...unsigned(offset)];
const ADD_I32 = simd(0xae);

// `add` is the code that adds the product of two vectors to a sum; `operations` are those of one.
const KINDS = {
  // i32x4.relaxed_dot_i8x16_i7x16_add_s
  int8: { Panel: Int8Array, operations: 32, add: (a, b, sum) => [...get(a), ...get(b), ...get(sum), ...simd(0x113)] },
  // i32x4.dot_i16x8_s, i32x4.add
  int16: { Panel: Int16Array, operations: 16, add: (a, b, sum) => [...get(sum), ...get(a), ...get(b), ...simd(0xba), ...ADD_I32] },
  // f32x4.mul, f32x4.add
  f32: { Panel: Float32Array, operations: 8, add: (a, b, sum) => [...get(sum), ...get(a), ...get(b), ...simd(0xe6), ...simd(0xe4)] },
};

// A module with its memory `m` and the function `f`, which walks over the panels as often as its argument says.
function assemble(add, rows, columns) {
  const [walks, at, a, firstB] = [0, 1, 2, 3];
  const sums = firstB + columns;
  const stride = 16 * (rows + columns);
  const end = STEPS * stride;
  const step = [];
  for (let n = 0; n < columns; n++) step.push(...load(16 * n), ...set(firstB + n));
  for (let m = 0; m < rows; m++) {
    step.push(...load(16 * (columns + m)), ...set(a));
    for (let n = 0; n < columns; n++) step.push(...add(a, firstB + n, sums + m * columns + n), ...set(sums + m * columns + n));
  }
  const walk = [0x03, 0x40, ...step, ...get(at), ...constant(stride), 0x6a, 0x22, at, ...constant(end), 0x49, 0x0d, 0, 0x0b];
  const again = [...get(walks), ...constant(1), 0x6b, 0x22, walks, 0x0d, 0, 0x0b];
  const total = [...constant(end), ...get(sums)];
  for (let n = 1; n < rows * columns; n++) total.push(...get(sums + n), ...ADD_I32);
  total.push(...simd(0x0b), 4, 0); // v128.store
  const body = [0x03, 0x40, ...constant(0), ...set(at), ...walk, ...again, ...total, 0x0b];
  const locals = [2, 1, 0x7f, ...unsigned(1 + columns + rows * columns), 0x7b];
  return new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 1, 0x7f, 0]),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, 1]),
    ...section(7, [2, 1, 0x6d, 2, 0, 1, 0x66, 0, 0]),
    ...section(10, [1, ...sized([...locals, ...body])]),
  ]);
}

// 10^9 operations a second: calls of some milliseconds, and the best of those that take three tenths of a second together.
async function rate({ Panel, operations, add }, [rows, columns]) {
  const bytes = assemble(add, rows, columns);
  if (!WebAssembly.validate(bytes)) return null;
  const { f, m } = (await WebAssembly.instantiate(bytes)).instance.exports;
  new Panel(m.buffer).forEach((_, at, panel) => (panel[at] = (at * 37) % 64));
  const seconds = (walks) => {
    const start = performance.now();
    f(walks);
    return (performance.now() - start) / 1000;
  };
  let walks = 64;
  while (seconds(walks) < 0.005) walks *= 2;
  let best = Infinity;
  for (let spent = 0; spent < 0.3; ) {
    const took = seconds(walks);
    best = Math.min(best, took);
    spent += took;
  }
  return (walks * STEPS * rows * columns * operations) / best / 1e9;
}

/** -> { int8, int16, f32 } of one core in 10^9 operations a second, the best of all tiles; null where the browser lacks the instruction. */
export async function run() {
  const found = {};
  for (const [name, kind] of Object.entries(KINDS)) {
    const rates = [];
    for (const tile of TILES) rates.push(await rate(kind, tile));
    found[name] = rates.includes(null) ? null : Math.max(...rates);
  }
  return found;
}
