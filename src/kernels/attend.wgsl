// Causal attention with grouped query heads, over packed sequences with a shared prefix, in one pass over the keys.
//
//   out(p, h) = sum over keys j <= p of softmax_j(q(p, h) . k(j) * scale) v(j)        p a position, h a query head
//
// A workgroup takes one tile (consecutive queries of one sequence) and HEADS query heads that share a key/value head. Row r of
// its ROWS rows is query r / HEADS and head r % HEADS.
//
//   for each block of BLOCK keys, from position 0 to the tile's last:
//       scores   = Q K^T, slice by slice of D; the least number where the key lies behind the query
//       greatest = max(greatest, row maximum of scores); fade = 2^(old greatest - greatest)
//       weights  = 2^(scores - greatest)
//       sum, out = sum * fade + row sum of weights, out * fade + weights V, VALUES keys at a time
//   the queries = out / sum
//
// What it does and why
// - Online softmax (Milakov & Gimelshein 2018) over blocks of keys (FlashAttention: Dao et al. 2022): no score reaches the
//   storage buffers, and keys and values are read once a tile instead of once a query.
// - The heads of a group are rows of the same tile: ROWS uses of every key and value fetched, with ROWS / HEADS queries.
// - Register blocks: a thread owns 4 rows x 4 keys of the scores and 4 rows x 8 elements of the output. A vec4 read from workgroup
//   memory then feeds 8 (scores) or 10.7 (output) scalar multiply-adds. The sizes are spelled out and not looped over, so that no
//   compiler has to unroll a loop to keep them in registers.
// - A vec4 of queries is one element of four rows (transposed on the way in): products accumulate with no horizontal sum.
// - The same thread owns the same four rows in both products, so greatest, fade and the output stay in registers, and each
//   thread keeps the sum of its own keys' weights until the end. Only maxima and weights cross threads.
// - Odd pitches of keys and weights keep simultaneous accesses in different banks.
// - Scores are in base 2 (log2 e is in the queries' scale): exp2 is what hardware has.
// - No infinity and no NaN is ever formed. Key 0 is seen by every query and lies in the first block, so `greatest` is a real
//   score from then on, and 2^(least - greatest) is exactly 0: a block that a row does not see leaves that row's bits alone. Blocks
//   start at multiples of BLOCK in the sequence, so a row's result does not depend on its tile or its batch.
//
// What is still poor
// - Fetching does not overlap with computing inside a workgroup: other workgroups on the same core have to hide it.
// - Q is fetched again for each block unless QUERY_SLICE covers D, which takes 16 KiB more at ROWS = 32, D = 128.
// - Scores are computed for whole blocks: with 64 keys a block, a short sequence wastes about 20 of 100 scores (not values).
// - A tile of one row does the work of ROWS / HEADS. That is the last layer only.
// - f32 multiply-adds alone: no matrix units, no f16, no subgroups.
// - On adapters that are a CPU, a vec4 read costs as much as 4 to 16 vec4 multiply-adds and a barrier switches between threads:
//   this arrangement reaches a twentieth to a tenth of their arithmetic.

struct Params {
    first_tile: u32,
    heads: u32,
    kv_heads: u32,
    q_stride: u32,  // elements from row to row
    kv_stride: u32,
    scale: f32, // 1 / sqrt(true D)
}

// 24 bytes. The key at position p is row prefix + p where p < shared_keys, else row own + p - shared_keys.
struct Tile {
    row: u32,      // of q
    rows: u32,     // 1 to ROWS / HEADS
    position: u32, // of its first row
    prefix: u32,
    shared_keys: u32,
    own: u32,
}

// Dispatch: (tiles, heads / HEADS, 1). HEADS divides heads / kv_heads.
override VECS: u32 = 32u;       // D / 4, at most 2 * LANES
override HEADS: u32 = 2u;
override ROWS: u32 = 32u;       // multiple of 4
override LANES: u32 = 16u;      // threads that share four rows
override SLICE: u32 = 4u;       // vec4 of D of a block of keys in workgroup memory at a time
override QUERY_SLICE: u32 = 4u; // SLICE, or VECS rounded up to a multiple of SLICE: then queries are fetched once
override VALUES: u32 = 8u;      // values in workgroup memory at a time, divides BLOCK

override QUADS: u32 = ROWS / 4u;
override THREADS: u32 = QUADS * LANES;
override BLOCK: u32 = LANES * 4u;
override KEY_PITCH: u32 = SLICE | 1u;
override PITCH: u32 = QUADS | 1u;
override STAGE: u32 = max(BLOCK * KEY_PITCH, VALUES * VECS);

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read_write> q: array<vec4<f32>>;          // [C, q_stride / 4] queries, then outputs
@group(1) @binding(1) var<storage, read> keys: array<vec4<f32>>;             // [P + T, kv_stride / 4] kept prefixes, then the batch
@group(1) @binding(2) var<storage, read> values: array<vec4<f32>>;           // [P + T, kv_stride / 4]
@group(1) @binding(3) var<storage, read> tiles: array<Tile>;                 // [first_tile + tiles, or more]

var<workgroup> query_slice: array<vec4<f32>, QUERY_SLICE * ROWS>; // [QUERY_SLICE * 4, QUADS] one element of four rows
var<workgroup> stage: array<vec4<f32>, STAGE>;                    // [BLOCK, KEY_PITCH] keys or [VALUES, VECS] values
var<workgroup> weights: array<vec4<f32>, BLOCK * PITCH>;          // [BLOCK, PITCH] one key, four rows; [LANES, PITCH] maxima, sums

const LEAST = vec4<f32>(-1e30);
const LOG2_E = 1.4426950408889634;

/// Index in q of the first vec4 of row r of the workgroup.
fn row_start(tile: Tile, head: u32, r: u32) -> u32 {
    return (tile.row + r / HEADS) * (params.q_stride / 4u) + (head + r % HEADS) * VECS;
}

fn fetch_query(tile: Tile, head: u32, r: u32, c: u32) -> vec4<f32> {
    if r / HEADS >= tile.rows || c >= VECS {
        return vec4<f32>();
    }
    return q[row_start(tile, head, r) + c] * (params.scale * LOG2_E);
}

/// Index in keys and values of the first vec4 of a position's row.
fn key_row(tile: Tile, position: u32) -> u32 {
    let shared_keys = position < tile.shared_keys;
    return (select(tile.own - tile.shared_keys, tile.prefix, shared_keys) + position) * (params.kv_stride / 4u);
}

fn store(tile: Tile, head: u32, r: u32, lane: u32, a: vec4<f32>, b: vec4<f32>) {
    if r / HEADS < tile.rows {
        let at = row_start(tile, head, r) + lane;
        if lane < VECS {
            q[at] = a;
        }
        if lane + LANES < VECS {
            q[at + LANES] = b;
        }
    }
}

@compute @workgroup_size(THREADS)
fn attend(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tile = tiles[params.first_tile + workgroup.x];
    let head = workgroup.y * HEADS;
    let kv = head / (params.heads / params.kv_heads) * VECS;
    let end = tile.position + tile.rows;
    let lane = local % LANES;
    let quad = local / LANES;
    let r = quad * 4u;
    let positions = tile.position + vec4<u32>(r, r + 1u, r + 2u, r + 3u) / HEADS;
    let column_a = min(lane, VECS - 1u);
    let column_b = min(lane + LANES, VECS - 1u);

    var greatest = LEAST;
    var sum = vec4<f32>();
    var a0 = vec4<f32>(); // the output: rows r to r + 3, column_a
    var a1 = vec4<f32>();
    var a2 = vec4<f32>();
    var a3 = vec4<f32>();
    var b0 = vec4<f32>(); // and column_b
    var b1 = vec4<f32>();
    var b2 = vec4<f32>();
    var b3 = vec4<f32>();

    for (var start = 0u; start < end; start += BLOCK) {
        var s0 = vec4<f32>(); // scores: four rows, keys start + lane, + LANES, + 2 LANES, + 3 LANES
        var s1 = vec4<f32>();
        var s2 = vec4<f32>();
        var s3 = vec4<f32>();
        for (var c0 = 0u; c0 < VECS; c0 += SLICE) {
            if QUERY_SLICE < VECS || start + c0 == 0u {
                for (var i = local; i < QUADS * QUERY_SLICE; i += THREADS) {
                    let c = c0 + i % QUERY_SLICE;
                    let first = i / QUERY_SLICE * 4u;
                    let elements = transpose(mat4x4<f32>(
                        fetch_query(tile, head, first, c),
                        fetch_query(tile, head, first + 1u, c),
                        fetch_query(tile, head, first + 2u, c),
                        fetch_query(tile, head, first + 3u, c),
                    ));
                    let at = i % QUERY_SLICE * 4u * QUADS + i / QUERY_SLICE;
                    query_slice[at] = elements[0];
                    query_slice[at + QUADS] = elements[1];
                    query_slice[at + 2u * QUADS] = elements[2];
                    query_slice[at + 3u * QUADS] = elements[3];
                }
            }
            for (var i = local; i < BLOCK * SLICE; i += THREADS) {
                let c = c0 + i % SLICE;
                let key = start + i / SLICE;
                var k = vec4<f32>();
                if key < end && c < VECS {
                    k = keys[key_row(tile, key) + kv + c];
                }
                stage[i / SLICE * KEY_PITCH + i % SLICE] = k;
            }
            workgroupBarrier();
            var q_at = select(c0 * 4u * QUADS, 0u, QUERY_SLICE < VECS) + quad;
            var k_at = lane * KEY_PITCH;
            for (var c = 0u; c < SLICE; c += 1u) {
                let q0 = query_slice[q_at];
                let q1 = query_slice[q_at + QUADS];
                let q2 = query_slice[q_at + 2u * QUADS];
                let q3 = query_slice[q_at + 3u * QUADS];
                let k0 = stage[k_at];
                let k1 = stage[k_at + LANES * KEY_PITCH];
                let k2 = stage[k_at + 2u * LANES * KEY_PITCH];
                let k3 = stage[k_at + 3u * LANES * KEY_PITCH];
                s0 += q0 * k0.x; s1 += q0 * k1.x; s2 += q0 * k2.x; s3 += q0 * k3.x;
                s0 += q1 * k0.y; s1 += q1 * k1.y; s2 += q1 * k2.y; s3 += q1 * k3.y;
                s0 += q2 * k0.z; s1 += q2 * k1.z; s2 += q2 * k2.z; s3 += q2 * k3.z;
                s0 += q3 * k0.w; s1 += q3 * k1.w; s2 += q3 * k2.w; s3 += q3 * k3.w;
                q_at += 4u * QUADS;
                k_at += 1u;
            }
            workgroupBarrier();
        }
        let key = vec4<u32>(start + lane);
        s0 = select(LEAST, s0, key <= positions);
        s1 = select(LEAST, s1, key + LANES <= positions);
        s2 = select(LEAST, s2, key + 2u * LANES <= positions);
        s3 = select(LEAST, s3, key + 3u * LANES <= positions);

        let at = lane * PITCH + quad;
        weights[at] = max(max(s0, s1), max(s2, s3));
        workgroupBarrier();
        let before = greatest;
        for (var i = 0u; i < LANES; i += 1u) {
            greatest = max(greatest, weights[i * PITCH + quad]);
        }
        let fade = exp2(before - greatest);
        s0 = exp2(s0 - greatest);
        s1 = exp2(s1 - greatest);
        s2 = exp2(s2 - greatest);
        s3 = exp2(s3 - greatest);
        sum = sum * fade + ((s0 + s1) + (s2 + s3));
        a0 *= fade.x; a1 *= fade.y; a2 *= fade.z; a3 *= fade.w;
        b0 *= fade.x; b1 *= fade.y; b2 *= fade.z; b3 *= fade.w;
        workgroupBarrier();
        weights[at] = s0;
        weights[at + LANES * PITCH] = s1;
        weights[at + 2u * LANES * PITCH] = s2;
        weights[at + 3u * LANES * PITCH] = s3;

        for (var v0 = 0u; v0 < BLOCK && start + v0 < end; v0 += VALUES) {
            for (var i = local; i < VALUES * VECS; i += THREADS) {
                let key = start + v0 + i / VECS;
                var v = vec4<f32>();
                if key < end {
                    v = values[key_row(tile, key) + kv + i % VECS];
                }
                stage[i] = v;
            }
            workgroupBarrier();
            for (var k = 0u; k < VALUES; k += 1u) {
                let w = weights[(v0 + k) * PITCH + quad];
                let va = stage[k * VECS + column_a];
                let vb = stage[k * VECS + column_b];
                a0 += w.x * va; a1 += w.y * va; a2 += w.z * va; a3 += w.w * va;
                b0 += w.x * vb; b1 += w.y * vb; b2 += w.z * vb; b3 += w.w * vb;
            }
            workgroupBarrier();
        }
    }

    weights[lane * PITCH + quad] = sum;
    workgroupBarrier();
    sum = vec4<f32>();
    for (var i = 0u; i < LANES; i += 1u) {
        sum += weights[i * PITCH + quad];
    }
    store(tile, head, r, lane, a0 / sum.x, b0 / sum.x);
    store(tile, head, r + 1u, lane, a1 / sum.y, b1 / sum.y);
    store(tile, head, r + 2u, lane, a2 / sum.z, b2 / sum.z);
    store(tile, head, r + 3u, lane, a3 / sum.w, b3 / sum.w);
}
