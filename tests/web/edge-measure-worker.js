// The example worker, and what it took: /measured gives the bytes of the engine's memory and those that the bucket has given; /upload fills the bucket.
import worker from '../../examples/edge-worker/src/worker.js';

let memory;
let bytes = 0;
let reads = 0;

const { instantiate } = WebAssembly;
WebAssembly.instantiate = async (...args) => {
  const result = await instantiate.apply(WebAssembly, args);
  memory = (result.instance ?? result).exports.memory;
  return result;
};

const counted = (bucket) => ({
  head: (key) => bucket.head(key),
  async get(key, options) {
    reads += 1;
    bytes += options.range.length;
    return bucket.get(key, options);
  },
});

let bucket;

export default {
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    if (pathname === '/upload') return Response.json(await env.MODELS.put(env.MODEL_KEY, request.body));
    if (pathname === '/measured') return Response.json({ memory: memory?.buffer.byteLength ?? 0, bytes, reads });
    bucket ??= env.MODELS && counted(env.MODELS);
    return worker.fetch(request, { ...env, MODELS: bucket }, ctx);
  },
};
