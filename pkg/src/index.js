// Entry for pages, web workers and bundlers.
import { load, RerankerBase } from './reranker.js';
import * as web from './platform/web.js';

export { capabilities } from './capabilities.js';
export { RerankError } from './errors.js';
export { models } from './registry.js';

export class Reranker extends RerankerBase {
  static load(options) {
    return load(this, options, web);
  }
}
