// A driver, cuBLAS and cuRAND for cards that are not there: memory is the host's, a stream does everything at once, and a kernel is run by
// emulate.h or, where it is candle's, by a loop here. Enough for this backend, to see that its arguments, shapes and addresses arrive as they should.
//
// A function that is missing here returns an error from the archive that looks for it (src/backend/candle/toolkit/lazy.c). An allocation has a page of
// bytes behind it that nobody may change; freed memory is filled with NaN.
#include "emulate.h"

#include <map>
#include <mutex>
#include <set>

typedef int Result;
typedef unsigned long long Address;
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_FOUND = 500 };
const int CARDS = 2;
const size_t GUARD = 4096;
// Of all cards together; DRIVER_MEMORY sets it.
static const size_t MEMORY = getenv("DRIVER_MEMORY") ? strtoull(getenv("DRIVER_MEMORY"), nullptr, 10) : 8ull << 30;

static std::recursive_mutex one_at_a_time;
#define ENTER std::lock_guard<std::recursive_mutex> lock(one_at_a_time)
static std::map<Address, size_t> allocations;
static size_t allocated;

static void complain(const std::string &what) {
    fprintf(stderr, "driver: %s\n", what.c_str());
    abort();
}
static void check_guard(Address at, size_t size) {
    auto bytes = (const unsigned char *)at + size;
    for (size_t i = 0; i < GUARD; i++) {
        if (bytes[i] != 0xff) complain("a kernel wrote past the end of an allocation of " + std::to_string(size) + " bytes");
    }
}
// The allocation that holds `bytes` bytes from `at` on.
static void check_range(const void *at, size_t bytes, const char *what) {
    auto next = allocations.upper_bound((Address)at);
    if (next == allocations.begin()) complain(std::string(what) + ": not the card's memory");
    auto &[start, size] = *std::prev(next);
    if ((Address)at + bytes > start + size) complain(std::string(what) + ": past the end of an allocation");
}

extern "C" {

// ---- The driver.

Result cuInit(unsigned) { return OK; }
Result cuDriverGetVersion(int *v) { return *v = 13000, OK; }
Result cuDeviceGetCount(int *n) { return *n = CARDS, OK; }
Result cuDeviceGet(int *device, int n) { return n < CARDS ? (*device = n, OK) : 101; }
Result cuDeviceGetName(char *name, int length, int) { return snprintf(name, length, "no card"), OK; }
Result cuDeviceGetAttribute(int *value, int attribute, int) {
    switch (attribute) {
    case 75: *value = getenv("DRIVER_CAPABILITY") ? atoi(getenv("DRIVER_CAPABILITY")) : 9; break; // compute capability
    case 76: *value = 0; break;
    case 115: *value = 1; break;  // memory pools
    default: *value = 0;
    }
    return OK;
}
Result cuDevicePrimaryCtxRetain(void **context, int device) { return *context = (void *)(size_t)(device + 1), OK; }
Result cuDevicePrimaryCtxRelease_v2(int) { return OK; }
static thread_local void *current;
Result cuCtxSetCurrent(void *context) { return current = context, OK; }
Result cuCtxGetCurrent(void **context) { return *context = current, OK; }
Result cuCtxSynchronize() { return OK; }
Result cuStreamCreate(void **stream, unsigned) {
    static size_t next = 100;
    ENTER;
    return *stream = (void *)next++, OK;
}
Result cuStreamDestroy_v2(void *) { return OK; }
Result cuStreamSynchronize(void *) { return OK; }
Result cuStreamWaitEvent(void *, void *, unsigned) { return OK; }
Result cuEventCreate(void **event, unsigned) { return *event = (void *)1, OK; }
Result cuEventRecord(void *, void *) { return OK; }
Result cuEventSynchronize(void *) { return OK; }
Result cuEventDestroy_v2(void *) { return OK; }
Result cuMemGetInfo_v2(size_t *free, size_t *total) {
    ENTER;
    return *free = MEMORY - allocated, *total = MEMORY, OK;
}
Result cuDeviceGetDefaultMemPool(void **pool, int) { return *pool = (void *)7, OK; }
Result cuMemPoolSetAttribute(void *pool, int attribute, void *value) {
    if (pool != (void *)7 || attribute != 4 || *(unsigned long long *)value != ~0ull) complain("an unexpected attribute of the memory pool");
    return OK;
}
Result cuMemAlloc_v2(Address *at, size_t bytes) {
    ENTER;
    if (allocated + bytes > MEMORY) return OUT_OF_MEMORY;
    char *memory = (char *)aligned_alloc(256, (bytes + GUARD + 255) / 256 * 256);
    memset(memory, 0xff, bytes + GUARD);
    allocations[*at = (Address)memory] = bytes;
    allocated += bytes;
    return OK;
}
Result cuMemAllocAsync(Address *at, size_t bytes, void *) { return cuMemAlloc_v2(at, bytes); }
Result cuMemFree_v2(Address at) {
    ENTER;
    auto it = allocations.find(at);
    if (it == allocations.end()) complain("memory is freed that was not allocated");
    check_guard(at, it->second);
    memset((void *)at, 0xff, it->second);
    allocated -= it->second;
    allocations.erase(it);
    free((void *)at);
    return OK;
}
Result cuMemFreeAsync(Address at, void *) { return cuMemFree_v2(at); }
static Result copy(void *to, const void *from, size_t bytes) { return memcpy(to, from, bytes), OK; }
Result cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t bytes, void *) {
    ENTER;
    check_range((void *)to, bytes, "copy to the card");
    return copy((void *)to, from, bytes);
}
Result cuMemcpyDtoHAsync_v2(void *to, Address from, size_t bytes, void *) {
    ENTER;
    check_range((void *)from, bytes, "copy from the card");
    return copy(to, (void *)from, bytes);
}
Result cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, void *) {
    ENTER;
    check_range((void *)to, bytes, "copy on the card");
    check_range((void *)from, bytes, "copy on the card");
    return copy((void *)to, (void *)from, bytes);
}
Result cuMemsetD8Async(Address to, unsigned char value, size_t bytes, void *) {
    ENTER;
    check_range((void *)to, bytes, "filling");
    return memset((void *)to, value, bytes), OK;
}
Result cuGetErrorName(Result e, const char **text) { return *text = e == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR", OK; }
Result cuGetErrorString(Result e, const char **text) { return *text = e == OUT_OF_MEMORY ? "out of memory" : "error", OK; }

// A module is its PTX, whose entries are looked for by their text; a function is its name.
Result cuModuleLoadData(void **module, const void *image) { return *module = strdup((const char *)image), OK; }
Result cuModuleUnload(void *module) { return free(module), OK; }
Result cuModuleGetFunction(void **function, void *module, const char *name) {
    ENTER;
    static std::set<std::string> names;
    if (!strstr((const char *)module, (std::string(".entry ") + name + "(").c_str())) return NOT_FOUND;
    *function = (void *)names.insert(name).first->c_str();
    return OK;
}
}

// ---- Kernels, by name. `argument<T>(args, i)` is what the launch gave as its i-th.

template <typename T> T argument(void **args, int i) { return *(T *)args[i]; }
template <typename F, size_t... I, typename... A> static void call(F f, void **args, std::index_sequence<I...>, void (*)(A...)) {
    f(argument<A>(args, I)...);
}
template <typename... A> static void call(void (*f)(A...), void **args) { call(f, args, std::index_sequence_for<A...>(), f); }

typedef std::function<void(void **)> Launch;
static std::map<std::string, Launch> emulated, looped;

// candle's kernels get a shape and strides where there are gaps: none are expected here.
static void expect_no_gaps(void **args) {
    if (argument<const size_t *>(args, 2)) complain("a tensor with gaps");
}
template <typename T> static void select(void **args) {
    auto count = argument<size_t>(args, 0);
    auto ids = argument<const unsigned *>(args, 3);
    auto from = argument<const T *>(args, 4);
    auto to = argument<T *>(args, 5);
    size_t left = argument<size_t>(args, 6), rows = argument<size_t>(args, 7), n = argument<size_t>(args, 8), width = argument<size_t>(args, 9);
    if (left != 1 || n * width != count) complain("index_select along another dimension than the first");
    check_range(to, count * sizeof(T), "index_select");
    for (size_t i = 0; i < n; i++) {
        if (ids[i] >= rows) complain("index_select past the end");
        memcpy(to + i * width, from + ids[i] * width, width * sizeof(T));
    }
}
template <typename A, typename B> static void cast(void **args) {
    expect_no_gaps(args);
    auto n = argument<size_t>(args, 0);
    auto from = argument<const A *>(args, 3);
    auto to = argument<B *>(args, 4);
    check_range(from, n * sizeof(A), "cast");
    check_range(to, n * sizeof(B), "cast");
    for (size_t i = 0; i < n; i++) to[i] = from_float<B>(to_float(from[i]));
}
template <typename T> static void copy2d(void **args) {
    auto from = argument<const T *>(args, 0);
    auto to = argument<T *>(args, 1);
    auto d1 = argument<unsigned>(args, 2), d2 = argument<unsigned>(args, 3), from_stride = argument<unsigned>(args, 4), to_stride = argument<unsigned>(args, 5);
    check_range(from, ((size_t)(d1 - 1) * from_stride + d2) * sizeof(T), "copy2d");
    check_range(to, ((size_t)(d1 - 1) * to_stride + d2) * sizeof(T), "copy2d");
    for (size_t i = 0; i < d1; i++) memcpy(to + i * to_stride, from + i * from_stride, d2 * sizeof(T));
}
// One warp's work in a loop: with the emulator, whole models would take hours.
template <typename T> static void plain(const T *q, const T *k, const T *v, T *y, const Tile *tile, unsigned row, int heads, int kv_heads, int d, float scale) {
    for (int head = 0; head < heads && row < tile->rows; head++) {
        size_t at = ((size_t)(tile->query + row) * heads + head) * d, kv = head / (heads / kv_heads);
        unsigned positions = tile->first + row + 1;
        std::vector<float> weights(positions), out(d);
        float most = -INFINITY, sum = 0;
        for (unsigned p = 0; p < positions; p++) {
            const T *key = k + (tile->key_row(p) * kv_heads + kv) * d;
            check_range(key, d * sizeof(T), "keys");
            for (int i = 0; i < d; i++) weights[p] += to_float(q[at + i]) * to_float(key[i]);
            most = std::max(most, weights[p] *= scale);
        }
        for (float &w : weights) sum += w = expf(w - most);
        for (unsigned p = 0; p < positions; p++) {
            const T *value = v + (tile->key_row(p) * kv_heads + kv) * d;
            for (int i = 0; i < d; i++) out[i] += weights[p] / sum * to_float(value[i]);
        }
        for (int i = 0; i < d; i++) y[at + i] = from_float<T>(out[i]);
    }
}
template <typename T> static void attend_plain_loop(void **args) {
    auto tiles = argument<const Tile *>(args, 4);
    for (unsigned tile = 0; tile < gridDim.x; tile++) {
        for (unsigned row = 0; row < gridDim.y / argument<int>(args, 5); row++) {
            plain(argument<const T *>(args, 0), argument<const T *>(args, 1), argument<const T *>(args, 2), argument<T *>(args, 3), &tiles[tile], row,
                  argument<int>(args, 5), argument<int>(args, 6), argument<int>(args, 7), argument<float>(args, 8));
        }
    }
}

#define OURS(NAME) emulated[#NAME] = [](void **args) { call(NAME, args); }
#define OURS_OF(TYPE)                                                                                      \
    OURS(rms_norm_##TYPE); OURS(add_rms_norm_##TYPE); OURS(add_##TYPE); OURS(swiglu_##TYPE); OURS(head_norm_rope_##TYPE)

static void make_kernels() {
    OURS_OF(f32);
    OURS_OF(f16);
    OURS_OF(bf16);
    OURS(attend_64_f16);
    OURS(attend_64_bf16);
    OURS(attend_128_f16);
    OURS(attend_128_bf16);
    looped["attend_plain_f32"] = attend_plain_loop<float>;
    looped["attend_plain_f16"] = attend_plain_loop<f16>;
    looped["attend_plain_bf16"] = attend_plain_loop<bf16>;
    looped["is_u32_f32"] = select<float>;
    looped["is_u32_f16"] = select<f16>;
    looped["is_u32_bf16"] = select<bf16>;
    looped["cast_f32_f16"] = cast<float, f16>;
    looped["cast_f32_bf16"] = cast<float, bf16>;
    looped["cast_f16_f32"] = cast<f16, float>;
    looped["cast_bf16_f32"] = cast<bf16, float>;
    looped["cast_bf16_f16"] = cast<bf16, f16>;
    looped["cast_f16_bf16"] = cast<f16, bf16>;
    looped["copy2d_f32"] = copy2d<float>;
    looped["copy2d_f16"] = copy2d<f16>;
    looped["copy2d_bf16"] = copy2d<bf16>;
    looped["bsub_f32"] = [](void **args) {
        expect_no_gaps(args);
        auto a = argument<const float *>(args, 3), b = argument<const float *>(args, 4);
        auto y = argument<float *>(args, 5);
        for (size_t i = 0; i < argument<size_t>(args, 0); i++) y[i] = a[i] - b[i];
    };
    looped["uabs_f32"] = [](void **args) {
        expect_no_gaps(args);
        auto a = argument<const float *>(args, 3);
        auto y = argument<float *>(args, 4);
        for (size_t i = 0; i < argument<size_t>(args, 0); i++) y[i] = fabsf(a[i]);
    };
}

extern "C" {
Result cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned ty, unsigned tz, unsigned shared, void *, void **args, void **) {
    ENTER;
    if (emulated.empty()) make_kernels();
    std::string name = (const char *)function;
    static const bool says = getenv("DRIVER_SAYS");
    if (says) fprintf(stderr, "driver: %s <%u, %u><%u>\n", name.c_str(), x, y, threads);
    if (z != 1 || ty != 1 || tz != 1 || shared) complain(name + ": an unexpected grid");
    if (auto it = emulated.find(name); it != emulated.end()) {
        launch(x, y, threads, [&] { it->second(args); });
    } else if (auto it = looped.find(name); it != looped.end()) {
        gridDim = {x, y};
        it->second(args);
    } else {
        complain(name + " is not known here");
    }
    return OK;
}

// ---- cuBLAS: column-major, c = a b with `transposed` sides.

Result cublasCreate_v2(void **handle) { return *handle = (void *)9, OK; }
Result cublasDestroy_v2(void *) { return OK; }
Result cublasSetStream_v2(void *, void *) { return OK; }
Result cublasSetWorkspace_v2(void *, void *, size_t) { return OK; }
}

template <typename T> static void multiply(bool ta, bool tb, int m, int n, int k, const T *a, int lda, const T *b, int ldb, T *c, int ldc) {
    check_range(a, ((size_t)((ta ? m : k) - 1) * lda + (ta ? k : m)) * sizeof(T), "cublas a");
    check_range(b, ((size_t)((tb ? k : n) - 1) * ldb + (tb ? n : k)) * sizeof(T), "cublas b");
    check_range(c, ((size_t)(n - 1) * ldc + m) * sizeof(T), "cublas c");
    for (int j = 0; j < n; j++) {
        for (int i = 0; i < m; i++) {
            float sum = 0;
            for (int l = 0; l < k; l++) sum += to_float(ta ? a[(size_t)i * lda + l] : a[(size_t)l * lda + i]) * to_float(tb ? b[(size_t)l * ldb + j] : b[(size_t)j * ldb + l]);
            c[(size_t)j * ldc + i] = from_float<T>(sum);
        }
    }
}

extern "C" {
Result cublasGemmStridedBatchedEx(void *, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int a_type, int lda, long long, const void *b, int b_type,
                                  int ldb, long long, const void *beta, void *c, int c_type, int ldc, long long, int batch, int compute, int) {
    ENTER;
    if (*(float *)alpha != 1 || *(float *)beta != 0 || batch != 1 || a_type != b_type || b_type != c_type || compute != 68) complain("an unexpected product");
    switch (a_type) {
    case 0: multiply(ta, tb, m, n, k, (const float *)a, lda, (const float *)b, ldb, (float *)c, ldc); break;
    case 2: multiply(ta, tb, m, n, k, (const f16 *)a, lda, (const f16 *)b, ldb, (f16 *)c, ldc); break;
    case 14: multiply(ta, tb, m, n, k, (const bf16 *)a, lda, (const bf16 *)b, ldb, (bf16 *)c, ldc); break;
    default: complain("a product of another type");
    }
    return OK;
}

// ---- cuRAND: candle makes a generator and this backend never asks it.

Result curandCreateGenerator(void **generator, int) { return *generator = (void *)5, OK; }
Result curandSetStream(void *, void *) { return OK; }
Result curandSetPseudoRandomGeneratorSeed(void *, unsigned long long) { return OK; }
Result curandDestroyGenerator(void *) { return OK; }
}
