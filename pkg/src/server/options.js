// The options of createFetchHandler, checked once.
import { kind } from '../check.js';
import { badInput } from '../errors.js';

const MB = 1 << 20;

const number = (least) => (where, value) => {
  if (!Number.isFinite(value) || value < least) throw badInput(`${where} must be a number from ${least}, got ${typeof value === 'number' ? value : kind(value)}.`);
  return value;
};
const whole = (least) => (where, value) => {
  if (!Number.isSafeInteger(value) || value < least) throw badInput(`${where} must be a whole number from ${least}, got ${typeof value === 'number' ? value : kind(value)}.`);
  return value;
};
const callback = (where, value) => {
  if (typeof value !== 'function') throw badInput(`${where} must be a function, got ${kind(value)}.`);
  return value;
};
// One string or several; an empty one is most likely a variable that was never set.
const texts = (where, value) => {
  const list = Array.isArray(value) ? value : [value];
  if (list.length && list.every((one) => typeof one === 'string' && one)) return list;
  throw badInput(`${where} must be a string that is not empty, or an array of such: leave it out if there is none.`);
};

// Origins as browsers send them: without a slash at the end, without the usual port, in small letters.
function origins(where, value) {
  return texts(where, value).map((one) => {
    if (one === '*' || one === 'null') return one;
    const url = URL.canParse(one) ? new URL(one) : null;
    const bare = url?.host && ['', '/'].includes(url.pathname) && !url.search && !url.hash && !url.username;
    if (!bare) throw badInput(`${where} must be an origin like 'https://example.org', or '*', got '${one}'.`);
    return `${url.protocol}//${url.host}`;
  });
}

function basePath(where, value) {
  if (typeof value === 'string' && /^(\/[^/?#]+)*\/?$/.test(value)) return value.replace(/\/$/, '');
  throw badInput(`${where} must be a path like '/api', got ${typeof value === 'string' ? `'${value}'` : kind(value)}.`);
}

function cache(where, value) {
  if (typeof value !== 'object') throw badInput(`${where} must be { entries?, store?, storeLimit?, version? }, got ${kind(value)}.`);
  const { store } = value;
  if (store != null && (typeof store.get !== 'function' || typeof store.put !== 'function')) throw badInput(`${where}.store must have get(key) and put(key, value).`);
  const { version } = value;
  if (version != null && typeof version !== 'string') throw badInput(`${where}.version must be a string, got ${kind(version)}.`);
  return {
    entries: whole(0)(`${where}.entries`, value.entries ?? 10_000),
    store: store ?? null,
    storeLimit: whole(1)(`${where}.storeLimit`, value.storeLimit ?? 20),
    version: version ?? null,
  };
}

const TABLE = {
  apiKey: [texts],
  cors: [origins],
  basePath: [basePath, ''],
  maxDocuments: [whole(1), 1000],
  maxBody: [whole(1), 8 * MB],
  maxTokens: [whole(1)],
  maxLength: [whole(1)],
  maxQueries: [whole(1)],
  maxQueue: [whole(0), 64],
  loadWaitMs: [number(0), 3000],
  retryAfter: [whole(0), 5],
  cache: [cache],
  log: [callback],
};

export function checkOptions(options) {
  if (options != null && typeof options !== 'object') throw badInput(`options must be an object, got ${kind(options)}.`);
  if (options && Object.hasOwn(options, 'apiKey') && options.apiKey === undefined) {
    throw badInput('options.apiKey is undefined, most likely a variable that was never set: give a key, or null to let everybody in.');
  }
  const entries = Object.entries(TABLE).map(([name, [check, fallback]]) => {
    const value = options?.[name];
    return [name, value == null ? fallback : check(`options.${name}`, value)];
  });
  return Object.fromEntries(entries);
}

// Of createProxyHandler: the server behind.
export function checkTarget({ url, apiKey, timeoutMs, fetch: own }) {
  const address = typeof url === 'string' || url instanceof URL ? String(url).replace(/\/+$/, '') : '';
  if (!/^https?:/.test(address) || !URL.canParse(address)) throw badInput(`url must be the address of a server, got ${typeof url === 'string' ? `'${url}'` : kind(url)}.`);
  return {
    url: address,
    apiKey: apiKey == null ? null : texts('apiKey', apiKey)[0],
    timeoutMs: timeoutMs == null ? 60_000 : whole(1)('timeoutMs', timeoutMs),
    fetch: own == null ? (...args) => fetch(...args) : callback('fetch', own),
  };
}
