// A handler behind a real port of this machine.
import { serve } from 'srvx/node';

export async function listen(t, handler) {
  const server = serve({ fetch: handler, port: 0, hostname: '127.0.0.1', silent: true, gracefulShutdown: false });
  await server.ready();
  t.after(() => server.close(true));
  return server.url.replace(/\/$/, '');
}
