// A pause that a signal ends.
import { aborted } from './errors.js';

export async function sleep(ms, signal) {
  if (signal.aborted) throw aborted(signal);
  await new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(aborted(signal));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal.addEventListener('abort', stop, { once: true });
  });
}
