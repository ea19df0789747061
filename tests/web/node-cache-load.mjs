// A process that loads a model and ends, or is killed: `node node-cache-load.mjs ADDRESS thread|worker`.
import { Reranker } from '../../pkg/src/node.js';

const [, , model, where] = process.argv;
const reranker = await Reranker.load({ model, worker: where === 'worker' });
await reranker.unload();
