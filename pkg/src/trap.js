// A trap of the WebAssembly code. The engine works in tasks of its own, where a trap reaches no promise that we hold: it is an uncaught error
// of the thread, or a rejection that nobody handles, and is heard as one. All engines of a thread end with a trap, since they share an
// instance of the module, and the thread takes no other. (Node has no such event: there it ends the worker, which client.js hears of, or
// the process.)
import { isTrap } from './errors.js';

const running = new Set(); // how to end each piece of work
const engines = new Set(); // whom to tell
let trap = null;

export const trapped = () => trap;

function fall(error) {
  trap ??= error;
  for (const end of running) end(error);
  for (const tell of engines) tell();
  engines.clear();
}

function heard(event) {
  const error = event.error ?? event.reason;
  if (!isTrap(error)) return;
  event.preventDefault?.();
  fall(error);
}

const EVENTS = ['error', 'unhandledrejection'];

// Settles as `work()` does, or rejects with the trap that ended it.
export async function watched(work) {
  if (trap) throw trap;
  let end;
  const fell = new Promise((_, reject) => (end = reject));
  running.add(end);
  for (const event of EVENTS) globalThis.addEventListener?.(event, heard); // one listener, however often it is added
  try {
    return await Promise.race([work(), fell]);
  } catch (error) {
    if (isTrap(error)) fall(error);
    throw error;
  } finally {
    running.delete(end);
    if (!running.size) for (const event of EVENTS) globalThis.removeEventListener?.(event, heard);
  }
}

// Calls `tell` once when the module of this thread has stopped; gives the function that ends the watch.
export function onTrap(tell) {
  engines.add(tell);
  return () => engines.delete(tell);
}
