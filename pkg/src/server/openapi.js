// /openapi.json: what is served, as OpenAPI 3.1. Tests hold every fixture's answer to these schemas.
import { RERANK_PATHS } from './dialects.js';
import * as schemas from './schemas.js';

const ref = (name) => ({ $ref: `#/components/schemas/${name}` });
const content = (schema, type = 'application/json') => ({ [type]: { schema } });
const answer = (description, schema, headers) => ({ description, ...(headers && { headers }), content: content(schema) });

const RETRY = { 'Retry-After': { description: 'Seconds to wait.', schema: { type: 'integer', minimum: 0 } } };
const failure = (description, headers) => answer(description, ref('Error'), headers);

const FAILURES = {
  400: failure('The request is wrong: the message says where.'),
  401: failure('The API key is missing or wrong.'),
  405: failure('Another method is needed.', { Allow: { schema: { type: 'string' } } }),
  408: failure('The body did not arrive in time.'),
  413: failure('The body, a text, or the number of documents, queries or tokens is over the limit.'),
  415: failure('The body is not JSON.'),
  429: failure('Too many requests wait already.', RETRY),
  500: failure('The engine failed.'),
  503: failure('The model is being loaded, could not be, or its file has changed.', RETRY),
  504: failure('The request took longer than it may.'),
};
// As Text Embeddings Inference answers.
const TEI_FAILURES = { 422: failure('The request is wrong (body with `texts`).'), 424: failure('The engine failed (body with `texts`).') };

const only = (...statuses) => Object.fromEntries(statuses.map((status) => [status, FAILURES[status]]));

const rerank = (path, parameters) => ({
  ...(parameters && { parameters }),
  post: {
    operationId: `rerank${path.replace(/\W+(\w)/g, (_, letter) => letter.toUpperCase()).replace(/\W/g, '')}`,
    summary: 'Scores documents for a query. The body tells which clients are spoken to.',
    requestBody: { required: true, content: content({ anyOf: schemas.REQUESTS.map(ref) }) },
    responses: {
      200: answer('The scores.', { anyOf: schemas.REPLIES.map(ref) }, { 'X-Cache': { description: 'hits/total, where scores are cached.', schema: { type: 'string' } } }),
      ...FAILURES,
      ...TEI_FAILURES,
    },
  },
});

const get = (operationId, summary, schema, statuses, { type, open } = {}) => ({
  get: {
    operationId,
    summary,
    ...(open && { security: [] }),
    responses: { 200: { description: summary, content: content(schema, type) }, ...statuses },
  },
});

const unwell = { 503: answer('The model is being loaded, or could not be.', ref('Health'), RETRY) };
const health = (name) => get(name, 'Whether requests are taken.', ref('Health'), { ...only(405), ...unwell }, { open: true });

export function openapi({ apiKey, basePath }) {
  const model = [{ name: 'model', in: 'path', required: true, schema: { type: 'string' } }];
  return {
    openapi: '3.1.0',
    info: { title: 'edge-reranker', version: '1', description: 'Scores query-document pairs with Qwen3-Reranker models.', license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    servers: [{ url: basePath || '/' }],
    ...(apiKey && { security: [{ bearer: [] }, { key: [] }] }),
    paths: {
      ...Object.fromEntries(RERANK_PATHS.flatMap((path) => [path, `/voyage${path}`]).map((path) => [path, rerank(path)])),
      '/ai/run/{model}': rerank('/ai/run', model),
      '/tokenize': {
        post: {
          operationId: 'tokenize',
          summary: 'The token ids of the prompts.',
          requestBody: { required: true, content: content(ref('TokenizeRequest')) },
          responses: { 200: answer('The ids.', ref('Tokens')), ...FAILURES },
        },
      },
      '/health': health('health'),
      '/healthz': health('healthz'),
      '/ping': get('ping', 'Whether the server lives.', ref('Health'), only(405), { open: true }),
      '/info': get('info', 'The model and the limits.', ref('Info'), only(401, 405, 503)),
      '/v1/models': get('models', 'The model that is served.', ref('Models'), only(401, 405, 503)),
      '/metrics': get('metrics', 'Counters and a histogram for Prometheus.', { type: 'string' }, only(401, 405), { type: 'text/plain' }),
      '/openapi.json': get('openapi', 'This description.', { type: 'object' }, only(401, 405)),
    },
    components: {
      schemas: schemas.SCHEMAS,
      ...(apiKey && { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' }, key: { type: 'apiKey', in: 'header', name: 'x-api-key' } } }),
    },
  };
}
