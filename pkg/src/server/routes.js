// What is served: path -> its methods, for both handlers.
import { isRerankPath } from './dialects.js';
import { Problem } from './problem.js';

const GET = ['/health', '/healthz', '/ping', '/info', '/v1/models', '/metrics', '/openapi.json'];

const methodsOf = (path) => (GET.includes(path) ? ['GET', 'HEAD', 'OPTIONS'] : path === '/tokenize' || isRerankPath(path) ? ['POST', 'OPTIONS'] : null);

// Throws where there is nothing, or not for this method; gives the answer to OPTIONS, and null for all else.
export function checkRoute({ method, url }, path) {
  const methods = path !== null && methodsOf(path);
  if (!methods) throw new Problem(404, 'not-found', `There is nothing at ${new URL(url).pathname}: rerank with POST /v1/rerank; /openapi.json lists the rest.`);
  const headers = { allow: methods.join(', ') };
  if (!methods.includes(method)) throw new Problem(405, 'method', `${path} takes ${methods[0]}, not ${method}.`, { headers });
  return method === 'OPTIONS' ? new Response(null, { status: 204, headers }) : null;
}
