// Entry for pages, web workers and bundlers.
import * as measure from './capabilities.js';
import { load, RerankerBase } from './reranker.js';
import * as web from './platform/web.js';

export { RerankError } from './errors.js';
export { models } from './registry.js';

export const capabilities = () => measure.capabilities(web);

export class Reranker extends RerankerBase {
  static load(options) {
    return load(this, options, web);
  }
}
