// From measurements to figures, and from figures to a table.

export const median = (values) => {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (!sorted.length) return null;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

// Of the scores that a runner gave; a slow one may have scored only the first documents.
function agreement(scores, oracle) {
  const errors = scores.map((score, at) => Math.abs(score - oracle[at]));
  let swapped = 0;
  for (let a = 0; a < scores.length; a++) for (let b = 0; b < a; b++) if ((scores[a] - scores[b]) * (oracle[a] - oracle[b]) < 0) swapped++;
  return { max: Math.max(...errors), mean: errors.reduce((sum, error) => sum + error, 0) / errors.length, swappedPairs: swapped, pairs: (scores.length * (scores.length - 1)) / 2 };
}

/** The figures of one runner on one workload, from its repeats. `ceiling` is that of the device it ran on, in 10^9 operations a second. */
export function figures({ repeats, workload, oracles, operations, ceiling }) {
  const documents = median(repeats.map(({ scores }) => scores.length));
  const perPair = repeats.map(({ passSeconds, scores }) => (1000 * passSeconds) / scores.length);
  const msPerPair = median(perPair);
  const documentsPerSecond = 1000 / msPerPair;
  const meanTokens = workload.promptTokens.reduce((sum, tokens) => sum + tokens, 0) / workload.promptTokens.length;
  const worst = (oracle) => repeats.map(({ scores }) => agreement(scores, oracle)).reduce((a, b) => (b.max > a.max ? b : a));
  const gigaOps = (operations * documentsPerSecond) / 1e9;
  return {
    documents,
    msPerPair,
    msPerPairOfRepeats: perPair,
    documentsPerSecond,
    tokensPerSecond: meanTokens * documentsPerSecond,
    neededGigaOps: gigaOps,
    shareOfCeiling: ceiling ? gigaOps / ceiling : null,
    loadSeconds: median(repeats.map((repeat) => repeat.loadSeconds)),
    peakMB: median(repeats.map((repeat) => repeat.peakMB)),
    othersCores: median(repeats.map((repeat) => repeat.othersCores)),
    threads: repeats[0].details.threads,
    agreement: { sameWeights: worst(oracles.sameWeights), checkpoint: worst(oracles.checkpoint) },
    scoresOfRepeats: repeats.map(({ scores }) => scores),
    detailsOfRepeats: repeats.map(({ details }) => details),
  };
}

/** For each other engine its time over that of edge-reranker on each device, with weights of as many bits. Changes the records. */
export function compare(records) {
  const bits = (record) => (record.file.startsWith('q8') ? 8 : 4);
  for (const record of records.filter(({ engine, error }) => engine !== 'edge-reranker' && !error)) {
    const same = (one) => one.engine === 'edge-reranker' && !one.error && one.model === record.model && one.workload === record.workload && bits(one) === bits(record);
    record.timesOurs = Object.fromEntries(records.filter(same).map((ours) => [ours.device, record.msPerPair / ours.msPerPair]));
  }
}

/** A number as people read it, of so many digits or more. */
export const number = (value, digits = 3) => {
  if (value === null || value === undefined) return '';
  return Math.abs(value) >= 10 ** (digits - 1) ? Math.round(value).toLocaleString('en-US') : String(Number(value.toPrecision(digits)));
};
const small = (value) => (value >= 0.0001 ? value.toFixed(4) : value.toExponential(0));
const times = (value) => (value ? `${number(value)} x` : '');
const percent = (value) => (value === null ? '' : `${number(100 * value, 2)} %`);

const COLUMNS = [
  ['engine, device, weights', (record) => record.runner],
  ['threads', (record) => record.threads ?? ''],
  ['documents', (record) => record.documents],
  ['ms a pair', (record) => number(record.msPerPair)],
  ['documents/s', (record) => number(record.documentsPerSecond)],
  ['tokens/s', (record) => number(record.tokensPerSecond)],
  ['its time / ours on webgpu', (record) => times(record.timesOurs?.webgpu)],
  ['its time / ours on wasm', (record) => times(record.timesOurs?.wasm)],
  ['of the f32 ceiling', (record) => percent(record.shareOfCeiling)],
  ['peak MB', (record) => number(record.peakMB, 4)],
  ['load s', (record) => number(record.loadSeconds)],
  ['score off by, same weights', (record) => small(record.agreement.sameWeights.max)],
  ['pairs swapped', (record) => `${record.agreement.sameWeights.swappedPairs}/${record.agreement.sameWeights.pairs}`],
];

const row = (cells) => `| ${cells.join(' | ')} |`;

export function markdown({ date, machine, chromium, adapter, ceiling, repeats, records }) {
  const lines = ['# edge-reranker beside other engines', ''];
  lines.push(`${date.slice(0, 10)}, ${machine}, ${chromium}. Median of ${repeats} interleaved repeat${repeats > 1 ? 's' : ''}.`);
  if (adapter) {
    const kinds = Object.entries(ceiling).map(([kind, value]) => `${kind} ${value === null ? 'none' : `${number(value)} G`}`);
    lines.push(`WebGPU adapter: ${[adapter.vendor, adapter.architecture, adapter.description].filter(Boolean).join(' ')}${adapter.software ? ' (software: not a GPU\'s speed)' : ''}.`);
    lines.push(`Its measured ceiling in operations a second: ${kinds.join(', ')}.`);
  } else lines.push('There is no WebGPU adapter here.');
  const nameOf = ({ model, workload }) => `${model}, ${workload}`;
  for (const name of new Set(records.map(nameOf))) {
    const group = records.filter((record) => nameOf(record) === name);
    const done = group.filter((record) => !record.error);
    const { about } = group[0];
    const busy = Math.max(...done.map((record) => record.othersCores ?? 0));
    lines.push('', `## ${name}: ${about}`, '');
    if (busy > 0.2) lines.push(`The machine was busy: other processes took up to ${number(busy, 2)} cores meanwhile.`, '');
    lines.push(row(COLUMNS.map(([head]) => head)), row(COLUMNS.map((_, at) => (at < 1 ? '---' : '--:'))));
    for (const record of done) lines.push(row(COLUMNS.map(([, cell]) => cell(record))));
    for (const record of group.filter(({ error }) => error)) lines.push('', `${record.runner} did not run: ${record.error}`);
  }
  return `${lines.join('\n')}\n`;
}
