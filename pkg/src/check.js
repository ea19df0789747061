// Arguments are checked here, once; what comes out is clean: null is absent, unknown fields are gone.
import { badInput, unsupported, RerankError } from './errors.js';

const kind = (value) => (value === null ? 'null' : Array.isArray(value) ? 'an array' : `a ${typeof value}`);

function wrong(where, wanted, value) {
  const got = typeof value === 'number' ? String(value) : kind(value);
  return badInput(`${where} must be ${wanted}, got ${got}.`);
}

const rules = {
  string: (where, value) => {
    if (typeof value !== 'string') throw wrong(where, 'a string', value);
  },
  boolean: (where, value) => {
    if (typeof value !== 'boolean') throw wrong(where, 'true or false', value);
  },
  finite: (where, value) => {
    if (typeof value !== 'number' || !Number.isFinite(value)) throw wrong(where, 'a finite number', value);
  },
  count: (where, value) => {
    if (!Number.isSafeInteger(value) || value < 0) throw wrong(where, 'a whole number from 0 (0 means all)', value);
  },
  positive: (where, value) => {
    if (!Number.isSafeInteger(value) || value < 1) throw wrong(where, 'a whole number from 1', value);
  },
  callback: (where, value) => {
    if (typeof value !== 'function') throw wrong(where, 'a function', value);
  },
  signal: (where, value) => {
    if (typeof value?.aborted !== 'boolean' || typeof value.addEventListener !== 'function') {
      throw wrong(where, 'an AbortSignal', value);
    }
  },
  template: (where, value) => {
    if (!['card', 'eval', 'raw'].includes(value)) throw badInput(`${where} must be 'card', 'eval' or 'raw', got ${JSON.stringify(value)}.`);
  },
};

const callRules = {
  topN: rules.count,
  instruction: rules.string,
  returnDocuments: rules.boolean,
  threshold: rules.finite,
  maxLength: rules.positive,
  rawScores: rules.boolean,
  template: rules.template,
  parseSpecial: rules.boolean,
  signal: rules.signal,
  onScore: rules.callback,
};

function pick(options, table) {
  if (options == null) return {};
  if (typeof options !== 'object') throw wrong('options', 'an object', options);
  const clean = {};
  for (const [field, rule] of Object.entries(table)) {
    if (options[field] == null) continue;
    rule(`options.${field}`, options[field]);
    clean[field] = options[field];
  }
  return clean;
}

export function checkCall(options) {
  const clean = pick(options, callRules);
  if (options?.chunk != null) throw unsupported('options.chunk is not supported by this version: split long documents before the call.');
  if (options?.expand != null) throw unsupported('options.expand is not supported by this version: expand the query before the call.');
  return clean;
}

export function checkQuery(query) {
  rules.string('query', query);
}

export function checkDocuments(documents) {
  if (!Array.isArray(documents)) throw wrong('documents', 'an array of strings or of { text } objects', documents);
  return Array.from(documents, (document, at) => {
    const where = `documents[${at}]`;
    if (typeof document === 'string') return document;
    if (document === null || typeof document !== 'object' || Array.isArray(document)) {
      throw wrong(where, 'a string or an object with a text', document);
    }
    rules.string(`${where}.text`, document.text);
    if (document.id == null) return { text: document.text };
    rules.string(`${where}.id`, document.id);
    return { text: document.text, id: document.id };
  });
}

export function checkPairs(pairs) {
  if (!Array.isArray(pairs)) throw wrong('pairs', 'an array of [query, document] pairs', pairs);
  return Array.from(pairs, (pair, at) => {
    if (!Array.isArray(pair) || pair.length !== 2) throw badInput(`pairs[${at}] must be [query, document], got ${kind(pair)}.`);
    rules.string(`pairs[${at}][0]`, pair[0]);
    rules.string(`pairs[${at}][1]`, pair[1]);
    return [pair[0], pair[1]];
  });
}

const oneOf = (...names) => (where, value) => {
  if (!names.includes(value)) throw badInput(`${where} must be one of ${names.join(', ')}, got ${JSON.stringify(value) ?? kind(value)}.`);
};
const anything = () => {};

const loadRules = {
  model: anything,
  tokenizer: anything,
  revision: rules.string,
  device: oneOf('auto', 'webgpu', 'wasm'),
  threads: (where, value) => value === 'auto' || rules.positive(where, value),
  worker: (where, value) => {
    if (typeof value !== 'boolean' && typeof value.postMessage !== 'function') throw wrong(where, 'true, false or a Worker', value);
  },
  wasm: anything,
  cache: oneOf('auto', 'opfs', 'cache-api', 'none'),
  remoteHost: rules.string,
  fetch: rules.callback,
  onProgress: rules.callback,
  signal: rules.signal,
};

// Options that this version cannot honour are refused, never dropped: a caller who asks for a hash check must not believe it was made.
export function checkLoad(options) {
  const clean = pick(options, loadRules);
  const warnings = [];
  if (clean.device === 'webgpu' || options?.gpu?.device != null) {
    throw new RerankError('webgpu-unavailable', "This version computes on the CPU: use device 'auto' or 'wasm'.");
  }
  if (options?.streaming != null && options.streaming !== false) {
    throw unsupported('options.streaming is not supported by this version: the whole model is held in memory.');
  }
  if (options?.integrity != null) throw unsupported('options.integrity is not supported by this version: check the bytes before you pass them as model.');
  if (clean.cache === 'opfs' || clean.cache === 'cache-api') {
    throw unsupported(`options.cache '${clean.cache}' is not supported by this version: use 'auto' or 'none'.`);
  }
  if (clean.threads > 1) warnings.push(`threads: ${clean.threads} was asked for; this version computes on one thread.`);
  return { ...clean, warnings };
}
