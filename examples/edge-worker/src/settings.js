// The worker's variables, checked once.

const number = (env, name, fallback, least = 1) => {
  if (!env[name]) return fallback;
  const value = Number(env[name]);
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new Error(`${name} is '${env[name]}': set it to a whole number from ${least}.`);
};
const list = (text) => text?.split(',').map((one) => one.trim()).filter(Boolean);
const some = (texts) => (texts?.length ? texts : undefined);

export function settings(env) {
  const apiKey = some(list(env.API_KEY));
  if (!apiKey && env.PUBLIC !== 'true') throw new Error("There is no API_KEY: run `wrangler secret put API_KEY`, or set PUBLIC to 'true' to let everybody in.");
  return {
    mode: env.MODE || 'mini',
    maxTokens: number(env, 'MAX_TOKENS'),
    memoryMB: number(env, 'MEMORY_MB', 96, 0),
    cached: env.CACHE !== 'off',
    timeoutMs: number(env, 'PROXY_TIMEOUT_MS', 30_000),
    // Options of createFetchHandler.
    options: {
      apiKey: apiKey ?? null,
      cors: some(list(env.CORS_ORIGIN)),
      maxDocuments: number(env, 'MAX_DOCUMENTS', 100),
      maxBody: number(env, 'MAX_BODY', 1_000_000),
      log: ({ level, message, error }) => console[level](message, error?.stack ?? error),
    },
  };
}
