// Who speaks how. The first row that matches a POST is its dialect:
//   matches(path, body), read(body, path) -> request, write(answer, request, path) -> the reply's body, error(problem, path) -> an error's
// A request is { query, documents: [{ text, id? }], queries? (one a document), instruction?, topN?, threshold?, raw?, returnText?,
// maxTokensPerDocument?, refuseCut? }. An answer has { id, model, tokens, ranked, ordered }: lines { index, score, logit, tokens, truncated, text, id? },
// sorted by score and by index.
import { alias, count, documents, finite, flag, isObject, needText, strings, text, whole, wrong } from './fields.js';
import { bad, errorBody } from './problem.js';

// What every dialect may say besides.
const common = (body) => ({
  instruction: text(...alias(body, 'instruction', 'instruct', 'task')),
  threshold: finite(body.threshold, 'threshold'),
  raw: flag(body.raw_scores, 'raw_scores'),
  maxTokensPerDocument: whole(body.max_tokens_per_doc, 'max_tokens_per_doc', 1),
});

const usage = ({ tokens }) => ({ prompt_tokens: tokens, completion_tokens: 0, total_tokens: tokens });

const line = ({ index, score, logit, tokens, truncated, id }) => ({ index, relevance_score: score, logit, tokens, truncated, ...(id !== undefined && { id }) });
const withText = (request, one) => ({ ...line(one), ...(request.returnText && { document: { text: one.text } }) });

function canonical(answer, request) {
  const results = answer.ranked.map((one) => withText(request, one));
  return {
    id: answer.id,
    object: 'list',
    model: answer.model,
    results,
    data: results,
    usage: usage(answer),
    meta: {
      api_version: { version: '2' },
      billed_units: { search_units: Math.ceil(request.documents.length / 100) },
      tokens: { input_tokens: answer.tokens, output_tokens: 0 },
    },
  };
}

const SCORE_PATHS = ['/score', '/v1/score'];
const has = (body, ...names) => names.some((name) => body[name] != null);

// vLLM's score: one text against one or many, or as many pairs.
const vllmScore = {
  name: 'vllm-score',
  matches: (path, body) => SCORE_PATHS.includes(path) || has(body, 'text_1', 'text_2') || (has(body, 'queries') && has(body, 'items')),
  read(body) {
    const [left, leftName] = alias(body, 'text_1', 'queries', 'query');
    const [right, rightName] = alias(body, 'text_2', 'items', 'documents');
    const list = (value, name) => documents(typeof value === 'string' || isObject(value) ? [value] : value, name);
    const queries = list(left, leftName).map((one, at) => needText(one.text, Array.isArray(left) ? `${leftName}[${at}]` : leftName));
    const targets = list(right, rightName);
    if (queries.length === 1) return { ...common(body), query: queries[0], documents: targets };
    if (queries.length === targets.length) return { ...common(body), queries, documents: targets };
    throw bad(rightName, `${leftName} has ${queries.length} texts and ${rightName} has ${targets.length}: send one ${leftName}, or as many of both.`);
  },
  write: (answer) => ({
    id: answer.id,
    object: 'list',
    model: answer.model,
    data: answer.ordered.map(({ index, score }) => ({ index, object: 'score', score })),
    usage: usage(answer),
  }),
};

// The wire format of simple clients of these models: results in input order.
const passages = {
  name: 'passages',
  matches: (path, body) => Array.isArray(body.passages) && !isObject(body.query) && (body.documents == null || body.passages.every((one) => typeof one === 'string')),
  read(body) {
    const [value, name] = alias(body, 'query', 'queries');
    const [query, param] = Array.isArray(value) ? [value[0], `${name}[0]`] : [value, name];
    if (Array.isArray(value) && value.length !== 1) throw bad(name, `${name} must hold exactly one query for these passages, got ${value.length}.`);
    return { ...common(body), query: needText(query, param), documents: strings(body.passages, 'passages'), topN: count(body.top_n, 'top_n') };
  },
  write: (answer) => ({
    id: answer.id,
    object: 'list',
    model: answer.model,
    results: answer.ordered.map(({ index, score, text }) => ({ index, score, relevance_score: score, text })),
    usage: usage(answer),
  }),
};

const TEI_TYPES = { 413: 'Validation', 424: 'Backend', 429: 'Overloaded', 503: 'Unhealthy' };
const teiStatus = (status) => ({ 400: 422, 500: 424 })[status] ?? status;

// Hugging Face's Text Embeddings Inference.
const tei = {
  name: 'tei',
  matches: (path, body) => has(body, 'texts'),
  read: (body) => ({
    ...common(body),
    query: needText(body.query, 'query'),
    documents: strings(body.texts, 'texts'),
    topN: count(body.top_n, 'top_n'), // LiteLLM sends it here, too
    returnText: flag(body.return_text, 'return_text'),
    refuseCut: flag(body.truncate, 'truncate') === false,
  }),
  write: (answer, { returnText }) => answer.ranked.map(({ index, score, text }) => ({ index, score, ...(returnText && { text }) })),
  status: teiStatus,
  error: (problem) => ({ error: problem.message, error_type: TEI_TYPES[teiStatus(problem.status)] ?? 'Validation' }),
};

const isRun = (path) => /(^|\/)ai\/run(\/|$)/.test(path);

// Cloudflare's Workers AI, as its binding answers, or wrapped as its REST API does.
const workersAi = {
  name: 'workers-ai',
  matches: (path, body) => has(body, 'contexts'),
  read: (body) => ({
    ...common(body),
    query: needText(body.query, 'query'),
    documents: documents(body.contexts, 'contexts'),
    topN: count(body.top_k, 'top_k'),
  }),
  write(answer, request, path) {
    const reply = { response: answer.ranked.map(({ index, score }) => ({ id: index, score })) };
    return isRun(path) ? { result: reply, success: true, errors: [], messages: [] } : reply;
  },
  error(problem, path) {
    if (!isRun(path)) return errorBody(problem);
    return { result: null, success: false, errors: [{ code: problem.status, message: problem.message }], messages: [], ...errorBody(problem) };
  },
};

// Alibaba's DashScope.
const dashscope = {
  name: 'dashscope',
  matches: (path, body) => isObject(body.input) && body.input.query != null,
  read({ input, parameters, ...body }) {
    if (parameters != null && !isObject(parameters)) throw wrong('parameters', 'an object', parameters);
    const given = parameters ?? {};
    return {
      ...common({ ...body, ...given }),
      query: needText(input.query, 'input.query'),
      documents: documents(input.documents, 'input.documents'),
      topN: count(given.top_n, 'parameters.top_n'),
      returnText: flag(given.return_documents, 'parameters.return_documents'),
    };
  },
  write: (answer, request) => ({
    output: { results: answer.ranked.map((one) => withText(request, one)) },
    usage: { total_tokens: answer.tokens },
    request_id: answer.id,
  }),
};

// Voyage AI.
const voyage = {
  name: 'voyage',
  matches: (path, body) => has(body, 'top_k', 'truncation') || path === '/voyage' || path.startsWith('/voyage/'),
  read: (body) => ({
    ...common(body),
    query: needText(body.query, 'query'),
    documents: documents(body.documents, 'documents'),
    topN: count(...alias(body, 'top_k', 'top_n')),
    returnText: flag(body.return_documents, 'return_documents'),
    refuseCut: flag(body.truncation, 'truncation') === false,
  }),
  write(answer, request) {
    const data = answer.ranked.map((one) => ({ ...line(one), ...(request.returnText && { document: one.text }) }));
    return { ...canonical(answer, request), data };
  },
};

// NVIDIA's NIM: logits.
const nim = {
  name: 'nim',
  matches: (path, body) => isObject(body.query) && Array.isArray(body.passages),
  read: (body) => ({
    ...common(body),
    query: needText(body.query.text, 'query.text'),
    documents: documents(body.passages, 'passages'),
    topN: count(body.top_n, 'top_n'),
    refuseCut: text(body.truncate, 'truncate') === 'NONE',
  }),
  write: (answer) => ({ rankings: answer.ranked.map(({ index, logit }) => ({ index, logit })) }),
};

// Cohere, Jina, Together, LiteLLM, and ourselves.
const own = {
  name: 'canonical',
  matches: () => true,
  read: (body) => ({
    ...common(body),
    query: needText(body.query, 'query'),
    documents: documents(body.documents, 'documents'),
    topN: count(body.top_n, 'top_n'),
    returnText: flag(body.return_documents, 'return_documents'),
  }),
  write: canonical,
};

export const DIALECTS = [vllmScore, passages, tei, workersAi, dashscope, voyage, nim, own].map((row) => ({
  status: (status) => status,
  error: errorBody,
  ...row,
}));

export const dialectOf = (path, body) => DIALECTS.find((row) => row.matches(path, body));

// Before the body is known, its path may tell.
export const dialectOfPath = (path) => dialectOf(path, isRun(path) ? { contexts: [] } : {});

const RERANK_PATHS = [
  '/v1/rerank', '/rerank', '/v2/rerank', '/v3/rerank', '/reranking', '/v1/reranking', '/v1/reranks', '/compatible-api/v1/reranks',
  '/v1/ranking', '/api/v1/services/rerank/text-rerank/text-rerank', ...SCORE_PATHS,
];

export { RERANK_PATHS };

// Paths on which documents are scored; /voyage stands before any of them.
export const isRerankPath = (path) => RERANK_PATHS.includes(path.replace(/^\/voyage(?=\/)/, '')) || isRun(path);
