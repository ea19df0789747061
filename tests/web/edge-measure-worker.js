// The example worker, and what it took: GET /measured gives the bytes of the engine's memory and those that the bucket has given.
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
    if (new URL(request.url).pathname === '/measured') return Response.json({ memory: memory?.buffer.byteLength ?? 0, bytes, reads });
    bucket ??= env.MODELS && counted(env.MODELS);
    return worker.fetch(request, { ...env, MODELS: bucket }, ctx);
  },
};
