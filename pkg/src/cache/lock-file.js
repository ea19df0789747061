// One download at a time among the processes of a machine. The holder touches its lock file every second; one that was not touched for
// a while, or whose process is gone, is taken over. Should two ever hold one lock, bytes are fetched twice, or one of them keeps nothing.
import { randomUUID } from 'node:crypto';
import { readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { aborted } from '../errors.js';

export const pace = { touchMs: 1000, staleMs: 5000, askMs: 200 };

// Gives the function that lets it go; null if `wait` is false and another one holds it.
export async function holdLockFile(path, { signal, wait = true } = {}) {
  const mine = JSON.stringify({ pid: process.pid, host: hostname(), id: randomUUID() });
  for (;;) {
    if (signal?.aborted) throw aborted(signal);
    if (await take(path, mine)) break;
    if (await isDead(path)) await clear(path);
    else if (!wait) return null;
    else await new Promise((done) => setTimeout(done, pace.askMs));
  }
  const timer = setInterval(() => utimes(path, new Date(), new Date()).catch(() => {}), pace.touchMs);
  timer.unref?.();
  return async () => {
    clearInterval(timer);
    if ((await readFile(path, 'utf8').catch(() => null)) === mine) await rm(path, { force: true });
  };
}

async function take(path, mine) {
  try {
    await writeFile(path, mine, { flag: 'wx' });
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
}

async function isDead(path) {
  try {
    const [{ mtimeMs }, text] = [await stat(path), await readFile(path, 'utf8')];
    if (Date.now() - mtimeMs > pace.staleMs) return true;
    const { pid, host } = JSON.parse(text);
    return host === hostname() && !isAlive(pid);
  } catch (error) {
    return error.code === 'ENOENT'; // else it is being written
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

// Moved away first, so that of two who clear it one does not remove the lock that the other has taken since.
async function clear(path) {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
    await rm(aside, { force: true });
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
}
