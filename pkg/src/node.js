// Entry for Node, Deno and Bun.
import * as measure from './capabilities.js';
import { load, RerankerBase } from './reranker.js';
import * as node from './platform/node.js';

export { RerankError } from './errors.js';
export { models } from './registry.js';

export const capabilities = () => measure.capabilities(node);

export class Reranker extends RerankerBase {
  static load(options) {
    return load(this, options, node);
  }
}
