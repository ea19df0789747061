// Entry for Node, Deno and Bun.
import { load, RerankerBase } from './reranker.js';
import * as node from './platform/node.js';

export { capabilities } from './capabilities.js';
export { RerankError } from './errors.js';
export { models } from './registry.js';

export class Reranker extends RerankerBase {
  static load(options) {
    return load(this, options, node);
  }
}
