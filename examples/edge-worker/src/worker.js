// The HTTP API of edge-reranker in a worker. The variable MODE says who computes: this worker with the built-in model ('mini') or with a
// larger one from a bucket ('stream'), or a server elsewhere ('proxy').
import { mini } from './mini.js';
import { proxy } from './proxy.js';
import { settings } from './settings.js';
import { stream } from './stream.js';

const MODES = { mini, stream, proxy };

let handler; // one an isolate, with its model and its queue

function create(env) {
  const given = settings(env);
  const make = MODES[given.mode];
  if (!make) throw new Error(`MODE is '${given.mode}': set it to ${Object.keys(MODES).join(', ')}.`);
  return make(env, given);
}

// A worker that is set up wrongly says so in its log, and nothing of it to strangers.
function refuse(error) {
  console.error(error.message);
  const message = 'This server is not set up yet: its log says why.';
  return Response.json({ error: { message, type: 'server_error', param: null, code: 'not-set-up' }, message, detail: message }, { status: 503 });
}

export default {
  async fetch(request, env, ctx) {
    try {
      handler ??= create(env);
    } catch (error) {
      return refuse(error);
    }
    return handler(request, env, ctx);
  },
};
