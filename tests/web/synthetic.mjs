// A GGUF file of the shape of Qwen3-Reranker-0.6B (or of any other) that lies nowhere: its header holds the real tokeniser, its weights are repeated from a seeded
// tile when they are read. So tests stream and load hundreds of megabytes without a download.
import { readFile } from 'node:fs/promises';

export const SHAPE = { layers: 28, hidden: 1024, intermediate: 3072, heads: 16, kvHeads: 8, headDim: 128 };
const ALIGNMENT = 32;
const BLOCK = 34; // of Q8_0: a half-precision scale and 32 codes
const F32 = 0;
const Q8_0 = 8;

const encoder = new TextEncoder();
const u32 = (n) => new Uint8Array(Uint32Array.of(n).buffer);
const u64 = (n) => new Uint8Array(BigUint64Array.of(BigInt(n)).buffer);
const string = (text) => {
  const bytes = encoder.encode(text);
  return [u64(bytes.length), bytes];
};
const number = (key, value) => [string(key), u32(4), u32(value)];
const text = (key, value) => [string(key), u32(8), string(value)];
const list = (key, kind, values, one) => [string(key), u32(9), u32(kind), u64(values.length), values.map(one)];
const join = (parts) => new Uint8Array(Buffer.concat(parts.flat(Infinity)));

function arrays({ model, added_tokens: added }) {
  const tokens = [];
  for (const [token, id] of Object.entries(model.vocab)) tokens[id] = token;
  const types = tokens.map(() => 1);
  for (const { id, content, special } of added) [tokens[id], types[id]] = [content, special ? 3 : 4];
  return { tokens, types, merges: model.merges.map((merge) => (typeof merge === 'string' ? merge : merge.join(' '))) };
}

function tensorsOf({ layers, hidden, intermediate, heads, kvHeads, headDim }, vocabulary) {
  const [q, kv] = [heads * headDim, kvHeads * headDim];
  const matrix = (name, rows, columns) => ({ name, dims: [columns, rows], type: Q8_0, bytes: (rows * columns * BLOCK) / 32 });
  const norm = (name, length) => ({ name, dims: [length], type: F32, bytes: 4 * length });
  const layer = (i) => [
    norm(`blk.${i}.attn_norm.weight`, hidden),
    matrix(`blk.${i}.ffn_down.weight`, hidden, intermediate),
    matrix(`blk.${i}.ffn_gate.weight`, intermediate, hidden),
    matrix(`blk.${i}.ffn_up.weight`, intermediate, hidden),
    norm(`blk.${i}.ffn_norm.weight`, hidden),
    norm(`blk.${i}.attn_k_norm.weight`, headDim),
    matrix(`blk.${i}.attn_k.weight`, kv, hidden),
    matrix(`blk.${i}.attn_output.weight`, hidden, q),
    norm(`blk.${i}.attn_q_norm.weight`, headDim),
    matrix(`blk.${i}.attn_q.weight`, q, hidden),
    matrix(`blk.${i}.attn_v.weight`, kv, hidden),
  ];
  const all = [matrix('token_embd.weight', vocabulary, hidden), ...Array.from({ length: layers }, (_, i) => layer(i)).flat(), norm('output_norm.weight', hidden)];
  let offset = 0;
  for (const tensor of all) {
    tensor.offset = offset;
    offset = Math.ceil((offset + tensor.bytes) / ALIGNMENT) * ALIGNMENT;
  }
  return all;
}

// Blocks of small weights: xorshift numbers, and scales that keep activations in the range of a trained model's.
function tileOf(blocks = 8191) {
  const tile = new Uint8Array(blocks * BLOCK);
  const view = new DataView(tile.buffer);
  let state = 2463534242;
  for (let at = 0; at < tile.length; at++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    tile[at] = state & 0xff;
  }
  for (let at = 0; at < tile.length; at += BLOCK) view.setUint16(at, 0x0d00 + (tile[at] & 0x7f), true); // about 0.0003
  return tile;
}

// `tokenizer`: the path of a tokenizer.json. Gives { name, size, read(start, end), reads }, where `reads` counts calls and bytes.
export async function synthetic(tokenizer, shape = SHAPE) {
  const { tokens, types, merges } = arrays(JSON.parse(await readFile(tokenizer, 'utf8')));
  const tensors = tensorsOf(shape, tokens.length);
  const pairs = [
    text('general.architecture', 'qwen3'),
    number('qwen3.block_count', shape.layers),
    number('qwen3.embedding_length', shape.hidden),
    number('qwen3.feed_forward_length', shape.intermediate),
    number('qwen3.attention.head_count', shape.heads),
    number('qwen3.attention.head_count_kv', shape.kvHeads),
    number('qwen3.attention.key_length', shape.headDim),
    number('qwen3.context_length', 40_960),
    number('qwen3.rope.freq_base', 1_000_000),
    text('tokenizer.ggml.model', 'gpt2'),
    text('tokenizer.ggml.pre', 'qwen2'),
    list('tokenizer.ggml.tokens', 8, tokens, string),
    list('tokenizer.ggml.token_type', 5, types, u32),
    list('tokenizer.ggml.merges', 8, merges, string),
  ];
  const infos = tensors.map(({ name, dims, type, offset }) => [string(name), u32(dims.length), dims.map(u64), u32(type), u64(offset)]);
  const header = join([encoder.encode('GGUF'), u32(3), u64(tensors.length), u64(pairs.length), pairs, infos]);
  const start = Math.ceil(header.length / ALIGNMENT) * ALIGNMENT;
  const tile = tileOf();
  const one = new Uint8Array(Float32Array.of(1).buffer);
  const last = tensors.at(-1);
  const reads = { calls: 0, bytes: 0 };

  function fill(out, from) {
    const to = from + out.length;
    out.set(header.subarray(Math.min(from, header.length), Math.min(to, header.length)));
    for (const [n, { offset, bytes, type }] of tensors.entries()) {
      const base = start + offset;
      let at = Math.max(from, base);
      const end = Math.min(to, base + bytes);
      if (type === F32) for (; at < end; at++) out[at - from] = one[(at - base) % 4];
      while (at < end) {
        const place = (at - base + n * 17 * BLOCK) % tile.length; // tensors begin at different blocks
        const part = tile.subarray(place, Math.min(place + end - at, tile.length));
        out.set(part, at - from);
        at += part.length;
      }
    }
    return out;
  }

  return {
    name: 'synthetic.gguf',
    size: start + last.offset + last.bytes,
    reads,
    read(from, to) {
      reads.calls += 1;
      reads.bytes += to - from;
      return fill(new Uint8Array(to - from), from);
    },
  };
}
