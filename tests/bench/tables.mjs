// From figures to tables.
import { number } from './report.mjs';

const small = (value) => (value >= 0.0001 ? value.toFixed(4) : value.toExponential(0));
const percent = (value) => (value === null ? '' : `${number(100 * value, 2)} %`);

const COLUMNS = [
  ['engine, device, weights', (record) => record.runner],
  ['threads', (record) => record.threads ?? ''],
  ['documents', (record) => record.documents],
  ['repeats', (record) => record.repeats],
  ['ms a pair', (record) => number(record.msPerPair)],
  ['documents/s', (record) => number(record.documentsPerSecond)],
  ['tokens/s', (record) => number(record.tokensPerSecond)],
  ['first score ms', (record) => (record.engine === 'edge-reranker' ? number(1000 * record.firstScoreSeconds) : '')],
  ['of the ceiling', (record) => percent(record.shareOfCeiling)],
  ['peak MB', (record) => number(record.peakMB, 4)],
  ['load s', (record) => number(record.loadSeconds)],
  ['score off by: most', (record) => small(record.agreement.sameWeights.max)],
  ['mean', (record) => small(record.agreement.sameWeights.mean)],
  ['pairs swapped', (record) => `${record.agreement.sameWeights.swappedPairs}/${record.agreement.sameWeights.pairs}`],
];

const row = (cells) => `| ${cells.join(' | ')} |`;
const header = (cells, texts) => [row(cells), row(cells.map((_, at) => (at < texts ? '---' : '--:')))];
const list = (rates) => Object.entries(rates).map(([kind, rate]) => `${kind} ${rate === null ? 'none' : `${number(rate)} G`}`).join(', ');

function ceilingLines({ cpu, gpu, adapter }) {
  const lines = [];
  if (cpu) lines.push(`One core's measured ceiling in WebAssembly, in operations a second: ${list(cpu)}.`);
  if (gpu) {
    const name = [adapter.vendor, adapter.architecture, adapter.description].filter(Boolean).join(' ');
    lines.push(`WebGPU adapter: ${name}${adapter.software ? " (software: not a GPU's speed)" : ''}, its ceiling: ${list(gpu)}.`);
  }
  return lines;
}

function groupLines(title, group) {
  const done = group.filter((record) => !record.error);
  const lines = ['', `## ${title}: ${group[0].about}`, ''];
  const busy = Math.max(...done.map((record) => record.othersCores ?? 0));
  if (busy > 0.2) lines.push(`The machine was busy: other processes took up to ${number(busy, 2)} cores meanwhile.`, '');
  if (done.length) lines.push(...header(COLUMNS.map(([head]) => head), 1));
  for (const record of done) lines.push(row(COLUMNS.map(([, cell]) => cell(record))));
  for (const record of group.filter(({ error }) => error)) lines.push('', `${record.runner} did not run: ${record.error.replaceAll('\n', ' ')}`);
  return lines;
}

function ratioLines(ratios) {
  const lines = ['', "## How many times edge-reranker's time the others take", ''];
  for (const model of new Set(ratios.map((ratio) => ratio.model))) {
    const those = ratios.filter((ratio) => ratio.model === model);
    const names = [...new Set(those.map(({ workload }) => workload))];
    lines.push(...header([model, 'beside', ...names], 2));
    for (const runner of new Set(those.map((ratio) => ratio.runner))) {
      const own = those.filter((ratio) => ratio.runner === runner);
      const cell = (name) => own.find(({ workload }) => workload === name)?.times;
      lines.push(row([runner, own[0].beside, ...names.map((name) => (cell(name) ? `${number(cell(name))} x` : ''))]));
    }
    lines.push('');
  }
  return lines.slice(0, -1);
}

export function markdown({ date, machine, versions, settings, ceilings, records, ratios }) {
  const chromium = ceilings.chromium ? `, Chromium ${ceilings.chromium}` : '';
  const lines = ['# edge-reranker beside other engines', ''];
  lines.push(`${date.slice(0, 10)}, ${machine}${chromium}. Medians of interleaved repeats, ${settings.threads} threads.`);
  lines.push(`Beside: ${Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(', ')}.`);
  lines.push(...ceilingLines(ceilings));
  if (ratios.length) lines.push(...ratioLines(ratios));
  const titleOf = ({ model, workload }) => `${model}, ${workload}`;
  for (const title of new Set(records.map(titleOf))) lines.push(...groupLines(title, records.filter((record) => titleOf(record) === title)));
  return `${lines.join('\n')}\n`;
}
