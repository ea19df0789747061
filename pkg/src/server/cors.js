// Which pages of other origins may ask, and what their browsers must be told.

const METHODS = 'GET, HEAD, POST, OPTIONS';
const HEADERS = 'authorization, content-type, x-api-key';

// Whether a page sends the request that is neither of this origin nor of one of `origins`. Browsers tell; other clients send neither header.
export function isForeign({ headers, url }, origins) {
  const origin = headers.get('origin');
  const site = headers.get('sec-fetch-site');
  if (site === 'same-origin' || origins?.includes('*') || origins?.includes(origin)) return false;
  if (origin === null) return site === 'cross-site';
  return !URL.canParse(origin) || new URL(origin).host !== new URL(url).host; // a server that ends TLS for this one changes the scheme
}

// Gives `headersFor(request)` for every answer. `origins`: those allowed, '*' for all; none without.
export function crossOrigin(origins) {
  if (!origins) return () => ({});
  const any = origins.includes('*');
  return (request) => {
    const origin = request.headers.get('origin');
    const allowed = any ? '*' : origins.includes(origin) && origin;
    const headers = any ? {} : { vary: 'Origin' };
    if (!origin || !allowed) return headers;
    headers['access-control-allow-origin'] = allowed;
    headers['access-control-expose-headers'] = 'retry-after, x-cache';
    if (request.method === 'OPTIONS') {
      headers['access-control-allow-methods'] = METHODS;
      headers['access-control-allow-headers'] = request.headers.get('access-control-request-headers') ?? HEADERS;
      headers['access-control-max-age'] = '86400';
    }
    return headers;
  };
}
