// What the processes started here take of the machine, read from /proc (Linux; elsewhere the figures are null).
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';

const TICKS = 100; // a second, in /proc

const read = (path) => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // the process has ended
  }
};
const statOf = (pid) => {
  const text = read(`/proc/${pid}/stat`);
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
};

// This process first.
function descendants() {
  const children = new Map();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const parent = statOf(pid)[1];
    children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const all = [String(process.pid)];
  for (const pid of all) all.push(...(children.get(pid) ?? []));
  return all;
}

// Seconds of processor time: of the machine, and of the processes `pids` with their ended children.
const machineSeconds = () => {
  const [user, nice, system, , , irq, softirq, steal] = read('/proc/stat').split('\n')[0].split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq + steal) / TICKS;
};
const ownSeconds = (pids) => pids.reduce((sum, pid) => sum + statOf(pid).slice(11, 15).reduce((all, ticks) => all + Number(ticks), 0), 0) / TICKS;

const kilobytes = (pid, fields) => [...read(`/proc/${pid}/status`).matchAll(fields)].reduce((sum, [, value]) => sum + Number(value), 0);
const MEMORY = {
  // The pages' and the GPU's processes, where weights and activations live; not the browser's own code, mapped from its files.
  browser(pids) {
    const engines = pids.filter((pid) => /--type=(renderer|gpu-process)/.test(read(`/proc/${pid}/cmdline`)));
    return engines.reduce((sum, pid) => sum + kilobytes(pid, /^Rss(?:Anon|Shmem):\s+(\d+) kB/gm), 0);
  },
  // All that was started: the most that each ever held, with the weights that it maps from its file.
  processes: ([, ...started]) => started.reduce((sum, pid) => sum + kilobytes(pid, /^VmHWM:\s+(\d+) kB/gm), 0),
};

/** Samples the memory of a 'browser' or of 'processes' until `close`. Between `begin` and `end` it counts the cores that others keep busy. */
export function watch(kind) {
  if (!existsSync('/proc/stat')) return { begin() {}, end() {}, close: () => ({ peakMB: null, othersCores: null }) };
  let peakMB = 0;
  let othersCores = null;
  let begun;
  const sample = () => (peakMB = Math.max(peakMB, (MEMORY[kind](descendants()) * 1024) / 1e6));
  const timer = setInterval(sample, 200);
  const now = () => ({ at: Date.now() / 1000, others: machineSeconds() - ownSeconds(descendants()) });
  return {
    begin: () => void (begun = now()),
    end() {
      const ended = now();
      othersCores = Math.min(Math.max((ended.others - begun.others) / (ended.at - begun.at), 0), cpus().length);
      sample();
    },
    close() {
      clearInterval(timer);
      return { peakMB, othersCores };
    },
  };
}
