// The worker's side: one engine behind a port. What only the page can do (its fetch, its reader) is called back.
import { RerankError } from './errors.js';
import { openLocal } from './local.js';
import { connect, Transfer } from './rpc.js';

export function serve(port, platform) {
  let engine = null;
  const loaded = () => {
    if (engine) return engine;
    throw new RerankError('not-loaded', 'The worker holds no model: load one first.');
  };
  const page = connect(port, {
    hello: () => true,

    async load({ spec, ownFetch, ownReader }, { signal, emit }) {
      engine = await openLocal(spec, {
        platform,
        signal,
        onProgress: emit,
        fetch: ownFetch ? (url, init) => pageFetch(page, url, init) : undefined,
        reader: ownReader ? { read: (start, end) => page.call('read', { start, end }, { signal, hurry: true }) } : undefined,
      });
      engine.lost.then((lost) => page.call('lost', lost));
      return { info: engine.info, warnings: engine.warnings };
    },

    rerank: ({ query, documents, options, scores }, { signal, emit }) =>
      loaded().rerank(query, documents, { ...options, signal, onScore: scores ? emit : undefined }),

    async score({ pairs, options, scores }, { signal, emit }) {
      const result = await loaded().score(pairs, { ...options, signal, onScore: scores ? emit : undefined });
      return new Transfer(result, [result.buffer]);
    },

    async tokenize({ query, document, options }, { signal }) {
      const result = await loaded().tokenize(query, document, { ...options, signal });
      return new Transfer(result, [result.ids.buffer]);
    },

    async unload() {
      await engine?.close();
      engine = null;
    },
  });
}

async function pageFetch(page, url, { method, headers, signal } = {}) {
  const reply = await page.call('fetch', { url, method, headers }, { signal, hurry: true });
  const next = () => page.call('fetchNext', reply.id, { signal, hurry: true });
  const body = reply.hasBody
    ? new ReadableStream({
        async pull(stream) {
          const chunk = await next();
          if (chunk) stream.enqueue(chunk);
          else stream.close();
        },
        cancel: () => page.call('fetchCancel', reply.id),
      })
    : null;
  return new Response(body, { status: reply.status, statusText: reply.statusText, headers: reply.headers });
}
