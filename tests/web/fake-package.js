// Stands in for the package where a test needs a failure that cannot be had on demand. The query says what happens.

class RerankError extends Error {
  constructor(code, message) {
    super(message)
    this.name = 'RerankError'
    this.code = code
  }
}

export const capabilities = async () => ({ simd: true, recommended: { device: 'wasm', reason: 'A reason.' } })

export const models = {
  list: async () => [{ id: 'mini', label: 'Built-in', bytes: 1, builtin: true }, { id: 'big', label: 'Big', bytes: 640_000_000, builtin: false }],
}

export class Reranker {
  #lose
  lost = new Promise((resolve) => { this.#lose = resolve })

  static async load({ model }) {
    if (model === 'typo') throw new RerankError('bad-input', "There is no model 'typo'.")
    if (model === 'big') throw new RerankError('oom', 'There is no memory for 640 MB.')
    return new Reranker()
  }

  info() {
    return {
      name: 'fake', architecture: 'qwen3', format: 'gguf', quantization: 'F32', parameters: 1e6, bytes: 4e6, layers: 1, hidden: 64, intermediate: 64,
      heads: 1, kvHeads: 1, headDim: 64, vocabulary: 512, contextLength: 4096, tied: true, head: 'tied', device: 'wasm', warnings: [],
    }
  }

  async rerank(query, documents, { onScore, signal, maxLength }) {
    globalThis.asked = { maxLength, ids: documents.map(({ id }) => id) }
    if (query === 'wait') await new Promise((go, stop) => {
      globalThis.go = go
      signal.addEventListener('abort', () => stop(new RerankError('aborted', 'Stopped.')))
    })
    if (query === 'too long') throw new RerankError('too-long', 'The query alone needs 9000 of 8192 tokens: shorten it.')
    if (query === 'die') {
      this.#lose({ reason: 'oom' })
      throw new RerankError('oom', 'The WebAssembly engine stopped.')
    }
    const results = documents.map((document, index) => ({ index, relevanceScore: 0.5, logit: 0, tokens: 10, truncated: index === 0 }))
    results.forEach(({ index }, at) => onScore({ index, score: 0.5, done: at + 1, total: documents.length }))
    return {
      results, usage: { promptTokens: 0, totalTokens: 0, prefixReusedTokens: 0 }, timings: { tokenizeMs: 0, inferMs: 0, totalMs: 0 },
      model: 'fake', device: 'wasm', warnings: query === 'warn' ? ['Something to know.'] : [],
    }
  }

  async unload() {
    this.#lose({ reason: 'destroyed' })
  }
}
