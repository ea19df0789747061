// What a reader is told about a failure: a title and what to do, by the package's error code.

const KNOWN = {
  unsupported: ['This browser cannot run the model', 'Use a current Chrome, Edge, Firefox or Safari: WebAssembly with SIMD is needed.'],
  'webgpu-unavailable': ['No GPU is available to this page', 'The CPU works everywhere: choose it, or Automatic, under Change model.'],
  'device-lost': ['The GPU was lost', 'Rank again: the model is loaded again by itself.'],
  oom: ['Not enough memory', 'Close other tabs, choose a smaller or more strongly quantised model, or rank fewer and shorter documents.'],
  download: ['The download failed', 'Check the address and the connection, then try again. A server must allow other pages to read the file (CORS).'],
  quota: ['The browser’s storage is full', 'Remove a downloaded model or free some disk space, then try again.'],
  integrity: ['The file is not the one expected', 'It was damaged on the way or has changed on the server. Download it again.'],
  'bad-model': ['This model file cannot be used', 'A GGUF file of a Qwen3-Reranker model is needed, complete and with its tokeniser inside.'],
  'bad-input': ['This input cannot be ranked', null],
  'too-long': ['The query is too long', null],
  'not-loaded': ['No model is loaded', 'Choose one under Change model.'],
}

/** Failures of the GPU that the CPU need not share. */
export const isOfGpu = (error) => ['webgpu-unavailable', 'device-lost', 'oom'].includes(error?.code)

export const isAbort = (error) => error?.code === 'aborted' || error?.name === 'AbortError'

/** The same codes while a model is loaded. */
const LOADING = { 'bad-input': ['This model cannot be loaded', 'Check its name or address.'] }

/** An error as the arguments of `notice`. */
export function explain(error, { loading = false } = {}) {
  const [title, hint] = (loading && LOADING[error?.code]) || KNOWN[error?.code] || ['Something went wrong', null]
  const text = error?.message || String(error)
  return { kind: 'bad', title, text, hint, code: error?.code }
}
