// The script of a worker that helps to compute, in Node.
import { parentPort } from 'node:worker_threads';
import { serveThread } from './serve-thread.js';

parentPort.once('message', (data) => serveThread(data, (word) => parentPort.postMessage(word)));
