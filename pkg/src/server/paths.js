// Addresses and answers, as both handlers need them.

// The path of `url` below the base path, without a slash at its end; null outside of it.
export function below(basePath, url) {
  const { pathname } = new URL(url);
  if (!`${pathname}/`.startsWith(`${basePath}/`)) return null;
  return pathname.slice(basePath.length).replace(/\/+$/, '') || '/';
}

export const json = (body, status = 200, headers = {}) =>
  new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json', ...headers } });
