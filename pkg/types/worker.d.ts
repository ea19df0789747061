// The script of the worker: it is started, not called. `new Worker(new URL('edge-reranker/worker', import.meta.url), { type: 'module' })`
export {};
