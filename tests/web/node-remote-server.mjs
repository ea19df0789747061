// A rerank server for the tests of `edge-reranker/remote`. Scores are a pure function of the texts; it misbehaves on demand.
import { createServer } from 'node:http';

/** The logit of a pair: one more for each word of the query that the document holds. */
export const logitOf = (query, document) => query.split(' ').filter((word) => document.split(' ').includes(word)).length - 2 + document.length / 1000;
export const scoreOf = (query, document) => Math.fround(1 / (1 + Math.exp(-logitOf(query, document))));

const INFO = { model: 'words', max_documents: 4 };

const paths = {
  'GET /info': () => INFO,
  'POST /v1/rerank': ({ query, documents, top_n, threshold, raw_scores }) => {
    const all = documents.map((text, index) => ({ index, relevance_score: raw_scores ? logitOf(query, text) : scoreOf(query, text), logit: logitOf(query, text), truncated: false }));
    const results = all.filter((one) => one.relevance_score >= (threshold ?? -Infinity)).sort((a, b) => b.logit - a.logit || a.index - b.index).slice(0, top_n || all.length);
    return { id: 'r', object: 'list', model: 'words', results, data: results, usage: { prompt_tokens: documents.length * 10, completion_tokens: 0, total_tokens: documents.length * 10 } };
  },
  'POST /score': ({ text_1, text_2 }) => ({ object: 'list', data: text_2.map((text, index) => ({ index, object: 'score', score: scoreOf(text_1[index], text) })), usage: {} }),
  'POST /tokenize': ({ query, documents }) => ({ ids: documents.map((text) => [...`${query}|${text}`].map((char) => char.codePointAt(0))), shared_prefix: query.length + 1 }),
};

// `behave(number of the request from 1, path)` gives any of: status, headers, body, delayMs, break, alter (of the reply).
export async function rerankServer(behave = () => ({})) {
  const log = [];
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const part of request) text += part;
    const path = `${request.method} ${request.url}`;
    const entry = { path, at: Date.now(), body: text ? JSON.parse(text) : undefined, bytes: Buffer.byteLength(text), headers: request.headers };
    entry.cut = new Promise((done) => response.on('close', () => done(!response.writableFinished))); // closed before it was answered
    log.push(entry);
    const act = behave(log.length, path) ?? {};
    if (act.delayMs) await new Promise((done) => setTimeout(done, act.delayMs).unref());
    if (act.break) return response.destroy();
    if (act.cut) return response.writeHead(200, { 'content-length': 1000 }).write('{"results"', () => setTimeout(() => response.destroy(), 20));
    if (act.status) return response.writeHead(act.status, act.headers).end(act.body);
    if (!paths[path]) return response.writeHead(404, { 'content-type': 'application/json' }).end('{"error":{"message":"no such path"}}');
    const reply = paths[path](entry.body);
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(act.alter ? act.alter(reply) : reply));
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const close = () => {
    server.closeAllConnections();
    return new Promise((done) => server.close(done));
  };
  return { url: `http://127.0.0.1:${server.address().port}`, log, close };
}
