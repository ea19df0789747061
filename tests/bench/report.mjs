// From measurements to figures.

export const median = (values) => {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (!sorted.length) return null;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/** A number as people read it, of so many digits or more. */
export const number = (value, digits = 3) => {
  if (value === null || value === undefined) return '';
  return Math.abs(value) >= 10 ** (digits - 1) ? Math.round(value).toLocaleString('en-US') : String(Number(value.toPrecision(digits)));
};

// Of the scores that a runner gave; a slow one may have scored only the first documents.
function agreement(scores, oracle) {
  const errors = scores.map((score, at) => Math.abs(score - oracle[at]));
  let swapped = 0;
  for (let a = 0; a < scores.length; a++) for (let b = 0; b < a; b++) if ((scores[a] - scores[b]) * (oracle[a] - oracle[b]) < 0) swapped++;
  return {
    max: errors.some(Number.isNaN) ? NaN : Math.max(...errors),
    mean: errors.reduce((sum, error) => sum + error, 0) / errors.length,
    swappedPairs: swapped,
    pairs: (scores.length * (scores.length - 1)) / 2,
  };
}

// What the device could do in the time, in 10^9 operations a second: of a GPU in float32, of edge-reranker's threads in WebAssembly with the
// integers of its build, and natively as its command line measures it.
function ceilingOf({ engine, device }, { build, threads, ceilingGigaOps }, { cpu, gpu }) {
  if (device === 'webgpu') return gpu.f32;
  if (device === 'cpu') return ceilingGigaOps ?? null;
  if (engine !== 'edge-reranker') return null;
  const core = /relaxed/.test(build) ? cpu.int8 : cpu.int16;
  return core && core * threads;
}

/** The figures of one runner on one workload, from its repeats. */
export function figures({ repeats, about, workload, oracles, operations, ceilings }) {
  const of = (field) => median(repeats.map(field));
  const { details } = repeats[0];
  const perPair = repeats.map(({ passSeconds, scores }) => (1000 * passSeconds) / scores.length);
  const msPerPair = median(perPair);
  const documentsPerSecond = 1000 / msPerPair;
  const meanTokens = workload.promptTokens.reduce((sum, tokens) => sum + tokens, 0) / workload.promptTokens.length;
  const worst = (oracle) => repeats.map(({ scores }) => agreement(scores, oracle)).reduce((a, b) => (b.max > a.max ? b : a));
  const gigaOps = (operations * documentsPerSecond) / 1e9;
  const ceiling = ceilingOf(about, details, ceilings);
  return {
    documents: of(({ scores }) => scores.length),
    repeats: repeats.length,
    msPerPair,
    msPerPairOfRepeats: perPair,
    documentsPerSecond,
    tokensPerSecond: meanTokens * documentsPerSecond,
    firstScoreSeconds: of((repeat) => repeat.firstScoreSeconds),
    neededGigaOps: gigaOps,
    ceilingGigaOps: ceiling,
    shareOfCeiling: ceiling && gigaOps / ceiling,
    loadSeconds: of((repeat) => repeat.loadSeconds),
    peakMB: of((repeat) => repeat.peakMB),
    othersCores: of((repeat) => repeat.othersCores),
    threads: details.threads,
    agreement: { sameWeights: worst(oracles.sameWeights), checkpoint: worst(oracles.checkpoint) },
    scoresOfRepeats: repeats.map(({ scores }) => scores),
    detailsOfRepeats: repeats.map((repeat) => repeat.details),
  };
}

/**
 * Each other engine's time a pair over that of edge-reranker on the same device with weights of as many bits (16 bits: beside 8) and, where
 * it has one thread, with one thread.
 */
export function ratios(records) {
  const done = records.filter(({ error }) => !error);
  const key = ({ model, workload, device, variant, bits }) => [model, workload, device, variant, bits === '16' ? '8' : bits].join();
  const ours = new Map(done.filter(({ engine }) => engine === 'edge-reranker').map((record) => [key(record), record]));
  return done
    .filter((record) => record.engine !== 'edge-reranker' && ours.has(key(record)))
    .map((record) => {
      const beside = ours.get(key(record));
      const { model, workload, runner } = record;
      return { model, workload, runner, beside: beside.runner, times: record.msPerPair / beside.msPerPair };
    });
}
