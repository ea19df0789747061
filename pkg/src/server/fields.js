// Readers of one field each. `null` means absent everywhere; a wrong type is the client's mistake, by name.
import { kind } from '../check.js';
import { bad } from './problem.js';

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);

function wrong(param, wanted, value) {
  const got = typeof value === 'number' ? String(value) : kind(value);
  return bad(param, `${param} must be ${wanted}, got ${got}.`);
}

export { isObject, wrong };

// Half of a surrogate pair, as it is left where programs cut a text, becomes U+FFFD.
const wellFormed = (value) => value.replace(/\p{Surrogate}/gu, '\ufffd');

export function text(value, param) {
  if (value == null) return undefined;
  if (typeof value !== 'string') throw wrong(param, 'a string', value);
  return wellFormed(value);
}

// Must be there and not empty.
export function needText(value, param) {
  const given = text(value, param);
  if (given === undefined) throw bad(param, `${param} is missing: it must be a string.`);
  if (!given) throw bad(param, `${param} is empty: say what is looked for.`);
  return given;
}

export function flag(value, param) {
  if (value == null) return undefined;
  if (typeof value !== 'boolean') throw wrong(param, 'true or false', value);
  return value;
}

export function finite(value, param) {
  if (value == null) return undefined;
  if (typeof value !== 'number' || !Number.isFinite(value)) throw wrong(param, 'a finite number', value);
  return value;
}

export function whole(value, param, least) {
  if (value == null) return undefined;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least) throw wrong(param, `a whole number from ${least}`, value);
  return Math.min(value, Number.MAX_SAFE_INTEGER);
}

// How many results: absent and 0 mean all.
export const count = (value, param) => whole(value, param, 0) || undefined;

// [{ text, id? }] of strings and of objects with a `text` or a `content`.
export function documents(value, param) {
  if (value == null) throw bad(param, `${param} is missing: it must be an array of strings or of { text } objects.`);
  if (!Array.isArray(value)) throw wrong(param, 'an array of strings or of { text } objects', value);
  if (!value.length) throw bad(param, `${param} is empty: send at least one document.`);
  return value.map((one, at) => document(one, `${param}[${at}]`));
}

function document(value, param) {
  if (typeof value === 'string') return { text: wellFormed(value) };
  if (!isObject(value)) throw wrong(param, 'a string or an object with a text', value);
  const given = value.text ?? value.content;
  if (typeof given !== 'string') throw wrong(`${param}.text`, 'a string', given);
  return { text: wellFormed(given), ...(typeof value.id === 'string' && { id: wellFormed(value.id) }) };
}

// As `documents`, of plain strings only.
export function strings(value, param) {
  const at = Array.isArray(value) ? value.findIndex((one) => typeof one !== 'string') : -1;
  if (at >= 0) throw wrong(`${param}[${at}]`, 'a string', value[at]);
  return documents(value, param);
}

// One of several names of a field: the first that is there.
export function alias(body, ...names) {
  const name = names.find((one) => body[one] != null) ?? names[0];
  return [body[name], name];
}
