// Entry `edge-reranker/server`: the HTTP API as a function from Request to Response.
export { createFetchHandler } from './server/handler.js';
