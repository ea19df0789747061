// Entry for Cloudflare Workers, which compile the imported module at deploy time. Their engine knows relaxed SIMD.
import module from '../dist/edge_reranker_relaxed_bg.wasm';
import * as measure from './capabilities.js';
import { createModels } from './models-later.js';
import { load, RerankerBase } from './reranker.js';
import * as edge from './platform/edge.js';

export { fromBucket } from './bucket.js';
export { RerankError } from './errors.js';

export const capabilities = () => measure.capabilities(edge);
export const models = createModels(edge);

export class Reranker extends RerankerBase {
  static load(options) {
    return load(this, { ...options, wasm: options?.wasm ?? module }, edge);
  }
}
