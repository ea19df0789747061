// Reads of a file that go on where an earlier one ended, or begin in a block that is held, are served from blocks, a few of them fetched
// ahead at once. All other reads are passed on as they were asked: a row out of a large matrix must not cost megabytes.

// `block` bytes each; `ahead` blocks beyond the one that is read; at most `keep` blocks are held, more than `ahead`.
export const RESIDENT = { block: 8 << 20, ahead: 3, keep: 8 };
export const STREAMING = { block: 2 << 20, ahead: 3, keep: 4 };
// An edge worker's request must not wait for what another one reads, which may have been dropped: blocks are held when they have come.
export const EDGE = { block: 4 << 20, ahead: 0, keep: 2, alone: true };

const GAP = 64 << 10; // what lies between two tensors, or a tensor that nobody needs
const TRAILS = 4; // how many runs of reads are followed at a time

export function readAhead(file, { block, ahead, keep, alone = false }) {
  const { size } = file;
  const count = Math.ceil(size / block);
  const held = new Map(); // index -> bytes or a promise of them, in order of last use
  const trails = [0]; // where earlier reads ended, the last one first

  function use(index) {
    let bytes = held.get(index);
    if (!bytes) {
      const start = index * block;
      const mine = Promise.resolve(file.read(start, Math.min(start + block, size)));
      if (alone) return mine.then((come) => hold(index, come));
      mine.catch(() => held.get(index) === mine && held.delete(index)); // whoever reads the block hears of the failure
      bytes = mine;
    }
    return hold(index, bytes);
  }

  function hold(index, bytes) {
    held.delete(index);
    held.set(index, bytes);
    if (alone) trim();
    return bytes;
  }

  function trim() {
    while (held.size > keep) held.delete(held.keys().next().value);
  }

  function blockAt(index) {
    const wanted = use(index);
    for (let next = index + 1; next <= index + ahead && next < count; next++) use(next);
    if (!alone) use(index);
    trim();
    return wanted;
  }

  // Notes where the read ends; true where it goes on from an earlier one.
  function follows(start, end) {
    const at = trails.findIndex((trail) => start >= trail && start - trail <= GAP);
    if (at >= 0) trails.splice(at, 1);
    trails.unshift(end);
    trails.length = Math.min(trails.length, TRAILS);
    return at >= 0;
  }

  async function read(start, end) {
    if (end <= start) return new Uint8Array(0);
    const first = Math.floor(start / block);
    const last = Math.ceil(end / block) - 1;
    const goesOn = follows(start, end);
    if (!goesOn && !held.has(first)) return file.read(start, end);
    if (first === last) return (await blockAt(first)).subarray(start - first * block, end - first * block);
    const out = new Uint8Array(end - start);
    for (let index = first; index <= last; index++) {
      const from = index * block;
      const bytes = await blockAt(index);
      out.set(bytes.subarray(Math.max(start - from, 0), Math.min(end - from, bytes.length)), Math.max(from - start, 0));
    }
    return out;
  }

  return {
    ...file,
    read,
    close() {
      held.clear();
      return file.close?.();
    },
  };
}
