// JSON Schemas of what is taken and given, for openapi.js.

const list = (items, more) => ({ type: 'array', items, ...more });
const string = { type: 'string' };
const number = { type: 'number' };
const count = { type: 'integer', minimum: 0 };
const or = (schema) => ({ anyOf: [schema, { type: 'null' }] });
const maybe = Object.fromEntries(
  Object.entries({ string, number, count, flag: { type: 'boolean' } }).map(([name, schema]) => [name, or(schema)]),
);

// All fields that are named are there.
const object = (properties, optional = {}) => ({ type: 'object', required: Object.keys(properties), properties: { ...properties, ...optional } });

const options = {
  model: { ...maybe.string, description: 'Not matched: one model is served.' },
  instruction: { ...maybe.string, description: 'Also `instruct` or `task`.' },
  threshold: { ...maybe.number, description: 'Leaves out scores below.' },
  raw_scores: { ...maybe.flag, description: 'The logit difference in place of the probability.' },
  max_tokens_per_doc: or({ type: 'integer', minimum: 1 }),
};
const topN = { ...maybe.count, description: 'The best n; 0 means all.' };
const query = { type: 'string', minLength: 1 };
const document = { anyOf: [string, object({ text: string }, { id: maybe.string }), object({ content: string })] };
const documents = list(document, { minItems: 1 });
const texts = list(string, { minItems: 1 });
const few = { anyOf: [query, object({ text: query }), list({ anyOf: [query, object({ text: query })] }, { minItems: 1 })] };

const usage = object({ prompt_tokens: count, completion_tokens: count, total_tokens: count });
const scored = { index: count, relevance_score: number, logit: number, tokens: count, truncated: { type: 'boolean' } };
const result = object(scored, { id: string, document: object({ text: string }) });
const workersAi = object({ response: list(object({ id: count, score: number })) });
const meta = object({ api_version: object({ version: string }), billed_units: object({ search_units: count }), tokens: object({ input_tokens: count, output_tokens: count }) });
const envelope = { id: string, object: { const: 'list' }, model: string };
const canonical = { ...envelope, results: list(result), data: list(result), usage, meta };

const TAKEN = {
  RerankRequest: object({ query, documents }, { ...options, top_n: topN, return_documents: maybe.flag }),
  ScoreRequest: { ...object({}, { ...options, text_1: few, text_2: few, queries: few, items: few }), anyOf: [{ required: ['text_1', 'text_2'] }, { required: ['queries', 'items'] }] },
  PassagesRequest: { ...object({ passages: texts }, { ...options, query, queries: { anyOf: [query, list(query, { minItems: 1, maxItems: 1 })] }, top_n: topN }), anyOf: [{ required: ['query'] }, { required: ['queries'] }] },
  TextsRequest: object({ query, texts }, { ...options, top_n: topN, return_text: maybe.flag, truncate: maybe.flag }),
  ContextsRequest: object({ query, contexts: documents }, { ...options, top_k: topN }),
  InputRequest: object({ input: object({ query, documents }) }, { ...options, parameters: or(object({}, { top_n: topN, return_documents: maybe.flag, instruct: maybe.string })) }),
  VoyageRequest: object({ query, documents }, { ...options, top_k: topN, return_documents: maybe.flag, truncation: maybe.flag }),
  RankingRequest: object({ query: object({ text: query }), passages: list(object({ text: string }), { minItems: 1 }) }, { ...options, top_n: topN, truncate: maybe.string }),
};

const GIVEN = {
  RerankReply: object(canonical),
  ScoreReply: object({ ...envelope, data: list(object({ index: count, object: { const: 'score' }, score: number })), usage }),
  PassagesReply: object({ ...envelope, results: list(object({ index: count, score: number, relevance_score: number, text: string })), usage }),
  TextsReply: list(object({ index: count, score: number }, { text: string })),
  ContextsReply: { anyOf: [workersAi, object({ result: workersAi, success: { const: true }, errors: list({}), messages: list({}) })] },
  InputReply: object({ output: object({ results: list(result) }), usage: object({ total_tokens: count }), request_id: string }),
  VoyageReply: object({ ...canonical, data: list(object(scored, { id: string, document: string })) }),
  RankingReply: object({ rankings: list(object({ index: count, logit: number })) }),
};

const told = { message: string, type: string, param: maybe.string, code: string };

export const REQUESTS = Object.keys(TAKEN);
export const REPLIES = Object.keys(GIVEN);
export const SCHEMAS = {
  ...TAKEN,
  ...GIVEN,
  Error: {
    anyOf: [
      object({ error: object(told), message: string, detail: string }),
      { description: 'For a body with `texts`.', ...object({ error: string, error_type: string }) },
    ],
  },
  TokenizeRequest: { ...object({ query }, { documents, document, instruction: maybe.string }), anyOf: [{ required: ['documents'] }, { required: ['document'] }] },
  Tokens: object({ ids: list(list(count)), shared_prefix: count }),
  Health: object({ status: { enum: ['ok', 'loading', 'failed', 'busy', 'draining'] }, model: maybe.string }),
  Info: object({ model_id: string, model_type: { type: 'object' }, max_input_length: count, max_client_batch_size: count, max_documents: count, max_body_bytes: count }, { max_tokens: maybe.count, max_queue: count, device: string, parameters: count, model_dtype: string }),
  Models: object({ object: { const: 'list' }, data: list(object({ id: string, object: { const: 'model' }, created: count, owned_by: string })) }),
};
