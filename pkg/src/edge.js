// Entry for edge runtimes where the caller imports the WebAssembly module and passes it as `wasm`.
import { load, RerankerBase } from './reranker.js';
import * as edge from './platform/edge.js';

export { capabilities } from './capabilities.js';
export { RerankError } from './errors.js';
export { models } from './registry.js';

export class Reranker extends RerankerBase {
  static load(options) {
    return load(this, options, edge);
  }
}
