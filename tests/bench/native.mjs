// Engines outside the browser: each measurement is a process started anew.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open as openLlama } from './llama.mjs';
import { measure } from './pages/measure.js';
import { VENV, here } from './paths.mjs';
import { start } from './processes.mjs';
import { candle, llamaServer } from './rivals.mjs';
import { watch } from './watch.mjs';

const FOLDER = mkdtempSync(join(tmpdir(), 'bench-')); // of what the processes read
process.on('exit', () => rmSync(FOLDER, { recursive: true }));

/** What an engine needs beside its model, made once; throws where it cannot be made. */
export const MAKE = { 'llama-server': llamaServer, 'llama-completion': llamaServer, candle };

const ENGINES = {
  'edge-reranker': ownBinary,
  'llama-server': (job, watched) => measure(openLlama, { ...job, mode: 'rerank' }, watched),
  'llama-completion': (job, watched) => measure(openLlama, { ...job, mode: 'complete' }, watched),
  candle: (job, watched) => promptByPrompt(candle(), job, watched, { RAYON_NUM_THREADS: String(job.threads) }),
  pytorch: (job, watched) => promptByPrompt(join(VENV, 'bin/python'), job, watched, { HF_HUB_OFFLINE: '1' }, [here('python/pytorch.py')]),
};

/** Like `inBrowser`: { result, peakMB, othersCores }. */
export async function inProcess({ engine, minutes, ...job }) {
  const watched = watch('processes');
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), minutes * 60_000);
  try {
    const result = await ENGINES[engine]({ ...job, signal: stop.signal }, watched);
    const { peakMB, othersCores } = watched.close();
    return { result, peakMB: result.peakMB ?? peakMB, othersCores };
  } catch (error) {
    throw stop.signal.aborted ? new Error(`no answer in ${minutes} minutes`) : error;
  } finally {
    clearTimeout(timer);
    watched.close();
  }
}

// Runs a program to its end, and kills it if `signal` says so.
async function ran(program, args, { signal, ...options }) {
  const { child, ended, said } = start(program, args, options);
  signal.addEventListener('abort', () => child.kill('SIGKILL'));
  const status = await ended;
  if (status !== 0) throw new Error(`it ended with ${status}: ${said()}`);
}

// This project's own command line, which measures itself.
async function ownBinary({ binary, path, threads, workload, signal }, { begin, end }) {
  const { query, instruction, documents } = workload;
  const pairs = join(FOLDER, 'pairs.jsonl');
  writeFileSync(pairs, documents.map((document) => `${JSON.stringify({ query, document, instruction })}\n`).join(''));
  const lines = [];
  begin();
  const args = ['bench', '--data', pairs, '--model', path, '--device', 'cpu', '--threads', threads, '--repeat', 1, '--format', 'json', '--quiet'];
  await ran(binary, args.map(String), { signal, onLine: (line) => lines.push(line) });
  end();
  const told = JSON.parse(lines.join('\n'));
  return {
    loadSeconds: told.load_ms / 1000,
    passSeconds: (told.ms_per_pair.median * documents.length) / 1000,
    firstScoreSeconds: told.first_score_ms.p50 / 1000,
    peakMB: told.peak_memory_bytes && told.peak_memory_bytes / 1e6, // the same figure, for a process too short to be watched
    scores: told.scores.map((difference) => 1 / (1 + Math.exp(-difference))),
    details: { device: told.device, threads: told.threads, instructions: told.instructions, ceilingGigaOps: told.ceiling_gops },
  };
}

// A program that takes a model and a job of token ids, and says when the prompts that count begin and end.
async function promptByPrompt(program, { path, threads, seconds, workload, signal }, { begin, end }, env, args = []) {
  const { warmUpIds, promptIds, yes, no } = workload;
  const job = join(FOLDER, 'job.json');
  writeFileSync(job, JSON.stringify({ promptIds: [warmUpIds, ...promptIds], yes, no, threads, seconds }));
  let last;
  const onLine = (line) => {
    if (line === 'begin') begin();
    else if (line === 'end') end();
    else last = line;
  };
  await ran(program, [...args, path, job], { signal, env, onLine });
  return { ...JSON.parse(last), details: { device: 'cpu', threads } };
}
