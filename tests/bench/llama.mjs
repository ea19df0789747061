// llama.cpp's server, asked over HTTP in two ways: its reranking, and the completion of the whole prompt.
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { start } from './processes.mjs';
import { llamaServer } from './rivals.mjs';

const AT_ONCE = 8; // documents of a reranking request: the server shares nothing between them
const SLOTS = 4; // its default: so many it computes at once
const BATCH = 512; // its default; a prompt must fit in, or reranking refuses it

async function freePort() {
  const server = createServer();
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

/** mode: 'rerank' or 'complete'. */
export async function open({ mode, path, threads, workload, signal }) {
  const port = await freePort();
  const batch = Math.max(BATCH, ...workload.promptTokens.map((tokens) => tokens + 8));
  const ways = {
    rerank: ['--reranking', '-np', SLOTS, '-c', SLOTS * batch, '-b', SLOTS * batch, '-ub', batch],
    complete: ['--pooling', 'none', '-np', 1, '-c', batch, '--cache-ram', 0],
  };
  const flags = ['-m', path, '--host', '127.0.0.1', '--port', port, '-t', threads, '-tb', threads, '--no-webui', ...ways[mode]];
  const { child, ended, said } = start(llamaServer(), flags.map(String));
  const close = () => (child.kill('SIGKILL'), ended);
  signal.addEventListener('abort', close);

  async function post(route, body) {
    const reply = await fetch(`http://127.0.0.1:${port}${route}`, { method: 'POST', body: JSON.stringify(body), signal });
    if (!reply.ok) throw new Error(`${route}: ${reply.status} ${(await reply.text()).slice(0, 300)}`);
    return reply.json();
  }
  const healthy = () => fetch(`http://127.0.0.1:${port}/health`, { signal }).then(({ ok }) => ok, () => false);
  while (!(await healthy())) {
    if (child.exitCode !== null || signal.aborted) throw new Error(`the server ended: ${said()}`);
    await sleep(50);
  }

  async function rerank(query, documents) {
    const { results } = await post('/v1/rerank', { query, documents });
    return results.toSorted((a, b) => a.index - b.index).map((result) => result.relevance_score);
  }
  // What users write to have the prompt's beginning remembered: one token, and how likely it is "yes" or "no". A bias that is the same for
  // both lifts them over all others.
  const { prefix, suffix, instruction, yes, no } = workload;
  async function complete(query, [document]) {
    const prompt = `${prefix}<Instruct>: ${instruction}\n<Query>: ${query}\n<Document>: ${document}${suffix}`;
    const sampling = { n_predict: 1, temperature: 1, top_k: 0, top_p: 1, min_p: 0, logit_bias: [[yes, 100], [no, 100]] };
    const reply = await post('/completion', { prompt, ...sampling, n_probs: 2, post_sampling_probs: true, cache_prompt: true });
    const chances = Object.fromEntries(reply.completion_probabilities[0].top_probs.map(({ token, prob }) => [token, prob]));
    return [(chances.yes ?? 0) / ((chances.yes ?? 0) + (chances.no ?? 0))];
  }
  return {
    atOnce: mode === 'rerank' ? AT_ONCE : 1,
    rank: mode === 'rerank' ? rerank : complete,
    details: () => ({ device: 'cpu', threads }),
    close,
  };
}
