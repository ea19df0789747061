// A server with the same API, elsewhere, for instance on a machine with a GPU.
import { createProxyHandler } from 'edge-reranker/server';

export function proxy(env, { timeoutMs, options }) {
  if (!env.PROXY_URL) throw new Error('MODE is proxy: set PROXY_URL to the address of the server.');
  return createProxyHandler({ url: env.PROXY_URL, apiKey: env.PROXY_KEY || undefined, timeoutMs }, options);
}
