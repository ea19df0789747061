// The script of the worker thread in Node. The owner sends one port; all else goes over it.
import { parentPort } from 'node:worker_threads';
import { serve } from './host.js';
import * as node from './platform/node.js';

parentPort.on('message', (data) => {
  if (typeof data?.port?.postMessage === 'function') serve(data.port, node);
});
