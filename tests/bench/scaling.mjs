// Measures how the command line's speed depends on the number of documents, their length and the threads, and writes tables and a chart.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { basename, dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { chart } from './chart.mjs';
import { number } from './report.mjs';

const USAGE = `node tests/bench/scaling.mjs [options]
  --binary target/release/edge-reranker
  --model mini                what the binary's --model takes
  --out docs/scaling          where the tables and the chart go: .md and .svg
  --points FILE               where measurements are kept, for the next run to go on [default: target/bench/scaling.json]
  --fresh                     measure everything again
  --seconds 30                about how long a point may take; one that would take longer is left out
  --repeat 7                  the most repeats of a point; the figures are medians
  --quick                     a few points only
  --also FILE --name TEXT     a further series: a list of reports as \`bench --format json\` prints them, or a file of points; may be repeated`;
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const TOKENS = 128; // of a document, where the number of documents or the threads vary
const MANY = 20; // documents, where the threads vary
const SHARED = 80; // about as many tokens have the instruction and the query
const FEW = 2; // documents, where their length varies
const DOCUMENTS = [1, 2, 5, 10, 20, 50, 100];
const LENGTHS = [64, 128, 256, 512, 1024, 2048, 4096, 8192];

function options() {
  const text = (fallback) => ({ type: 'string', default: fallback });
  const { values } = parseArgs({
    options: {
      binary: text(`${ROOT}target/release/edge-reranker`),
      model: text('mini'),
      out: text(`${ROOT}docs/scaling`),
      points: text(`${ROOT}target/bench/scaling.json`),
      fresh: { type: 'boolean', default: false },
      seconds: text('30'),
      repeat: text('7'),
      quick: { type: 'boolean', default: false },
      also: { type: 'string', multiple: true, default: [] },
      name: { type: 'string', multiple: true, default: [] },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return null;
  for (const name of ['seconds', 'repeat']) {
    values[name] = Number(values[name]);
    if (!(values[name] > 0)) throw new Error(`--${name} must be a number above 0`);
  }
  if (values.also.length !== values.name.length) throw new Error(`${values.also.length} --also and ${values.name.length} --name: give each series its name`);
  if (!existsSync(values.binary)) throw new Error(`${values.binary}: no such file; build it with ./build.sh build, or name another with --binary`);
  return values;
}

const say = (text) => console.error(`${new Date().toISOString().slice(11, 19)} ${text}`);

// All up to eight, then two for each doubling, and the most there are.
function threadCounts(most) {
  const counts = [];
  for (let n = 1; n < most; n = n < 8 ? n + 1 : n % 3 ? n * 1.5 : (n * 4) / 3) counts.push(n);
  return [...counts, most];
}

function wanted(quick) {
  const threads = availableParallelism();
  const some = (list) => (quick ? list.filter((_, at) => at % 2 === 0).slice(0, 3) : list);
  const points = [
    ...some(DOCUMENTS).map((documents) => ({ documents, tokens: TOKENS, threads })),
    ...some(LENGTHS).map((tokens) => ({ documents: FEW, tokens, threads })),
    ...(quick ? [threads, 1] : threadCounts(threads).reverse()).map((threads) => ({ documents: MANY, tokens: TOKENS, threads })),
  ];
  const name = (point) => JSON.stringify(point);
  return points.filter((point, at) => points.findIndex((other) => name(other) === name(point)) === at);
}

const same = (point, report) => report.documents === point.documents && report.tokens_per_document === point.tokens && report.threads === point.threads;
const textOf = ({ documents, tokens, threads }) => `${documents} x ${tokens} tokens, ${threads} thread${threads > 1 ? 's' : ''}`;

function bench({ binary, model }, { documents, tokens, threads }, repeat) {
  const numbers = { documents, tokens, threads, repeat };
  const args = Object.entries(numbers).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const run = spawnSync(binary, ['bench', '--model', model, '--device', 'cpu', '--format', 'json', '--quiet', ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  if (run.error) throw run.error;
  if (run.status === 130 || run.signal) throw new Error('interrupted; run it again to go on');
  if (run.status !== 0) return { error: run.stderr.trim().replace(/^error: /, '') };
  return JSON.parse(run.stdout);
}

// The points that are there, those that are missing measured, and why some are left out.
function measure(settings) {
  const { binary, model, points: file } = settings;
  const about = [binary, model].filter(existsSync).map((path) => [resolve(path), statSync(path).size, statSync(path).mtimeMs]);
  const key = JSON.stringify([about, model]);
  const kept = existsSync(file) && !settings.fresh ? JSON.parse(readFileSync(file, 'utf8')) : {};
  const points = kept.key === key ? kept.points : [];
  const store = () => writeFileSync(file, `${JSON.stringify({ key, machine: machine(), points }, null, 1)}\n`);
  mkdirSync(dirname(file), { recursive: true });
  const missed = [];
  let rate = null; // milliseconds for a token on one thread
  for (const point of wanted(settings.quick)) {
    const work = (SHARED + point.documents * point.tokens) / point.threads;
    let report = points.find((report) => same(point, report));
    if (!report) {
      const limit = 1000 * settings.seconds;
      if (rate !== null && rate * work > limit) {
        missed.push([point, `about ${number((rate * work) / 1000)} s, above --seconds`]);
        continue;
      }
      const first = rate === null ? bench(settings, point, 1) : { request_ms: { p50: rate * work } };
      const repeats = first.error ? 0 : Math.max(1, Math.min(settings.repeat, Math.floor(limit / first.request_ms.p50)));
      report = repeats ? bench(settings, point, repeats) : first;
      if (report.error) {
        if (!points.length) throw new Error(report.error);
        say(`${textOf(point)}: ${report.error}`);
        missed.push([point, report.error]);
        continue;
      }
      points.push(report);
      store();
      say(`${textOf(point)}: ${number(report.ms_per_pair.median)} ms a pair`);
    }
    rate = report.request_ms.p50 / work;
  }
  return { points, missed };
}

const machine = () => `${cpus()[0]?.model.trim() ?? 'unknown processor'}, ${availableParallelism()} cores`;

function also(file, name) {
  const read = JSON.parse(readFileSync(file, 'utf8'));
  const points = Array.isArray(read) ? read : read.points;
  if (!points?.length || !points.every((one) => one.documents && one.ms_per_pair && one.documents_per_second)) throw new Error(`${file}: expected a list of reports with documents, ms_per_pair and documents_per_second`);
  return { name, points, machine: read.machine };
}

// The three views of the points. A browser does not say how many threads there are: it then has one.
function views(series) {
  const threadsOf = (report) => report.threads ?? 1;
  const view = (title, x, label, y, yLabel, scales, filter) => ({
    title, x: label, y: yLabel, ...scales,
    series: series.map(({ name, points }) => {
      const most = Math.max(...points.map(threadsOf));
      const reports = points.filter((report) => filter(report, threadsOf(report) === most)).sort((a, b) => x(a) - x(b));
      return { name, reports, dots: reports.map((report) => [x(report), y(report)]) };
    }).filter(({ dots }) => dots.length),
  });
  const perPair = (report) => report.ms_per_pair.median;
  const log = { logX: true, logY: true };
  return [
    view(`More documents, ${TOKENS} tokens each`, (r) => r.documents, 'documents', perPair, 'ms a pair', log, (r, all) => all && r.tokens_per_document === TOKENS),
    view(`Longer documents, ${FEW} at once`, (r) => r.tokens_per_document, 'tokens', perPair, 'ms a pair', log, (r, all) => all && r.documents === FEW),
    view(`More threads, ${MANY} x ${TOKENS} tokens`, threadsOf, 'threads', (r) => r.documents_per_second, 'documents/s', { ideal: true }, (r) => r.documents === MANY && r.tokens_per_document === TOKENS),
  ].filter((one) => one.series.length);
}

const megabytes = (bytes) => (bytes ? number(bytes / 1e6) : '');
const COLUMNS = [
  ['ms a pair', (r) => number(r.ms_per_pair.median)],
  ['least to most', (r) => (r.ms_per_pair.max ? `${number(r.ms_per_pair.min)} to ${number(r.ms_per_pair.max)}` : '')],
  ['repeats', (r) => number(r.repeat)],
  ['request, p50 ms', (r) => number(r.request_ms?.p50)],
  ['first score, p50 ms', (r) => number(r.first_score_ms?.p50)],
  ['documents/s', (r) => number(r.documents_per_second)],
  ['tokens/s', (r) => number(r.tokens_per_second)],
  ['G operations/s', (r) => number(r.gops)],
  ['of the ceiling', (r) => (r.share_of_ceiling ? `${number(100 * r.share_of_ceiling)} %` : '')],
  ['peak MB', (r) => megabytes(r.peak_memory_bytes)],
];

function table(view) {
  const named = view.series.length > 1;
  const row = (cells) => `| ${cells.join(' | ')} |`;
  const rows = view.series.flatMap(({ name, reports, dots }) =>
    reports.map((report, at) => [...(named ? [name] : []), number(dots[at][0]), ...COLUMNS.map(([, cell]) => cell(report)), ...(view.ideal ? [`${number(dots[at][1] / dots[0][1])} x`] : [])]));
  const heads = [...(named ? ['series'] : []), view.x, ...COLUMNS.map(([head]) => head), ...(view.ideal ? [`against ${view.series[0].dots[0][0]} thread`] : [])];
  const full = heads.map((_, at) => rows.some((cells) => cells[at] !== ''));
  const only = (cells) => cells.filter((_, at) => full[at]);
  return ['', `## ${view.title}`, '', row(only(heads)), row(only(heads).map((_, at) => (named && !at ? '---' : '--:'))), ...rows.map((cells) => row(only(cells)))];
}

function markdown({ own, others, missed, all, out, load }) {
  const [first] = own.points;
  const lines = ['# How the speed scales', ''];
  const busy = load > 0.3 ? ` The machine was not idle before (load average ${number(load)}): other work made figures worse.` : '';
  lines.push(`${first.model}, ${number(first.model_bytes / 1e6)} MB, on ${machine()} (${first.instructions}), ${new Date().toISOString().slice(0, 10)}.${busy}`, '');
  for (const { name, points, machine } of others) lines.push(`${name}: ${[points[0].model, machine].filter(Boolean).join(', on ')}.`, '');
  lines.push(
    'One request with a query of 16 tokens and documents of common words, each point in a process of its own after a warm-up. "ms a pair" is the time of the request over its documents, the median of the repeats: ' +
      'it falls with the number of documents, because the instruction and the query are computed once for all of them, and because larger matrix products are faster; it grows with their length, at first in proportion (the matrices), then faster (attention). ' +
      'Tokens are those of whole prompts, shared ones included. Operations are those that a request cannot do without, two for each multiply-add. The dashed line is the speed of one thread times the threads. ' +
      'Both axes of the first two charts are logarithmic. `edge-reranker bench --help` defines the figures; `node tests/bench/scaling.mjs` makes this page.', '');
  lines.push(`![How the speed scales](${basename(out)}.svg)`);
  for (const view of all) lines.push(...table(view));
  if (missed.length) lines.push('', '## Left out', '', ...missed.map(([point, why]) => `- ${textOf(point)}: ${why}`));
  return `${lines.join('\n')}\n`;
}

function main() {
  const settings = options();
  if (!settings) return console.log(USAGE);
  const [load] = loadavg();
  const series = settings.also.map((file, at) => also(file, settings.name[at]));
  const { points, missed } = measure(settings);
  const own = { name: `native, ${points[0].instructions}`, points };
  const all = views([own, ...series]);
  mkdirSync(dirname(settings.out), { recursive: true });
  writeFileSync(`${settings.out}.svg`, chart(all));
  writeFileSync(`${settings.out}.md`, markdown({ own, others: series, missed, all, out: settings.out, load }));
  say(`written: ${settings.out}.md and .svg`);
}

try {
  main();
} catch (error) {
  console.error(`scaling: ${error.message}`);
  process.exitCode = 1;
}
