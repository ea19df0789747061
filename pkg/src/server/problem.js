// Failures as HTTP answers. What a client may read is in the message; what only the operator may know goes to the log.

const TYPES = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  404: 'not_found_error',
  405: 'invalid_request_error',
  413: 'request_too_large',
  415: 'invalid_request_error',
  422: 'invalid_request_error',
  429: 'rate_limit_error',
  499: 'client_closed_request',
  503: 'unavailable_error',
};

export class Problem extends Error {
  // `code` names the kind of failure, `param` the field, `headers` go into the answer; `cause` is for the log.
  constructor(status, code, message, { param = null, headers = {}, cause } = {}) {
    super(message, { cause });
    this.name = 'Problem';
    this.status = status;
    this.code = code;
    this.param = param;
    this.headers = headers;
  }

  get type() {
    return TYPES[this.status] ?? 'server_error';
  }
}

export const bad = (param, message) => new Problem(400, 'bad-input', message, { param });
export const tooLarge = (param, message) => new Problem(413, 'too-large', message, { param });
export const busy = (status, code, message, seconds, cause) =>
  new Problem(status, code, message, { headers: { 'retry-after': String(seconds) }, cause });

// Codes of RerankError that speak of the request; its message is the client's to read.
const OF_REQUEST = { 'bad-input': 400, 'too-long': 400, unsupported: 400, aborted: 499 };
// The engine is gone, and the next request may find another one.
const TRANSIENT = new Set(['device-lost', 'not-loaded', 'download', 'integrity']);
// The reranker that gave it is of no use any more: it ran out of memory, or the file that it reads from is another one by now.
const ENDS = new Set(['not-loaded', 'oom', 'download', 'integrity']);

export const endsEngine = ({ code } = {}) => ENDS.has(code);

export function asProblem(error, retryAfter) {
  if (error instanceof Problem) return error;
  const { code, message } = error ?? {};
  if (Object.hasOwn(OF_REQUEST, code)) return new Problem(OF_REQUEST[code], code, message, { cause: error });
  if (TRANSIENT.has(code)) return busy(503, code, 'The model is not at hand at the moment: ask again soon.', retryAfter, error);
  if (code === 'oom') return new Problem(500, 'oom', 'The engine ran out of memory: send fewer or shorter documents.', { cause: error });
  return new Problem(500, 'internal', 'The server failed to answer: its log has the reason.', { cause: error });
}

// The shape that most clients read one field or another of.
export const errorBody = ({ message, type, param, code }) => ({ error: { message, type, param, code }, message, detail: message });
