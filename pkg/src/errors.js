// Every failure that leaves this package is a RerankError with a stable `code`; the message says what, where and what to do.

const CODES = new Set(
  'unsupported webgpu-unavailable device-lost oom download quota integrity bad-model bad-input too-long aborted not-loaded'.split(' '),
);

export class RerankError extends Error {
  constructor(code, message, options) {
    super(message, options);
    this.name = 'RerankError';
    this.code = code;
  }
}

export const badInput = (message) => new RerankError('bad-input', message);
export const unsupported = (message) => new RerankError('unsupported', message);

// An address for a message: data: addresses may be megabytes long.
export const shorten = (url) => (url.length > 100 ? `${url.slice(0, 100)}...` : url);

export const aborted = (signal) =>
  new RerankError('aborted', 'The call was aborted by its signal.', { cause: signal?.reason });

// What a callback of the caller threw: the work ends, and the caller gets the own error back as `cause`.
export const threw = (what, cause) => new RerankError('aborted', `${what} threw, which ended the work: ${cause?.message ?? cause}`, { cause });

export const isTrap = (error) => error instanceof WebAssembly.RuntimeError;

// Errors of the engine carry `code` but not our class; a trap of the WebAssembly code has neither.
export function asRerankError(error, fallback = 'bad-model') {
  if (error instanceof RerankError) return error;
  if (isTrap(error)) {
    const hint = 'Memory has most likely run out: use a smaller model, fewer documents or a smaller maxLength, and load the model in a fresh worker.';
    return new RerankError('oom', `The WebAssembly engine stopped (${error.message}). ${hint}`, { cause: error });
  }
  // Codes of others (ENOENT, a DOMException's number) are not ours.
  return new RerankError(CODES.has(error?.code) ? error.code : fallback, error?.message ?? String(error), { cause: error });
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

const heard = new WeakMap(); // signal -> { stops, listen }: what is called when it fires, and the listener that does so

// Calls `stop` when the signal fires; returns the function that prevents it. Of one that has fired, callers have heard themselves.
// A signal has one listener of ours, however many calls and reads it ends (Node warns of a leak from the eleventh on), and none when
// nothing is left to end: a signal with listeners is kept alive.
export function whenAborted(signal, stop) {
  if (signal.aborted) return () => {};
  if (!heard.has(signal)) {
    const stops = new Set();
    const listen = () => {
      heard.delete(signal);
      for (const each of stops) each();
    };
    heard.set(signal, { stops, listen });
    signal.addEventListener('abort', listen, { once: true });
  }
  const { stops, listen } = heard.get(signal);
  stops.add(stop);
  return () => {
    stops.delete(stop);
    if (stops.size || heard.get(signal)?.stops !== stops) return;
    heard.delete(signal);
    signal.removeEventListener('abort', listen);
  };
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
    promise.then(resolve, reject).finally(whenAborted(signal, stop));
  });
}

// Fires `controller` when `signal` does; returns the function that ends the link.
export function follow(signal, controller) {
  if (!signal) return () => {};
  const pass = () => controller.abort(signal.reason);
  if (signal.aborted) pass();
  return whenAborted(signal, pass);
}
