// A pause that a signal ends.
import { aborted, whenAborted } from './errors.js';

export async function sleep(ms, signal) {
  if (signal.aborted) throw aborted(signal);
  await new Promise((resolve, reject) => {
    const unlisten = whenAborted(signal, () => {
      clearTimeout(timer);
      reject(aborted(signal));
    });
    const timer = setTimeout(() => {
      unlisten();
      resolve();
    }, ms);
  });
}
