// Runs one kernel for cards on the processor: see emulate.h.
//
// usage: emulate KERNEL TYPE NUMBER... < buffers > result. A buffer is its length in 32 bits, then its numbers in f32, or a list of u32 for tiles.
#include "emulate.h"

// ---- The kernels by their names in the arguments.

static std::vector<uint32_t> read_words() {
    uint32_t n;
    if (fread(&n, 4, 1, stdin) != 1) fail("a buffer is missing");
    std::vector<uint32_t> words(n);
    if (fread(words.data(), 4, n, stdin) != n) fail("a buffer is short");
    return words;
}
template <typename T> struct alignas(16) Aligned { T at[16 / sizeof(T)]; };
// Numbers of T in memory aligned as a card's is, followed by NaN that nobody may use.
template <typename T> struct Buffer {
    size_t n;
    std::vector<Aligned<T>> memory;
    T *data() { return memory[0].at; }
    explicit Buffer(size_t n) : n(n), memory(n * sizeof(T) / 16 + 2) {
        for (size_t i = 0; i < memory.size() * (16 / sizeof(T)); i++) data()[i] = from_float<T>(NAN);
    }
    static Buffer read() {
        auto words = read_words();
        Buffer b(words.size());
        for (size_t i = 0; i < b.n; i++) {
            float x;
            memcpy(&x, &words[i], 4);
            b.data()[i] = from_float<T>(x);
        }
        return b;
    }
    void write() {
        for (size_t i = 0; i < n; i++) {
            float x = to_float(data()[i]);
            fwrite(&x, 4, 1, stdout);
        }
    }
};

template <typename T> using Attend = void (*)(const T *, const T *, const T *, T *, const Tile *, int, int, float);
template <typename T> struct by_type;
template <> struct by_type<f16> { static Attend<f16> attend(int d) { return d == 64 ? attend_64_f16 : attend_128_f16; } };
template <> struct by_type<bf16> { static Attend<bf16> attend(int d) { return d == 64 ? attend_64_bf16 : attend_128_bf16; } };

template <typename T> static int run(const std::string &name, const std::vector<double> &n) {
    auto i = [&](size_t at) { return (int)n.at(at); };
    if (name == "rms_norm") { // rows, width, eps
        auto x = Buffer<float>::read(), w = Buffer<float>::read();
        Buffer<T> y(x.n);
        launch(i(0), 1, 256, [&] { rms_norm<T, false>(x.data(), nullptr, w.data(), y.data(), i(1), n.at(2)); });
        y.write();
    } else if (name == "add_rms_norm") {
        auto x = Buffer<float>::read();
        auto more = Buffer<T>::read();
        auto w = Buffer<float>::read();
        Buffer<T> y(x.n);
        launch(i(0), 1, 256, [&] { rms_norm<T, true>(x.data(), more.data(), w.data(), y.data(), i(1), n.at(2)); });
        x.write();
        y.write();
    } else if (name == "add") {
        auto x = Buffer<float>::read();
        auto more = Buffer<T>::read();
        launch(2, 1, 64, [&] { add<T>(x.data(), more.data(), x.n); });
        x.write();
    } else if (name == "swiglu") {
        auto gate = Buffer<T>::read(), up = Buffer<T>::read();
        Buffer<T> y(gate.n);
        launch(2, 1, 64, [&] { swiglu<T>(gate.data(), up.data(), y.data(), gate.n); });
        y.write();
    } else if (name == "head_norm_rope") { // rows, heads, head_dim, eps
        auto x = Buffer<T>::read();
        auto w = Buffer<float>::read(), turns = Buffer<float>::read();
        int items = i(0) * i(1);
        launch((items + 3) / 4, 1, 128, [&] { head_norm_rope<T>(x.data(), w.data(), turns.data(), items, i(1), i(2), n.at(3)); });
        x.write();
    } else if (name == "attend_plain" || name == "attend") { // heads, kv_heads, head_dim
        auto q = Buffer<T>::read(), k = Buffer<T>::read(), v = Buffer<T>::read();
        auto words = read_words();
        auto tiles = (const Tile *)words.data();
        unsigned count = words.size() / 6, most = 0;
        for (unsigned t = 0; t < count; t++) most = std::max(most, tiles[t].rows);
        Buffer<T> y(q.n);
        float scale = 1.0f / sqrtf(i(2));
        int heads = i(0), kv_heads = i(1), d = i(2);
        if (name == "attend_plain") {
            launch(count, most * heads, 32, [&] { attend_plain<T>(q.data(), k.data(), v.data(), y.data(), tiles, heads, kv_heads, d, scale); });
        } else if constexpr (sizeof(T) == 2) {
            scale *= 1.44269504f;
            launch(count, kv_heads, THREADS, [&] {
                by_type<T>::attend(d)(q.data(), k.data(), v.data(), y.data(), tiles, heads, kv_heads, scale);
            });
        }
        y.write();
    } else {
        fail("no such kernel");
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 3) fail("usage: emulate KERNEL TYPE NUMBER...");
    std::vector<double> numbers;
    for (int i = 3; i < argc; i++) numbers.push_back(atof(argv[i]));
    std::string name = argv[1], type = argv[2];
    if (type == "f32") return run<float>(name, numbers);
    if (type == "f16") return run<f16>(name, numbers);
    if (type == "bf16") return run<bf16>(name, numbers);
    fail("no such type");
}
