/// <reference lib="esnext.disposable" />
/// <reference lib="dom" />

/** Bytes that are read when they are needed: any store that can give a range of a file. */
export interface RangeReader {
  /** Length of the file in bytes. */
  readonly size: number;
  readonly name?: string;
  /** Exactly the bytes from `start` to `end` (exclusive). May be called several times at once. */
  read(start: number, end: number): Uint8Array | ArrayBuffer | Promise<Uint8Array | ArrayBuffer>;
}

export interface ProgressEvent {
  status: 'initiate' | 'download' | 'progress' | 'done' | 'verify' | 'upload' | 'ready';
  /** The model. */
  name: string;
  /** Absent for `ready`. */
  file?: string;
  loaded?: number;
  /** 0 where the server does not say. */
  total?: number;
  /** 0 to 100. */
  progress?: number;
  /** Over the last seconds. */
  bytesPerSecond?: number;
  etaMs?: number | null;
  /** The file lay whole in the store. */
  fromCache?: boolean;
}

/**
 * Where files of addresses and of Hugging Face ids are kept for later loads. 'auto': in browsers the private file system (OPFS) where
 * pages can write it, else the Cache API; in Node, Deno and Bun the folder $EDGE_RERANKER_CACHE, else `edge-reranker` in $XDG_CACHE_HOME or
 * ~/.cache; in edge runtimes nowhere.
 * A download that ends half way is gone on with by the next load, also after the tab or process has died; one of several at once downloads.
 * Files of ids are used as they are stored until `models.delete`; a plain address is asked whether it changed, by ETag,
 * Last-Modified and length. A server that sends neither of the first two cannot tell of a new file of the same length, which is then not
 * seen; a part of its file is begun anew, unless `integrity` is given. Where nothing can be stored, `warnings` says so and the model loads
 * all the same. Use 'none' for signed addresses that are others each time.
 */
export type CacheChoice = 'auto' | 'opfs' | 'cache-api' | 'none';

/**
 * SHA-256 of whole files, by file name or address: 'sha256-<base64>' or 64 hexadecimal digits. A file that is another one fails the load
 * with `integrity`, and nothing of it is kept. With `streaming` a cache is needed, in which the file is checked before it is used.
 */
export type Integrity = Record<string, string>;

/** A dedicated Worker, or a worker thread of Node, that runs `edge-reranker/worker`. */
export interface WorkerLike {
  postMessage(message: any, transfer: any[]): void;
}

export interface LoadOptions {
  /**
   * What to load; 'mini', the model inside the package, by default. A string is a short name ('mini', '0.6b-q8', '0.6b-q4'), a Hugging Face
   * id `owner/name[@revision][:QUANT|/file.gguf]`, an address, or in Node a path of a .gguf file or of a Hugging Face folder.
   */
  model?: string | URL | File | Blob | Uint8Array | ArrayBuffer | RangeReader | null;
  /** A tokenizer.json to be used in place of the model's own. */
  tokenizer?: string | URL | Blob | Uint8Array | ArrayBuffer | null;
  /** Branch, tag or commit of the Hugging Face repository. */
  revision?: string | null;
  /**
   * 'auto' takes the GPU where there is one in hardware, and the CPU ('wasm') where there is none or where loading on it fails. 'webgpu'
   * takes any adapter, one in software too, and fails with `webgpu-unavailable` without. `info().deviceReason` tells what was chosen and why.
   */
  device?: 'auto' | 'webgpu' | 'wasm' | null;
  /**
   * Threads that compute on the CPU, the engine's own among them: 1 to 64, or 'auto', the default: one a core, at most 8. They need a worker
   * for the engine in a page, and a page that is cross-origin isolated: served, with all its scripts, with the headers
   * `Cross-Origin-Opener-Policy: same-origin` and `Cross-Origin-Embedder-Policy: require-corp`. Without, one thread computes, and a number
   * above 1 brings a warning. `info().threads` tells how many there are. Models that share a worker, or Node's own thread, share its threads.
   */
  threads?: number | 'auto' | null;
  /**
   * Compute in a worker: true in browsers and false elsewhere by default. Also a Worker that runs `edge-reranker/worker`; if it reports an
   * error that nobody caught, the engine in it counts as lost. Should memory run out inside WebAssembly, a worker fails its calls with
   * `oom`; in Node's own thread it ends the process, so that a server should compute in a worker.
   */
  worker?: boolean | WorkerLike | null;
  /**
   * The WebAssembly module, where it does not lie beside the scripts: any of the four in `dist`, whose build is read off the module.
   * `edge_reranker_bg.wasm` runs wherever the package does, `edge_reranker_relaxed_bg.wasm` where there is relaxed SIMD
   * (`capabilities().relaxedSimd`) and is faster there; those with `threads` in their names need shared memory and compute on the CPU only.
   * Left out, the best for this place is fetched from `dist`, and no other. A thread starts a given module once: later loads in the same
   * thread that give one use the module that is there.
   */
  wasm?: string | URL | BufferSource | WebAssembly.Module | null;
  /**
   * `device` is a GPUDevice of yours: it is used in this thread, without a worker, and is left alone by `unload`; its `onuncapturederror`
   * is the engine's meanwhile. Should it be lost, the next call asks for another one.
   */
  gpu?: { device?: object | null; powerPreference?: 'low-power' | 'high-performance' | null } | null;
  /**
   * Leave the weights where they are and read them layer by layer for every pass over a request's documents, while the layer before is computed. Scores are
   * the same. `memoryMB` is the most that the engine's memory can grow to, everything included: 96 are enough for the 0.6B in 8 bits, and more let more
   * documents share a pass; a call's texts may have a forty-eighth of it. `true` allows 1024. Without, all weights are held in memory. The CPU computes; the source must give ranges of the file for as
   * long as the model is in use.
   */
  streaming?: boolean | { memoryMB: number } | null;
  cache?: CacheChoice | null;
  integrity?: Integrity | null;
  /** In place of https://huggingface.co. */
  remoteHost?: string | null;
  fetch?: typeof fetch | null;
  /** What it throws ends the load with `aborted`; the error is the `cause`. */
  onProgress?: ((event: ProgressEvent) => void) | null;
  signal?: AbortSignal | null;
}

/** Other fields are ignored. One text has at most 64 MB, all texts of a call have at most 512 MB. */
export type DocumentInput =
  | string
  | { readonly text: string; readonly id?: string | null }
  | { readonly text: string; readonly id?: string | null; readonly [field: string]: unknown };

export interface ScoreEvent {
  index: number;
  score: number;
  done: number;
  total: number;
}

export interface ScoreOptions {
  instruction?: string | null;
  /** Bounds the whole prompt in tokens (8192); the document's end is cut. */
  maxLength?: number | null;
  /** The logit difference in place of the probability. */
  rawScores?: boolean | null;
  /** 'card' is the model card's prompt, 'eval' the evaluation scripts', 'raw' means that the texts hold the prompt already. */
  template?: 'card' | 'eval' | 'raw' | null;
  /** Control tokens inside texts are read as such. Off: text is data. */
  parseSpecial?: boolean | null;
  /** Keeps what was computed for the instruction and the query, for the next request with the same ones: for a list that grows. */
  keepPrefix?: boolean | null;
  signal?: AbortSignal | null;
  /** Hears every score; `index` is that of the document, or of the pair. What it throws ends the call with `aborted`; the error is the `cause`. */
  onScore?: ((event: ScoreEvent) => void) | null;
}

export interface StreamOptions extends ScoreOptions {
  /** Leaves out scores below. (A stream cannot know the best n: `topN` is refused.) */
  threshold?: number | null;
}

export interface RerankOptions extends ScoreOptions {
  /** The best n; 0 means all. */
  topN?: number | null;
  returnDocuments?: boolean | null;
  /** Leaves out results whose score is below. */
  threshold?: number | null;
  /** Not in this version: refused with `unsupported`. */
  chunk?: { tokens: number; overlap?: number; aggregate?: 'max' | 'mean' } | null;
  /** Not in this version: refused with `unsupported`. */
  expand?: Expander | null;
}

/** Gives other wordings of a query. */
export type Expander = (query: string, options: { signal?: AbortSignal }) => Promise<readonly string[]> | readonly string[];

export interface RerankResult {
  /** Sorted by score, ties by index. */
  results: {
    index: number;
    relevanceScore: number;
    logit: number;
    tokens: number;
    truncated: boolean;
    id?: string;
    document?: { text: string };
  }[];
  usage: { promptTokens: number; totalTokens: number; prefixReusedTokens: number };
  timings: { tokenizeMs: number; inferMs: number; totalMs: number };
  model: string;
  device: string;
  warnings: string[];
}

export interface ModelInfo {
  name: string;
  architecture: 'qwen3';
  format: 'gguf' | 'safetensors';
  quantization: string;
  parameters: number;
  bytes: number;
  layers: number;
  hidden: number;
  intermediate: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  vocabulary: number;
  contextLength: number;
  tied: boolean;
  head: 'tied' | 'output' | 'cls' | 'score';
  /** 'webgpu' or 'wasm'. */
  device: string;
  /** Why this device, in a sentence. */
  deviceReason: string;
  /** Tells the weights from others of the same shape. */
  fingerprint: string;
  /** Where weights are streamed: the memory in bytes, and the tokens of all prompts (their shared prefix counts once) that go through in one pass. */
  streaming?: { memory: number; tokensPerPass: number };
  /** Threads of the CPU that compute. */
  threads: number;
  /** What the WebAssembly module is built for. */
  instructions: 'simd128' | 'relaxed-simd';
  /** On 'webgpu': the adapter that computes. */
  adapter?: { name: string; f16: boolean; subgroups: boolean; packedInt8: boolean; software: boolean };
  /** On 'webgpu': which variants of the kernels are in use. */
  kernels?: string;
  warnings: string[];
}

export class Reranker implements AsyncDisposable {
  private constructor();
  static load(options?: LoadOptions | null): Promise<Reranker>;
  rerank(query: string, documents: readonly DocumentInput[], options?: RerankOptions | null): Promise<RerankResult>;
  /** Scores as they are known. Leaving the loop stops the work. */
  rerankStream(
    query: string,
    documents: readonly DocumentInput[],
    options?: StreamOptions | null,
  ): AsyncIterable<{ index: number; relevanceScore: number }>;
  score(pairs: readonly (readonly [query: string, document: string])[], options?: ScoreOptions | null): Promise<Float32Array>;
  tokenize(query: string, document: string, options?: ScoreOptions | null): Promise<{ ids: Uint32Array; sharedPrefix: number }>;
  /** Not in this version: fails with `unsupported`. */
  explain(query: string, document: string, options?: ScoreOptions | null): Promise<{ start: number; end: number; weight: number }[]>;
  info(): ModelInfo;
  unload(): Promise<void>;
  /**
   * Settles when the device or the engine is lost, or at `unload`. After 'device-lost' the calls that run fail with that code, the next
   * call loads the model again from its source, and from then on this is a new promise.
   */
  readonly lost: Promise<{ reason: 'destroyed' | 'device-lost' | 'oom' }>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface Capabilities {
  /** There is a WebGPU adapter, be it in software. */
  webgpu: boolean;
  f16: boolean;
  subgroups: boolean;
  /** WGSL has dot products of packed 8-bit integers. */
  packedInt8: boolean;
  adapter: { vendor: string; architecture: string; description: string; software: boolean } | null;
  simd: boolean;
  /** The build with relaxed SIMD is taken here. */
  relaxedSimd: boolean;
  /** How many threads `threads: 'auto'` takes here, for an engine in a worker. */
  threads: number;
  /** Those of the adapter, null without one. */
  limits: {
    maxBufferSize: number | null;
    maxStorageBufferBindingSize: number | null;
    maxStorageBuffersPerShaderStage: number | null;
    maxComputeWorkgroupStorageSize: number | null;
    maxComputeInvocationsPerWorkgroup: number | null;
    wasmMemory: number;
  };
  /** What `device: 'auto'` takes, and why. */
  recommended: { device: 'wasm' | 'webgpu' | null; reason: string };
}

export function capabilities(): Promise<Capabilities>;

export interface ModelEntry {
  id: string;
  label: string;
  /** Approximate size of the download. */
  bytes: number;
  builtin: boolean;
  repo?: string;
  file?: string;
}

/** A registered model and what is stored of it. */
export interface ListedModel extends ModelEntry {
  /** A load needs no network. */
  cached: boolean;
  /** Of a part, too. */
  bytesCached: number;
}

export interface ModelPlace {
  revision?: string | null;
  remoteHost?: string | null;
  cache?: CacheChoice | null;
}

export interface DownloadOptions extends ModelPlace {
  integrity?: Integrity | null;
  fetch?: typeof fetch | null;
  /** What it throws ends the download with `aborted`; the error is the `cause`. */
  onProgress?: ((event: ProgressEvent) => void) | null;
  /** Ends the download; the same call later goes on where it was. That is how a download is paused. */
  signal?: AbortSignal | null;
}

export interface Usage {
  bytes: number;
  /** What may be used in all; null where nobody tells. */
  quota: number | null;
  /** By `id`, with `remoteHost` where there is one, a model can be named again; `partial` means that something is missing. */
  models: { id: string; remoteHost?: string; files: string[]; bytes: number; partial: boolean }[];
}

/** The models that are known and those that are stored here. `model` is an id or an address, as for `Reranker.load`. */
export const models: {
  /** The models that have a short name. */
  list(): Promise<ListedModel[]>;
  /** True if a load needs no network. */
  isCached(model: string | URL, options?: ModelPlace | null): Promise<boolean>;
  /** Stores what is missing and checks it. Fails with `quota` where there is no room. */
  download(model: string | URL, options?: DownloadOptions | null): Promise<void>;
  /** Removes a model, or the part of one; false if there was none. A model that is being downloaded is refused. */
  delete(model: string | URL, options?: ModelPlace | null): Promise<boolean>;
  /** Of one store: 'auto', or the `cache` that was chosen at the load. */
  usage(options?: { cache?: CacheChoice | null } | null): Promise<Usage>;
  /** Asks the browser not to clear the storage when space runs short; true if it agrees. */
  persist(): Promise<boolean>;
};

/** What `fromBucket` needs of a bucket; an R2 binding has it. */
export interface BucketLike {
  head(key: string): Promise<{ size: number; etag?: string } | null>;
  get(
    key: string,
    options: { range: { offset: number; length: number } },
  ): Promise<{ arrayBuffer?(): Promise<ArrayBuffer>; etag?: string } | null>;
}

/** A model in a bucket, to be passed as `model`: only the bytes that are read are fetched, and a failed read is tried again. */
export function fromBucket(bucket: BucketLike, key: string, options?: { attempts?: number }): Promise<RangeReader>;

export type RerankErrorCode =
  | 'unsupported'
  | 'webgpu-unavailable'
  | 'device-lost'
  | 'oom'
  | 'download'
  | 'quota'
  | 'integrity'
  | 'bad-model'
  | 'bad-input'
  | 'too-long'
  | 'aborted'
  | 'not-loaded';

export class RerankError extends Error {
  constructor(code: RerankErrorCode, message: string, options?: ErrorOptions);
  readonly name: 'RerankError';
  readonly code: RerankErrorCode;
}
