// Stands in for the package where a test needs a failure that cannot be had on demand. The query says what happens.

class RerankError extends Error {
  constructor(code, message) {
    super(message)
    this.name = 'RerankError'
    this.code = code
  }
}

// `?gpu=hardware`, `?gpu=software`, or no GPU at all.
const gpu = new URLSearchParams(location.search).get('gpu')
const adapter = gpu && { name: 'acme rocket-3', f16: true, subgroups: true, packedInt8: true, software: gpu === 'software' }
const recommended = gpu === 'hardware' ? { device: 'webgpu', reason: 'The GPU is good.' } : { device: 'wasm', reason: 'A reason.' }

export const capabilities = async () => ({ simd: true, webgpu: Boolean(gpu), adapter, recommended })

/** `storage` is what a test puts in the place of the rest: usage, delete and so on. */
export const models = {
  list: async () => [{ id: 'mini', label: 'Built-in', bytes: 1, builtin: true }, { id: 'big', label: 'Big', bytes: 640_000_000, builtin: false }],
  ...globalThis.storage,
}

export class Reranker {
  #lose
  #options
  #device
  lost

  constructor(options) {
    this.#options = options
    this.#begin()
  }

  #begin() {
    const { device = 'auto' } = this.#options
    this.#device = device === 'auto' ? recommended.device : device
    this.lost = new Promise((resolve) => { this.#lose = resolve })
  }

  static async load(options) {
    const { model, device } = options
    ;(globalThis.loads ??= []).push(`${model} on ${device}`)
    if (globalThis.broken === device) throw new RerankError('oom', 'The GPU has no memory for 640 MB.')
    if (model === 'typo') throw new RerankError('bad-input', "There is no model 'typo'.")
    if (model === 'big') throw new RerankError('oom', 'There is no memory for 640 MB.')
    return new Reranker(options)
  }

  info() {
    return {
      name: 'fake', architecture: 'qwen3', format: 'gguf', quantization: 'F32', parameters: 1e6, bytes: 4e6, layers: 1, hidden: 64, intermediate: 64,
      heads: 1, kvHeads: 1, headDim: 64, vocabulary: 512, contextLength: 4096, tied: true, head: 'tied', device: this.#device, deviceReason: `Asked for ${this.#options.device}.`, threads: 1, instructions: 'simd128', warnings: [],
      ...(this.#device === 'webgpu' && { adapter, kernels: 'q8 x f32' }),
    }
  }

  async rerank(query, documents, { onScore, signal, maxLength }) {
    globalThis.asked = { maxLength, ids: documents.map(({ id }) => id) }
    if (query === 'wait') await new Promise((go, stop) => {
      globalThis.go = go
      signal.addEventListener('abort', () => stop(new RerankError('aborted', 'Stopped.')))
    })
    if (query === 'lose') {
      this.#lose({ reason: 'device-lost' })
      this.lostNow = true
      throw new RerankError('device-lost', 'The GPU was lost.')
    }
    if (this.lostNow) {
      this.lostNow = false
      this.#options.onProgress({ status: 'progress', name: 'fake', file: 'fake.gguf', loaded: 1e6, total: 4e6 })
      await new Promise((go) => { globalThis.reloaded = go })
      this.#options.onProgress({ status: 'ready', name: 'fake' })
      this.#begin()
    }
    if (query === 'too long') throw new RerankError('too-long', 'The query alone needs 9000 of 8192 tokens: shorten it.')
    if (query === 'die') {
      this.#lose({ reason: 'oom' })
      throw new RerankError('oom', 'The WebAssembly engine stopped.')
    }
    const results = documents.map((document, index) => ({ index, relevanceScore: 0.5, logit: 0, tokens: 10, truncated: index === 0 }))
    results.forEach(({ index }, at) => onScore({ index, score: 0.5, done: at + 1, total: documents.length }))
    return {
      results, usage: { promptTokens: 0, totalTokens: 0, prefixReusedTokens: 0 }, timings: { tokenizeMs: 0, inferMs: 0, totalMs: 0 },
      model: 'fake', device: this.#device, warnings: query === 'warn' ? ['Something to know.'] : [],
    }
  }

  async unload() {
    this.#lose({ reason: 'destroyed' })
  }
}
