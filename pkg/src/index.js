// Entry for pages, web workers and bundlers.
import * as measure from './capabilities.js';
import { createModels } from './models-later.js';
import { load, RerankerBase } from './reranker.js';
import * as web from './platform/web.js';

export { fromBucket } from './bucket.js';
export { RerankError } from './errors.js';

export const capabilities = () => measure.capabilities(web);
export const models = createModels(web);

export class Reranker extends RerankerBase {
  static load(options) {
    return load(this, options, web);
  }
}
