// How many threads shall compute, and why not more.

// Beyond, threads wait for memory more than they compute, and the slow cores of a mixed processor hold up the fast ones.
const MOST = 8;

// What 'auto' takes where nothing stands in the way.
export const automatic = (platform) => Math.min(platform.cores(), MOST);

// Why one thread has to do, as a sentence; null if more can.
export function obstacleTo(platform) {
  const obstacle = platform.threadObstacle();
  if (obstacle) return obstacle;
  if (typeof SharedArrayBuffer === 'undefined') return 'there is no SharedArrayBuffer here.';
  if (typeof Atomics.waitAsync !== 'function') return 'Atomics.waitAsync is missing here: use Chrome 90, Firefox 145, Safari 16.4, Node 20 or newer.';
  return null;
}

// A page's own thread must not wait for others.
function mayWait() {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1);
    return true;
  } catch {
    return false;
  }
}

export const refused = (wanted, obstacle) => `threads: ${wanted} was asked for, but ${obstacle} One thread computes.`;

// For an engine in this thread. Gives { count, warning? }.
export function planThreads(wanted = 'auto', platform) {
  const count = wanted === 'auto' ? automatic(platform) : wanted;
  if (count === 1) return { count };
  const obstacle = obstacleTo(platform) ?? (mayWait() ? null : "a page's own thread must not wait for others: leave `worker: false` out.");
  if (!obstacle) return { count };
  return { count: 1, warning: wanted === 'auto' ? undefined : refused(wanted, obstacle) };
}
