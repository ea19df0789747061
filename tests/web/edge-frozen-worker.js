import './edge-frozen.js';
export { default } from '../../examples/edge-worker/src/worker.js';
