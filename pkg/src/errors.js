// Every failure that leaves this package is a RerankError with a stable `code`; the message says what, where and what to do.

export class RerankError extends Error {
  constructor(code, message, options) {
    super(message, options);
    this.name = 'RerankError';
    this.code = code;
  }
}

export const badInput = (message) => new RerankError('bad-input', message);
export const unsupported = (message) => new RerankError('unsupported', message);

export const aborted = (signal) =>
  new RerankError('aborted', 'The call was aborted by its signal.', { cause: signal?.reason });

export const isTrap = (error) => error instanceof WebAssembly.RuntimeError;

// Errors of the engine carry `code` but not our class; a trap of the WebAssembly code has neither.
export function asRerankError(error, fallback = 'bad-model') {
  if (error instanceof RerankError) return error;
  if (isTrap(error)) {
    const hint = 'Memory has most likely run out: use a smaller model, fewer documents or a smaller maxLength, and load again.';
    return new RerankError('oom', `The WebAssembly engine stopped (${error.message}). ${hint}`, { cause: error });
  }
  if (error instanceof Error) return new RerankError(error.code ?? fallback, error.message, { cause: error });
  return new RerankError(fallback, String(error));
}

// Errors cross to another thread as plain data.
export function pack(error) {
  const { code, message } = asRerankError(error);
  return { code, message };
}
export const unpack = ({ code, message }) => new RerankError(code, message);

export function throwIfAborted(signal) {
  if (signal?.aborted) throw aborted(signal);
}

// Settles as `promise` does, or rejects as soon as the signal fires. `onAbort` may stop the work itself.
export function abortable(promise, signal, onAbort) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const stop = () => {
      onAbort?.();
      reject(aborted(signal));
    };
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

// Fires `controller` when `signal` does; returns the function that ends the link.
export function follow(signal, controller) {
  if (!signal) return () => {};
  const pass = () => controller.abort(signal.reason);
  if (signal.aborted) pass();
  signal.addEventListener('abort', pass, { once: true });
  return () => signal.removeEventListener('abort', pass);
}
