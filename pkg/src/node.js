// Entry for Node, Deno and Bun.
import * as measure from './capabilities.js';
import { createModels } from './models-later.js';
import { load, RerankerBase } from './reranker.js';
import * as node from './platform/node.js';

export { fromBucket } from './bucket.js';
export { RerankError } from './errors.js';

export const capabilities = () => measure.capabilities(node);
export const models = createModels(node);

export class Reranker extends RerankerBase {
  static load(options) {
    return load(this, options, node);
  }
}
