// Entry for Cloudflare Workers, which compile the imported module at deploy time.
import module from '../dist/edge_reranker_bg.wasm';
import { load, RerankerBase } from './reranker.js';
import * as edge from './platform/edge.js';

export { capabilities } from './capabilities.js';
export { RerankError } from './errors.js';
export { models } from './registry.js';

export class Reranker extends RerankerBase {
  static load(options) {
    return load(this, { ...options, wasm: options?.wasm ?? module }, edge);
  }
}
