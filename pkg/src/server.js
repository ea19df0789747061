// Entry `edge-reranker/server`: the HTTP API as functions from Request to Response.
export { createFetchHandler } from './server/handler.js';
export { createProxyHandler } from './server/proxy.js';
