// Entry for edge runtimes where the caller imports the WebAssembly module and passes it as `wasm`.
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
    return load(this, options, edge);
  }
}
