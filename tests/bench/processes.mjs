// Programs that are measured or made use of: none outlives this one.
import { execFileSync, spawn } from 'node:child_process';

const live = new Set();
process.on('exit', () => live.forEach((child) => child.kill('SIGKILL')));
const STOPS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 }; // signals that end this process, and its status then
for (const [name, status] of Object.entries(STOPS)) process.on(name, () => process.exit(status));

/** Runs a program to its end and gives what it wrote; its last words are in the error. */
export function execute(program, args, options = {}) {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1 << 28, ...options });
  } catch (error) {
    if (STOPS[error.signal] || error.status === 130) process.exit(STOPS[error.signal] ?? 130);
    const said = `${error.stdout ?? ''}${error.stderr ?? ''}`.trim() || error.message;
    throw new Error(`${program} ${args.join(' ')}\n${said.slice(-4000)}`);
  }
}

/** Starts a program: { child, ended, said }. `ended` resolves with its status, `said()` are the last lines of what it wrote. */
export function start(program, args, { env, onLine = () => {} } = {}) {
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  live.add(child);
  const kept = [];
  let rest = '';
  const hear = (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      kept.push(line);
      onLine(line);
    }
    if (kept.length > 40) kept.splice(0, kept.length - 40);
  };
  child.stdout.setEncoding('utf8').on('data', hear);
  child.stderr.setEncoding('utf8').on('data', (text) => kept.push(...text.trimEnd().split('\n')));
  const ended = new Promise((resolve) => {
    child.on('error', (error) => (kept.push(error.message), live.delete(child), resolve(-1)));
    child.on('close', (status, signal) => (live.delete(child), resolve(status ?? signal)));
  });
  return { child, ended, said: () => kept.slice(-6).join(' | ') };
}
