// Arguments are checked here, once; what comes out is clean: null is absent, unknown fields are gone.
import { badInput, unsupported } from './errors.js';
import { parseHash } from './integrity.js';

// What a value is, in words.
export function kind(value) {
  if (value == null) return String(value);
  const type = Array.isArray(value) ? 'array' : typeof value;
  return `${/^[aeiou]/.test(type) ? 'an' : 'a'} ${type}`;
}

function wrong(where, wanted, value) {
  const got = typeof value === 'number' ? String(value) : kind(value);
  return badInput(`${where} must be ${wanted}, got ${got}.`);
}

export const rules = {
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
  keepPrefix: rules.boolean,
  signal: rules.signal,
  onScore: rules.callback,
};

export function pick(options, table, where = 'options') {
  if (options == null) return {};
  if (typeof options !== 'object') throw wrong(where, 'an object', options);
  const clean = {};
  for (const [field, rule] of Object.entries(table)) {
    if (options[field] == null) continue;
    rule(`${where}.${field}`, options[field]);
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

// Gives the clean documents of one request.
export function checkRequest(query, documents, { instruction = '' }) {
  rules.string('query', query);
  const clean = checkDocuments(documents);
  const names = ['options.instruction', 'query'];
  checkSizes([instruction, query, ...clean.map((document) => document.text ?? document)], (at) => names[at] ?? `documents[${at - names.length}]`);
  return clean;
}

function checkDocuments(documents) {
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

export function checkPairs(pairs, { instruction = '' }) {
  if (!Array.isArray(pairs)) throw wrong('pairs', 'an array of [query, document] pairs', pairs);
  const clean = Array.from(pairs, (pair, at) => {
    if (!Array.isArray(pair) || pair.length !== 2) throw badInput(`pairs[${at}] must be [query, document], got ${kind(pair)}.`);
    rules.string(`pairs[${at}][0]`, pair[0]);
    rules.string(`pairs[${at}][1]`, pair[1]);
    return [pair[0], pair[1]];
  });
  checkSizes([...clean.flat(), instruction], (at) => (clean[at >> 1] ? `pairs[${at >> 1}][${at & 1}]` : 'options.instruction'));
  return clean;
}

// Text is bounded before it enters the engine, whose memory ends at 4 GB: running out inside would stop the engine for good.
const LONGEST_TEXT = 64 << 20;
const LONGEST_CALL = 512 << 20;
const inMB = (bytes) => `${bytes >> 20} MB`;

// Length in UTF-8.
export function bytesOf(text) {
  let bytes = text.length;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit >= 0x80) bytes += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2; // a surrogate is half of 4 bytes
  }
  return bytes;
}

// `texts` are all that one call hands to the engine, `where(at)` names one. Bytes are counted only where the number of UTF-16 units
// leaves it open, since a unit makes 1 to 3 of them.
function checkSizes(texts, where) {
  const exceed = (units, limit, count) => units > limit || (units * 3 > limit && count() > limit);
  for (const [at, text] of texts.entries()) {
    if (exceed(text.length, LONGEST_TEXT, () => bytesOf(text))) {
      throw badInput(`${where(at)} has more than ${inMB(LONGEST_TEXT)} of text: split it, or cut it.`);
    }
  }
  const sum = (length) => texts.reduce((all, text) => all + length(text), 0);
  if (exceed(sum((text) => text.length), LONGEST_CALL, () => sum(bytesOf))) {
    throw badInput(`The texts of this call have more than ${inMB(LONGEST_CALL)} together: make several calls.`);
  }
}

export const oneOf = (...names) => (where, value) => {
  if (!names.includes(value)) throw badInput(`${where} must be one of ${names.join(', ')}, got ${JSON.stringify(value) ?? kind(value)}.`);
};
const anything = () => {};

const MOST_THREADS = 64;

const loadRules = {
  model: anything,
  tokenizer: anything,
  revision: rules.string,
  device: oneOf('auto', 'webgpu', 'wasm'),
  threads: (where, value) => {
    if (value !== 'auto' && !(Number.isSafeInteger(value) && value >= 1 && value <= MOST_THREADS)) throw wrong(where, `'auto' or a whole number from 1 to ${MOST_THREADS}`, value);
  },
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

const gpuRules = {
  device: (where, value) => {
    if (typeof value.createBuffer !== 'function' || typeof value.lost?.then !== 'function') throw wrong(where, 'a GPUDevice', value);
  },
  powerPreference: oneOf('low-power', 'high-performance'),
};

// A given GPUDevice cannot cross to a worker.
function checkGpu(gpu, { device, worker }) {
  const clean = pick(gpu, gpuRules, 'options.gpu');
  if (!clean.device) return clean;
  if (device === 'wasm') throw badInput("options.gpu.device is given and options.device is 'wasm': leave one of them out.");
  if (worker) throw badInput('options.gpu.device cannot be used in a worker: leave options.worker out.');
  return clean;
}

const LEAST_MB = 48; // to read the tokeniser of any Qwen3 model
const STREAMING_MB = 1024; // of which small requests take a part only
const streamingRules = {
  memoryMB: (where, value) => {
    if (!Number.isSafeInteger(value) || value < LEAST_MB || value > 4096) throw wrong(where, `a whole number from ${LEAST_MB} to 4096`, value);
  },
};

// Gives the megabytes within which weights are streamed; undefined where they are loaded.
function checkStreaming(streaming, { device, gpu }) {
  if (streaming == null || streaming === false) return undefined;
  if (device === 'webgpu' || gpu.device) throw unsupported("options.streaming reads weights for the CPU: leave it out, or use device 'wasm'.");
  if (streaming === true) return STREAMING_MB;
  return pick(streaming, streamingRules, 'options.streaming').memoryMB ?? STREAMING_MB;
}

// Options that this version cannot honour are refused, never dropped: a caller who asks for a hash check must not believe it was made.
export function checkLoad(options) {
  const clean = pick(options, loadRules);
  const gpu = checkGpu(options?.gpu, clean);
  const memoryMB = checkStreaming(options?.streaming, { ...clean, gpu });
  return { ...clean, gpu, memoryMB, integrity: checkIntegrity(options?.integrity) };
}

// file name or address -> 64 hexadecimal digits; undefined where nothing is to be checked.
function checkIntegrity(integrity) {
  if (integrity == null) return undefined;
  if (typeof integrity !== 'object' || Array.isArray(integrity)) throw wrong('options.integrity', "an object { 'file name or address': hash }", integrity);
  const clean = Object.entries(integrity).map(([name, text]) => {
    const hash = parseHash(text);
    if (!hash) throw badInput(`options.integrity['${name}'] must be 'sha256-<base64>' or the 64 hexadecimal digits of a SHA-256, got ${JSON.stringify(text) ?? kind(text)}.`);
    return [name, hash];
  });
  return clean.length ? Object.fromEntries(clean) : undefined;
}

const placeRules = { revision: rules.string, remoteHost: rules.string, cache: loadRules.cache };
const downloadRules = { ...placeRules, fetch: rules.callback, onProgress: rules.callback, signal: rules.signal };

// What `models` is asked about.
export function checkPlace(model, options, table = placeRules) {
  if ((typeof model !== 'string' || !model) && !(model instanceof URL)) throw wrong('model', 'an id or an address', model);
  return pick(options, table);
}

export const checkStore = (options) => pick(options, { cache: loadRules.cache });

export const checkDownload = (model, options) => ({ ...checkPlace(model, options, downloadRules), integrity: checkIntegrity(options?.integrity) });

// The caller's own fetch, whose answers are checked.
export const checkFetch = (fetch) => async (url, init) => {
  const response = await fetch(url, init);
  const { status, headers, body } = response ?? {};
  if (typeof status === 'number' && typeof headers?.get === 'function' && (body === null || typeof body?.getReader === 'function')) return response;
  throw badInput(`options.fetch must give a Response, got ${kind(response)} for ${url}.`);
};
