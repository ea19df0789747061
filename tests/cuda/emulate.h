// Runs the kernels of src/backend/candle/cuda/kernels.cu on a processor: the same text, with C++ for the instructions of the card.
//
// A thread of a block is a fibre; each runs until it needs what others of its warp or block give, and the next one goes on. What a warp does
// together (shuffles, matrices) and what a block waits for is checked: all must come to the same place. Shared memory begins as NaN,
// and asynchronous copies land as late as they may: when somebody waits for them, and not at the call. So a missing wait or
// barrier shows as a wrong result, in one order of the threads or the other: with REVERSED in the environment the last warp goes first.
#pragma once
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#define EMULATED
#define __device__
#define __global__
#define __launch_bounds__(...)
// All of it lies together, so that every block can begin without knowing anything.
#define __shared__ static __attribute__((section("shared_memory")))
extern char __start_shared_memory[], __stop_shared_memory[];
using std::size_t;
static int min(int a, int b) { return a < b ? a : b; }

struct uint4 { unsigned x, y, z, w; };
struct Index { unsigned x, y; };
static Index threadIdx, blockIdx, blockDim, gridDim;

static void fail(const char *what) {
    fprintf(stderr, "emulate: %s (block %u %u, thread %u)\n", what, blockIdx.x, blockIdx.y, threadIdx.x);
    exit(1);
}

// ---- Fibres and where they meet.

struct Copy { uint4 *to; uint4 value; };
struct Fibre {
    ucontext_t context;
    std::vector<char> stack;
    bool done;
    const char *waits_for;   // the place where it waits, none if it may go on
    bool block_wide;
    const void *gives;       // what it lays out for its warp
    std::vector<std::vector<Copy>> copies; // groups under way; the last is open
};
static std::vector<Fibre> fibres;
static ucontext_t scheduler;
static std::function<void()> kernel;

static Fibre &self() { return fibres[threadIdx.x]; }
static void body() {
    kernel();
    self().done = true;
    swapcontext(&self().context, &scheduler);
}

// Waits until the whole warp, or the whole block, has come here.
static void meet(const char *place, bool block_wide, const void *gives) {
    Fibre &f = self();
    f.waits_for = place;
    f.block_wide = block_wide;
    f.gives = gives;
    swapcontext(&f.context, &scheduler);
}

static bool together(size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        if (fibres[i].done || !fibres[i].waits_for) return false;
        if (strcmp(fibres[i].waits_for, fibres[from].waits_for)) fail("threads wait for each other at different places");
    }
    return true;
}

static void run_block() {
    size_t threads = blockDim.x;
    memset(__start_shared_memory, 0xff, __stop_shared_memory - __start_shared_memory);
    fibres = std::vector<Fibre>(threads);
    for (Fibre &f : fibres) {
        f.stack.resize(256 << 10);
        f.copies.resize(1);
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = f.stack.data();
        f.context.uc_stack.ss_size = f.stack.size();
        makecontext(&f.context, body, 0);
    }
    static const bool reversed = getenv("REVERSED");
    // A warp goes on for as long as it can before another one begins: so it runs ahead of those that a missing barrier would have it wait for.
    auto run_warp = [&](size_t warp) {
        for (bool ran = true; ran;) {
            ran = false;
            for (unsigned i = warp; i < warp + 32; i++) {
                if (fibres[i].done || fibres[i].waits_for) continue;
                threadIdx.x = i;
                swapcontext(&scheduler, &fibres[i].context);
                ran = true;
            }
            if (!fibres[warp].waits_for || fibres[warp].block_wide || !together(warp, warp + 32)) continue;
            for (size_t i = warp; i < warp + 32; i++) fibres[i].waits_for = nullptr;
            ran = true;
        }
    };
    for (;;) {
        for (size_t n = 0; n < threads; n += 32) run_warp(reversed ? threads - 32 - n : n);
        if (std::all_of(fibres.begin(), fibres.end(), [](const Fibre &f) { return f.done; })) return;
        if (!fibres[0].block_wide || !together(0, threads)) fail("threads wait for others that never come");
        for (Fibre &f : fibres) f.waits_for = nullptr;
    }
}

// Lays `mine` out for the warp, and gives what lane `lane` laid out.
template <typename T> struct Shared {
    T mine;
    const char *place;
    Shared(const char *place, T value) : mine(value), place(place) { meet(place, false, &mine); }
    const T &of(unsigned lane) const { return *(const T *)fibres[threadIdx.x / 32 * 32 + lane].gives; }
    ~Shared() { meet(place, false, &mine); } // none leaves before all have read
};

// ---- The instructions, as instructions.cuh names them.

struct f16 { uint16_t bits; };
struct bf16 { uint16_t bits; };
static float to_float(float x) { return x; }
static float to_float(f16 x) {
    _Float16 h;
    memcpy(&h, &x, 2);
    return (float)h;
}
static float to_float(bf16 x) {
    uint32_t b = (uint32_t)x.bits << 16;
    float y;
    memcpy(&y, &b, 4);
    return y;
}
template <typename T> T from_float(float x);
template <> float from_float(float x) { return x; }
template <> f16 from_float(float x) {
    _Float16 h = (_Float16)x;
    f16 y;
    memcpy(&y, &h, 2);
    return y;
}
template <> bf16 from_float(float x) {
    uint32_t b;
    memcpy(&b, &x, 4);
    if (x != x) return {0x7fff};
    return {(uint16_t)((b + 0x7fff + (b >> 16 & 1)) >> 16)};
}
template <typename T> unsigned pack(float low, float high) {
    return from_float<T>(low).bits | (unsigned)from_float<T>(high).bits << 16;
}

static void synchronise() { meet("barrier", true, nullptr); }
static float shuffle_xor(float value, int mask) { return Shared<float>("shuffle", value).of(threadIdx.x % 32 ^ mask); }

static void copy_async(uint4 *to, const uint4 *from, bool there) {
    self().copies.back().push_back({to, there ? *from : uint4{0, 0, 0, 0}});
}
static void commit_copies() { self().copies.emplace_back(); }
template <int N> static void wait_copies() {
    auto &groups = self().copies;
    while (groups.size() > N + 1) {
        for (Copy &c : groups.front()) *c.to = c.value;
        groups.erase(groups.begin());
    }
}

static void load(unsigned (&to)[4], const uint4 *row, bool transposed) {
    if ((uintptr_t)row % 16) fail("a row of a matrix is not aligned");
    Shared<const uint4 *> rows("ldmatrix", row);
    unsigned lane = threadIdx.x % 32, result[4];
    for (int m = 0; m < 4; m++) {
        uint16_t two[2];
        for (unsigned e = 0; e < 2; e++) {
            unsigned r = transposed ? lane % 4 * 2 + e : lane / 4, c = transposed ? lane / 4 : lane % 4 * 2 + e;
            two[e] = ((const uint16_t *)rows.of(m * 8 + r))[c];
        }
        result[m] = two[0] | (unsigned)two[1] << 16;
    }
    memcpy(to, result, sizeof result);
}
static void load_matrices(unsigned (&to)[4], const uint4 *row) { load(to, row, false); }
static void load_matrices_transposed(unsigned (&to)[4], const uint4 *row) { load(to, row, true); }

// The fragments of mma.m16n8k16: with g = lane / 4 and t = lane % 4, a register holds two neighbours in k:
// a0 (g, 2t), a1 (g + 8, 2t), a2 (g, 2t + 8), a3 (g + 8, 2t + 8); b0 (k = 2t, n = g), b1 (k = 2t + 8, n = g);
// c0, c1 (g, 2t and 2t + 1), c2, c3 (g + 8, ...).
template <typename T> void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    struct Sides { unsigned a[4], b[2]; };
    Shared<Sides> sides("mma", {{a[0], a[1], a[2], a[3]}, {b0, b1}});
    auto half = [](unsigned two, unsigned e) { return to_float(T{(uint16_t)(two >> (16 * e))}); };
    unsigned lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    for (unsigned e = 0; e < 4; e++) {
        unsigned row = g + e / 2 * 8, column = 2 * t + e % 2;
        float sum = c[e];
        for (unsigned k = 0; k < 16; k++) {
            float left = half(sides.of(row % 8 * 4 + k % 8 / 2).a[row / 8 + k / 8 * 2], k % 2);
            float right = half(sides.of(column * 4 + k % 8 / 2).b[k / 8], k % 2);
            sum += left * right;
        }
        c[e] = sum;
    }
}

#include "../../src/backend/candle/cuda/kernels.cu"

static void launch(unsigned x, unsigned y, unsigned threads, std::function<void()> k) {
    kernel = k;
    gridDim = {x, y};
    blockDim = {threads, 1};
    for (blockIdx.y = 0; blockIdx.y < y; blockIdx.y++) {
        for (blockIdx.x = 0; blockIdx.x < x; blockIdx.x++) run_block();
    }
}
