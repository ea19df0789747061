// What `connect` and the calls of a RemoteReranker take. What HTTP cannot carry is refused, never dropped.
import { checkCall, checkFetch, kind, pick, rules } from '../check.js';
import { badInput, unsupported } from '../errors.js';

const got = (value) => (typeof value === 'number' ? value : kind(value));

const LONGEST_TIMER_MS = 2 ** 31 - 1; // a longer one would fire at once

const between = (least, most, whole) => (where, value) => {
  const right = whole ? Number.isSafeInteger(value) : typeof value === 'number';
  if (!right || !(value >= least && value <= most)) throw badInput(`${where} must be a ${whole ? 'whole ' : ''}number from ${least} to ${most}, got ${got(value)}.`);
};

const connectRules = {
  apiKey: rules.string,
  model: rules.string,
  fetch: rules.callback,
  retries: between(0, 100, true),
  timeoutMs: between(1, LONGEST_TIMER_MS, true),
  maxDocuments: rules.positive,
  maxBodyBytes: rules.positive,
  signal: rules.signal,
};
const limitRules = { requestsPerSecond: between(0.001, 1e6), concurrent: rules.positive };

const DEFAULTS = { retries: 3, timeoutMs: 120_000 };

export function checkConnect(options) {
  const clean = { ...DEFAULTS, ...pick(options, connectRules) };
  const own = clean.fetch ? checkFetch(clean.fetch) : (...args) => fetch(...args);
  return { ...clean, fetch: own, url: checkUrl(options?.url), headers: checkHeaders(options?.headers, clean.apiKey), rateLimit: pick(options?.rateLimit, limitRules, 'options.rateLimit') };
}

// The address of the server, without a slash or `/v1` at its end.
function checkUrl(given) {
  if (typeof given !== 'string' && !(given instanceof URL)) throw badInput(`options.url must be the address of the server, got ${kind(given)}.`);
  let url;
  try {
    url = new URL(given, globalThis.document?.baseURI ?? globalThis.location?.href);
  } catch {
    throw badInput(`options.url must be a full address such as http://127.0.0.1:8787, got '${given}'.`);
  }
  if (!/^https?:$/.test(url.protocol)) throw badInput(`options.url must begin with http: or https:, got '${url.protocol}'.`);
  if (url.username || url.password) throw badInput('options.url must not hold a password: use apiKey or headers.');
  const path = /\/v\d\/\w+\/?$/.exec(url.pathname)?.[0];
  if (path) throw badInput(`options.url is the address of the server, not of one of its paths: leave '${path}' out.`);
  url.pathname = url.pathname.replace(/\/+$/, '').replace(/\/v1$/, '');
  return url;
}

function checkHeaders(given, apiKey) {
  let headers;
  try {
    headers = new Headers(given ?? {});
    if (apiKey !== undefined && !headers.has('authorization')) headers.set('authorization', `Bearer ${apiKey}`);
  } catch (cause) {
    throw badInput(`options.headers and options.apiKey must be valid HTTP headers: ${cause.message}`);
  }
  return headers;
}

const NOT_CARRIED = {
  maxLength: 'the server sets it; maxTokensPerDocument cuts documents',
  template: 'the server sets it',
  parseSpecial: 'the server sets it',
  keepPrefix: 'the server decides what it keeps',
};

const callRules = { maxTokensPerDocument: rules.positive };

export function checkRemoteCall(options) {
  const clean = { ...checkCall(options), ...pick(options, callRules) };
  for (const [name, why] of Object.entries(NOT_CARRIED)) {
    if (name in clean) throw unsupported(`options.${name} cannot be sent to a server: ${why}. Leave it out.`);
  }
  return clean;
}
