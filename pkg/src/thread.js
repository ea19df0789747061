// The script of a worker that helps to compute, in browsers.
import { serveThread } from './serve-thread.js';

self.addEventListener('message', ({ data }) => data?.memory && serveThread(data, (word) => self.postMessage(word)), { once: true });
