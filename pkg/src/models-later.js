// The public `models`. Its script, and all of the cache that it needs, is fetched at the first use: a page that only ranks in a worker does without.
import { RerankError } from './errors.js';

const NAMES = ['list', 'isCached', 'download', 'delete', 'usage', 'persist'];

export function createModels(platform) {
  const later = (name) => async (...given) => {
    const { createModels } = await import('./models.js').catch((cause) => {
      throw new RerankError('download', `Cannot load the script of \`models\`: ${cause.message}. Serve all files of the package's src folder, and those of a bundle.`, { cause });
    });
    return createModels(platform)[name](...given);
  };
  return Object.fromEntries(NAMES.map((name) => [name, later(name)]));
}
