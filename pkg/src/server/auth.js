// Who may ask. Keys are compared by their hashes, so that time tells neither how many letters were right nor how many there are.
import { Problem } from './problem.js';

// Whoever looks after the server may always ask whether it is well.
export const OPEN = ['/health', '/healthz', '/ping'];

const digest = async (text) => new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));

function same(a, b) {
  let differences = 0;
  for (let at = 0; at < a.length; at++) differences |= a[at] ^ b[at];
  return differences === 0;
}

function given(headers) {
  const match = /^(?:bearer|api-key)\s+(.+)$/i.exec(headers.get('authorization')?.trim() ?? '');
  return match?.[1].trim() ?? headers.get('x-api-key')?.trim();
}

// Gives `check(headers)`, which throws unless a key of `keys` is there. Without keys all may ask.
export function gatekeeper(keys) {
  if (!keys) return async () => {};
  let hashes;
  return async (headers) => {
    hashes ??= Promise.all(keys.map(digest));
    const known = await hashes;
    const key = await digest(given(headers) ?? '');
    const fits = known.map((one) => same(one, key)); // all are looked at
    if (fits.includes(true)) return;
    const message = given(headers) ? 'The API key is not right.' : 'An API key is needed: send it as Authorization: Bearer KEY, or as x-api-key.';
    throw new Problem(401, 'unauthorized', message, { headers: { 'www-authenticate': 'Bearer' } });
  };
}
