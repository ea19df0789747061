// A trap of the WebAssembly code. The engine works in tasks of its own, where a trap reaches no promise that we hold: it is an uncaught error
// of the thread, or a rejection that nobody handles, and is heard as one. An instance of the module takes no more work after a trap, and all
// engines in it end; which instance it was, such an event does not say, so those that were at work are meant. (Node has no such event: there it ends the worker,
// which client.js hears of, or the process.)
import { isTrap } from './errors.js';

// An instance: `trap` is the error that ended it. Most engines of a thread share one; those with a memory of their own have one each.
export const newInstance = () => ({ trap: null, engines: new Set() }); // engines: whom to tell
export const shared = newInstance();

const running = new Map(); // how to end each piece of work -> its instance

function fall(error, instances = new Set(running.values())) {
  for (const instance of instances) instance.trap ??= error;
  for (const [end, instance] of running) if (instance.trap) end(instance.trap);
  for (const { engines } of instances) {
    for (const tell of engines) tell();
    engines.clear();
  }
}

function heard(event) {
  const error = event.error ?? event.reason;
  if (!isTrap(error)) return;
  event.preventDefault?.();
  fall(error);
}

const EVENTS = ['error', 'unhandledrejection'];

// Settles as `work()` does, or rejects with the trap that ended it.
export async function watched(instance, work) {
  if (instance.trap) throw instance.trap;
  let end;
  const fell = new Promise((_, reject) => (end = reject));
  running.set(end, instance);
  for (const event of EVENTS) globalThis.addEventListener?.(event, heard); // one listener, however often it is added
  try {
    return await Promise.race([work(), fell]);
  } catch (error) {
    if (isTrap(error)) fall(error, new Set([instance]));
    throw error;
  } finally {
    running.delete(end);
    if (!running.size) for (const event of EVENTS) globalThis.removeEventListener?.(event, heard);
  }
}

// Calls `tell` once when the instance has stopped; gives the function that ends the watch.
export function onTrap(instance, tell) {
  instance.engines.add(tell);
  return () => instance.engines.delete(tell);
}
