// What candle has no kernel for. `cuda/mod.rs` launches these, `ops/` says what each computes, in the same order of arguments.
//
// T rows, H hidden, D head size. All matrices are row-major and without gaps. Numbers that are added up are added in f32.
// The instructions that C++ has no words for are behind the functions of instructions.cuh: tests/cuda/emulate.h gives them other
// bodies, runs a block's threads one after the other, and so tests this very text on a processor.
#ifndef EMULATED
#include "instructions.cuh"
#endif

// The sum over a block of `blockDim.x` threads, a multiple of 32 of at most 1024.
__device__ float block_sum(float value) {
    __shared__ float parts[32];
    for (int lane = 16; lane > 0; lane /= 2) value += shuffle_xor(value, lane);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
    synchronise();
    value = threadIdx.x % 32 < blockDim.x / 32 ? parts[threadIdx.x % 32] : 0.0f;
    for (int lane = 16; lane > 0; lane /= 2) value += shuffle_xor(value, lane);
    return value;
}

// N neighbours, read and written at once.
template <typename T, int N> struct alignas(N * sizeof(T)) Some { T at[N]; };

// y = x / sqrt(mean(x^2) + eps) * w; with ADD, x is x + more from here on. x [T, H], more [T, H], w [H], y [T, H]. A block a row.
template <typename T, bool ADD, int N>
__device__ void rms_norm_by(float *x, const T *more, const float *w, T *y, int width, float eps) {
    auto xs = (Some<float, N> *)(x + (size_t)blockIdx.x * width);
    auto mores = (const Some<T, N> *)(more + (ADD ? (size_t)blockIdx.x * width : 0));
    auto ws = (const Some<float, N> *)w;
    auto ys = (Some<T, N> *)(y + (size_t)blockIdx.x * width);
    float sum = 0.0f;
    for (int i = threadIdx.x; i < width / N; i += blockDim.x) {
        Some<float, N> value = xs[i];
        if (ADD) {
            Some<T, N> m = mores[i];
            #pragma unroll
            for (int j = 0; j < N; j++) value.at[j] += to_float(m.at[j]);
            xs[i] = value;
        }
        #pragma unroll
        for (int j = 0; j < N; j++) sum += value.at[j] * value.at[j];
    }
    float scale = 1.0f / sqrtf(block_sum(sum) / (float)width + eps);
    // Every thread reads what it wrote itself.
    for (int i = threadIdx.x; i < width / N; i += blockDim.x) {
        Some<float, N> value = xs[i], weight = ws[i];
        Some<T, N> out;
        #pragma unroll
        for (int j = 0; j < N; j++) out.at[j] = from_float<T>(value.at[j] * scale * weight.at[j]);
        ys[i] = out;
    }
}

// By fours where rows begin at multiples of four.
template <typename T, bool ADD>
__device__ void rms_norm(float *x, const T *more, const float *w, T *y, int width, float eps) {
    if (width % 4 == 0) rms_norm_by<T, ADD, 4>(x, more, w, y, width, eps);
    else rms_norm_by<T, ADD, 1>(x, more, w, y, width, eps);
}

// x += more, n numbers. Threads in strides of the grid.
template <typename T> __device__ void add(float *x, const T *more, size_t n) {
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x) {
        x[i] += to_float(more[i]);
    }
}

// y = gate / (1 + exp(-gate)) * up, n times N numbers. Threads in strides of the grid.
template <typename T, int N> __device__ void swiglu_by(const T *gate, const T *up, T *y, size_t n) {
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x) {
        Some<T, N> g = ((const Some<T, N> *)gate)[i], u = ((const Some<T, N> *)up)[i], out;
        #pragma unroll
        for (int j = 0; j < N; j++) {
            float x = to_float(g.at[j]);
            out.at[j] = from_float<T>(x / (1.0f + expf(-x)) * to_float(u.at[j]));
        }
        ((Some<T, N> *)y)[i] = out;
    }
}

template <typename T> __device__ void swiglu(const T *gate, const T *up, T *y, size_t n) {
    if (n % 4 == 0) swiglu_by<T, 4>(gate, up, y, n / 4);
    else swiglu_by<T, 1>(gate, up, y, n);
}

// RMSNorm on every head, then its halves turned against each other. x [T, heads * D] in place, w [D], turns [T, D]: the cosines of a row's
// angles, then their sines. A warp a head, `items` = T * heads.
template <typename T>
__device__ void head_norm_rope(T *x, const float *w, const float *turns, int items, int heads, int head_dim, float eps) {
    int item = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32, half = head_dim / 2;
    if (item >= items) return; // a whole warp
    x += (size_t)item * head_dim;
    turns += (size_t)(item / heads) * head_dim;
    float sum = 0.0f;
    for (int i = lane; i < head_dim; i += 32) sum += to_float(x[i]) * to_float(x[i]);
    for (int other = 16; other > 0; other /= 2) sum += shuffle_xor(sum, other);
    float scale = 1.0f / sqrtf(sum / (float)head_dim + eps);
    // The sum above needed all lanes: none writes before all have read.
    for (int i = lane; i < half; i += 32) {
        float a = to_float(x[i]) * scale * w[i], b = to_float(x[i + half]) * scale * w[i + half];
        float cosine = turns[i], sine = turns[i + half];
        x[i] = from_float<T>(a * cosine - b * sine);
        x[i + half] = from_float<T>(b * cosine + a * sine);
    }
}

// Query rows of one sequence that a block attends for.
struct Tile {
    unsigned query; // the first, among the rows of q
    unsigned rows;  // how many
    unsigned first; // the first one's position: it sees the keys at positions 0 to `first`
    unsigned prefix, shared; // positions below `shared` are rows of k and v from `prefix` on,
    unsigned own;            // the others are rows from `own` on
    __device__ size_t key_row(unsigned position) const {
        return position < shared ? prefix + position : own + (position - shared);
    }
};

// Causal attention for any type and head size, without matrix instructions: what the tests and the check at loading compare `attend` with.
// q, y [*, heads * D], k, v [*, kv_heads * D]. A warp for one row and one head: blocks are (tile, row of the tile * heads).
template <typename T>
__device__ void attend_plain(const T *q, const T *k, const T *v, T *y, const Tile *tiles, int heads, int kv_heads, int head_dim, float scale) {
    const int MOST = 8; // numbers of a head for each lane: D is at most 256
    Tile tile = tiles[blockIdx.x];
    unsigned row = blockIdx.y / heads, head = blockIdx.y % heads, lane = threadIdx.x;
    if (row >= tile.rows) return;
    size_t at = ((size_t)(tile.query + row) * heads + head) * head_dim, kv_head = head / (heads / kv_heads);
    float query[MOST], out[MOST], most = -INFINITY, sum = 0.0f;
    #pragma unroll
    for (int i = 0; i < MOST; i++) {
        int d = lane + 32 * i;
        query[i] = d < head_dim ? to_float(q[at + d]) * scale : 0.0f;
        out[i] = 0.0f;
    }
    for (unsigned position = 0; position <= tile.first + row; position++) {
        size_t key = (tile.key_row(position) * kv_heads + kv_head) * head_dim;
        float score = 0.0f;
        #pragma unroll
        for (int i = 0; i < MOST; i++) {
            int d = lane + 32 * i;
            if (d < head_dim) score += query[i] * to_float(k[key + d]);
        }
        for (int other = 16; other > 0; other /= 2) score += shuffle_xor(score, other);
        float before = most;
        most = fmaxf(most, score);
        float keep = expf(before - most), weight = expf(score - most);
        sum = sum * keep + weight;
        #pragma unroll
        for (int i = 0; i < MOST; i++) {
            int d = lane + 32 * i;
            if (d < head_dim) out[i] = out[i] * keep + weight * to_float(v[key + d]);
        }
    }
    #pragma unroll
    for (int i = 0; i < MOST; i++) {
        int d = lane + 32 * i;
        if (d < head_dim) y[at + d] = from_float<T>(out[i] / sum);
    }
}

// ---- Flash attention (Dao, 2023) over packed sequences with a shared prefix.
//
// A block has 64 rows of the product Q K^T for one key/value head: the `group` query heads that share it lie under each other, so that 64 / group
// query rows fill a tile even where each sequence asks with one row (the last layer). Four warps have 16 rows each. Keys and values
// come in tiles of 64 positions, copied while the other one of the two is multiplied:
//
//   keys 0 arrive | values 0 start | S = Q K^T | keys 1 start | P = softmax | values 0 arrive | O += P V | keys 1 arrive | ...
//
// Shared memory: a tile of keys and one of values, 32 kB for D = 128; the queries pass through the latter into registers. A row of D numbers is
// D / 8 pieces of 16 bytes; piece c of row r lies at c ^ (r % 8), so that eight rows' pieces of one column are in different banks.

const int ROWS = 64, KEYS = 64, THREADS = 128;

template <int D> __device__ int piece(int row, int column) { return row * (D / 8) + (column ^ (row % 8)); }

// The tile of keys or values from `position` on; rows past the last position become zeros.
template <int D>
__device__ void copy_tile(uint4 *to, const uint4 *from, const Tile &tile, int position, int positions, int kv_heads, int kv_head) {
    for (int i = threadIdx.x; i < KEYS * (D / 8); i += THREADS) {
        int row = i / (D / 8), column = i % (D / 8), at = position + row;
        bool there = at < positions;
        size_t source = there ? (tile.key_row(at) * kv_heads + kv_head) * (D / 8) + column : 0;
        copy_async(&to[piece<D>(row, column)], &from[source], there);
    }
    commit_copies();
}

template <typename T, int D>
__device__ void attend(const T *q, const T *k, const T *v, T *y, const Tile *tiles, int heads, int kv_heads, float scale, uint4 *keys, uint4 *values) {
    const Tile tile = tiles[blockIdx.x];
    const int kv_head = blockIdx.y, group = heads / kv_heads;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int positions = tile.first + tile.rows; // that the last row sees
    const uint4 *k4 = (const uint4 *)k, *v4 = (const uint4 *)v;

    // Row r of the tile is query row r / group, head r % group. Rows that are not there are zeros and are not written.
    const int rows = tile.rows * group;
    for (int i = threadIdx.x; i < ROWS * (D / 8); i += THREADS) {
        int row = i / (D / 8), column = i % (D / 8);
        bool there = row < rows;
        size_t head = there ? (size_t)(tile.query + row / group) * heads + kv_head * group + row % group : 0;
        copy_async(&values[piece<D>(row, column)], &((const uint4 *)q)[head * (D / 8) + column], there);
    }
    commit_copies();
    copy_tile<D>(keys, k4, tile, 0, positions, kv_heads, kv_head);
    wait_copies<1>(); // the queries are there, the keys may be on their way
    synchronise();
    unsigned query[D / 16][4];
    #pragma unroll
    for (int i = 0; i < D / 16; i++) {
        int row = warp * 16 + (lane / 8 % 2) * 8 + lane % 8;
        load_matrices(query[i], &values[piece<D>(row, i * 2 + lane / 16)]);
    }
    // The barrier that waits for the keys also says that all have read them: values may come then.

    // A thread's rows of the product, and the last position that each sees.
    const int mine[2] = {warp * 16 + lane / 4, warp * 16 + lane / 4 + 8};
    int sees[2];
    #pragma unroll
    for (int i = 0; i < 2; i++) sees[i] = min((int)tile.first + mine[i] / group, positions - 1);
    float out[D / 8][4] = {}, most[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0f, 0.0f};

    for (int start = 0; start < positions; start += KEYS) {
        wait_copies<0>();
        synchronise(); // keys are there; all are done with the values before
        copy_tile<D>(values, v4, tile, start, positions, kv_heads, kv_head);

        float score[KEYS / 8][4] = {};
        #pragma unroll
        for (int i = 0; i < D / 16; i++) {
            #pragma unroll
            for (int j = 0; j < KEYS / 16; j++) {
                unsigned b[4];
                int row = j * 16 + lane / 16 * 8 + lane % 8;
                load_matrices(b, &keys[piece<D>(row, i * 2 + lane / 8 % 2)]);
                multiply_add<T>(score[2 * j], query[i], b[0], b[1]);
                multiply_add<T>(score[2 * j + 1], query[i], b[2], b[3]);
            }
        }
        if (start + KEYS > (int)tile.first + 1) {
            #pragma unroll
            for (int j = 0; j < KEYS / 8; j++) {
                #pragma unroll
                for (int e = 0; e < 4; e++) {
                    int position = start + j * 8 + lane % 4 * 2 + e % 2;
                    if (position > sees[e / 2]) score[j][e] = -INFINITY;
                }
            }
        }
        wait_copies<0>();
        synchronise(); // values are there; all are done with the keys
        if (start + KEYS < positions) copy_tile<D>(keys, k4, tile, start + KEYS, positions, kv_heads, kv_head);

        // Softmax as it goes. Every row sees position 0, so `most` is a number from the first tile on.
        #pragma unroll
        for (int i = 0; i < 2; i++) {
            float before = most[i];
            #pragma unroll
            for (int j = 0; j < KEYS / 8; j++) most[i] = fmaxf(most[i], fmaxf(score[j][2 * i], score[j][2 * i + 1]));
            most[i] = fmaxf(most[i], shuffle_xor(most[i], 1));
            most[i] = fmaxf(most[i], shuffle_xor(most[i], 2));
            float keep = exp2f((before - most[i]) * scale), shift = most[i] * scale;
            sum[i] *= keep;
            #pragma unroll
            for (int j = 0; j < D / 8; j++) {
                out[j][2 * i] *= keep;
                out[j][2 * i + 1] *= keep;
            }
            #pragma unroll
            for (int j = 0; j < KEYS / 8; j++) {
                #pragma unroll
                for (int e = 2 * i; e < 2 * i + 2; e++) {
                    score[j][e] = exp2f(score[j][e] * scale - shift);
                    sum[i] += score[j][e];
                }
            }
        }
        #pragma unroll
        for (int j = 0; j < KEYS / 16; j++) {
            // Two neighbouring results of Q K^T are, as they lie, the left side of the next product.
            unsigned a[4] = {
                pack<T>(score[2 * j][0], score[2 * j][1]), pack<T>(score[2 * j][2], score[2 * j][3]),
                pack<T>(score[2 * j + 1][0], score[2 * j + 1][1]), pack<T>(score[2 * j + 1][2], score[2 * j + 1][3]),
            };
            #pragma unroll
            for (int i = 0; i < D / 16; i++) {
                unsigned b[4];
                int row = j * 16 + lane / 8 % 2 * 8 + lane % 8;
                load_matrices_transposed(b, &values[piece<D>(row, i * 2 + lane / 16)]);
                multiply_add<T>(out[2 * i], a, b[0], b[1]);
                multiply_add<T>(out[2 * i + 1], a, b[2], b[3]);
            }
        }
    }

    #pragma unroll
    for (int i = 0; i < 2; i++) {
        sum[i] += shuffle_xor(sum[i], 1);
        sum[i] += shuffle_xor(sum[i], 2);
        if (mine[i] >= rows) continue;
        size_t head = (size_t)(tile.query + mine[i] / group) * heads + kv_head * group + mine[i] % group;
        unsigned *to = (unsigned *)(y + head * D) + lane % 4;
        #pragma unroll
        for (int j = 0; j < D / 8; j++) to[j * 4] = pack<T>(out[j][2 * i] / sum[i], out[j][2 * i + 1] / sum[i]);
    }
}

// ---- The kernels by name.

#define KERNELS(T, NAME)                                                                                                             \
    extern "C" __global__ void rms_norm_##NAME(float *x, const float *w, T *y, int width, float eps) {                               \
        rms_norm<T, false>(x, nullptr, w, y, width, eps);                                                                            \
    }                                                                                                                                \
    extern "C" __global__ void add_rms_norm_##NAME(float *x, const T *more, const float *w, T *y, int width, float eps) {            \
        rms_norm<T, true>(x, more, w, y, width, eps);                                                                                \
    }                                                                                                                                \
    extern "C" __global__ void add_##NAME(float *x, const T *more, size_t n) { add<T>(x, more, n); }                                 \
    extern "C" __global__ void swiglu_##NAME(const T *gate, const T *up, T *y, size_t n) { swiglu<T>(gate, up, y, n); }              \
    extern "C" __global__ void head_norm_rope_##NAME(T *x, const float *w, const float *turns, int items, int heads, int head_dim, float eps) { \
        head_norm_rope<T>(x, w, turns, items, heads, head_dim, eps);                                                                 \
    }                                                                                                                                \
    extern "C" __global__ void attend_plain_##NAME(const T *q, const T *k, const T *v, T *y, const Tile *tiles, int heads, int kv_heads, int head_dim, float scale) { \
        attend_plain<T>(q, k, v, y, tiles, heads, kv_heads, head_dim, scale);                                                        \
    }

// `scale` is that of the scores, times log2(e): the exponentials are powers of two.
#define ATTEND(T, NAME, D)                                                                                                           \
    extern "C" __global__ __launch_bounds__(THREADS) void attend_##D##_##NAME(const T *q, const T *k, const T *v, T *y, const Tile *tiles, int heads, int kv_heads, float scale) { \
        __shared__ uint4 keys[KEYS * D / 8], values[KEYS * D / 8];                                                                   \
        attend<T, D>(q, k, v, y, tiles, heads, kv_heads, scale, keys, values);                                                       \
    }

KERNELS(float, f32)
KERNELS(f16, f16)
KERNELS(bf16, bf16)
ATTEND(f16, f16, 64)
ATTEND(f16, f16, 128)
ATTEND(bf16, bf16, 64)
ATTEND(bf16, bf16, 128)
