// A request's JSON object, read no further than the limit allows.
import { kind } from '../check.js';
import { isObject } from './fields.js';
import { bad, Problem, tooLarge } from './problem.js';

// `foreign`: a page sends it that may not ask here. `uploads` bounds all bodies together.
export async function readBody(request, limit, { foreign, uploads }) {
  checkType(request.headers, foreign);
  checkEncoding(request.headers);
  const bytes = await uploads.during((keep) => readBytes(request, limit, keep));
  if (!bytes.length) throw bad(null, 'The body is empty: send a JSON object.');
  let body;
  try {
    body = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw bad(null, cause instanceof SyntaxError ? `The body is not JSON: ${shorten(cause.message)}` : 'The body is not UTF-8 text.');
  }
  if (!isObject(body)) throw bad(null, `The body must be a JSON object, got ${kind(body)}.`);
  return body;
}

const shorten = (text) => (text.length > 120 ? `${text.slice(0, 120)}...` : text);

// A form could be sent by any page without asking, and so could bytes without a type; JSON cannot.
export function checkType(headers, foreign) {
  const type = headers.get('content-type');
  if (!type && foreign) throw new Problem(415, 'bad-input', 'The body must be JSON: send it with Content-Type: application/json.');
  if (type && !/^application\/([\w.-]+\+)?json\s*(;|$)/i.test(type)) {
    throw new Problem(415, 'bad-input', `The body must be JSON: send it with Content-Type: application/json, not ${shorten(type)}.`);
  }
}

function checkEncoding(headers) {
  const encoding = headers.get('content-encoding');
  if (encoding && encoding.toLowerCase() !== 'identity') throw new Problem(415, 'bad-input', 'The body must not be compressed: leave Content-Encoding out.');
}

// What the client says of the length is believed only if it is too much already.
export async function readBytes(request, limit, keep = keepAll()) {
  const over = () => tooLarge(null, `The body is larger than ${limit} bytes: send fewer or shorter documents.`);
  if (Number(request.headers.get('content-length')) > limit) throw over();
  if (!request.body) return new Uint8Array(0);
  const reader = request.body.getReader();
  let chunks = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read().catch((cause) => {
      throw new Problem(499, 'aborted', 'The body broke off.', { cause });
    });
    if (done) break;
    length += value.length;
    if (length > limit) {
      reader.cancel().catch(() => {}); // the rest is not read
      throw over();
    }
    try {
      chunks = keep(value);
    } catch (error) {
      reader.cancel().catch(() => {});
      throw error;
    }
  }
  return join(chunks, length);
}

function keepAll() {
  const chunks = [];
  return (chunk) => (chunks.push(chunk), chunks);
}

function join(chunks, length) {
  const all = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}
