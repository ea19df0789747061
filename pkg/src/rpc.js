// Calls over a MessagePort, in both directions: ids, results, errors with their code, events while a call runs, and abort.
//   { id, call, args } -> { id, value } or { id, error };  { id, event } on the way;  { id, abort } from the caller
import { abortable, pack, RerankError, unpack, whenAborted } from './errors.js';

// What a handler returns when buffers shall move instead of being copied.
export class Transfer {
  constructor(value, buffers) {
    this.value = value;
    this.buffers = buffers;
  }
}

export function connect(port, handlers) {
  const pending = new Map(); // our calls
  const serving = new Map(); // their calls
  let next = 1;
  let closed = null;

  async function serve({ id, call, args }) {
    const controller = new AbortController();
    serving.set(id, controller);
    try {
      const handler = handlers[call];
      if (!handler) throw new RerankError('unsupported', `The other thread has no '${call}': are both of one version?`);
      const result = await handler(args, { signal: controller.signal, emit: (event) => post({ id, event }) });
      if (result instanceof Transfer) post({ id, value: result.value }, result.buffers);
      else post({ id, value: result });
    } catch (error) {
      post({ id, error: pack(error) });
    } finally {
      serving.delete(id);
    }
  }

  function post(message, buffers = []) {
    if (!closed) port.postMessage(message, buffers);
  }

  // In Node an idle port must not keep the process alive.
  const hold = () => (pending.size ? port.ref?.() : port.unref?.());

  port.onmessage = ({ data }) => {
    if ('call' in data) return void serve(data);
    if ('abort' in data) return void serving.get(data.id)?.abort();
    const waiting = pending.get(data.id);
    if (!waiting) return;
    if ('event' in data) return void waiting.onEvent?.(data.event);
    pending.delete(data.id);
    hold();
    if ('error' in data) waiting.reject(unpack(data.error));
    else waiting.resolve(data.value);
  };

  hold();

  return {
    call(name, args, { signal, onEvent, hurry = false } = {}) {
      if (closed) return Promise.reject(closed);
      const id = next++;
      const answer = new Promise((resolve, reject) => {
        pending.set(id, { resolve, reject, onEvent });
        hold();
        try {
          post({ id, call: name, args });
        } catch (error) {
          pending.delete(id);
          hold();
          reject(new RerankError('bad-input', `A value cannot be sent to the worker: ${error.message}`, { cause: error }));
        }
      });
      const stop = () => post({ id, abort: true });
      // In a hurry the caller is told at once; otherwise when the other side has stopped.
      if (hurry) return abortable(answer, signal, stop);
      if (signal?.aborted) stop();
      return signal ? answer.finally(whenAborted(signal, stop)) : answer;
    },
    close(error) {
      if (closed) return;
      closed = error;
      for (const controller of serving.values()) controller.abort();
      for (const waiting of pending.values()) waiting.reject(error);
      pending.clear();
      port.close();
    },
  };
}
