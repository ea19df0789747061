// What was done, in the text format of Prometheus.

const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const PREFIX = 'edge_reranker_';

export class Metrics {
  #requests = new Map(); // 'dialect status' -> count
  #totals = { documents: 0, tokens: 0, cache_hits: 0, cache_misses: 0 };
  #times = new Map(); // status -> { buckets, count, sum }

  request(dialect, status) {
    const key = `dialect="${dialect}",status="${status}"`;
    this.#requests.set(key, (this.#requests.get(key) ?? 0) + 1);
  }

  add(name, n) {
    this.#totals[name] += n;
  }

  // Seconds from a rerank request to its answer. Runtimes that stop the clock while they compute report only what they waited.
  took(status, seconds) {
    const times = this.#times.get(status) ?? { buckets: BUCKETS.map(() => 0), count: 0, sum: 0 };
    for (const [at, bound] of BUCKETS.entries()) if (seconds <= bound) times.buckets[at] += 1;
    times.count += 1;
    times.sum += seconds;
    this.#times.set(status, times);
  }

  // `gauges`: name -> [help, value].
  text(gauges) {
    const lines = [];
    const head = (name, type, help) => lines.push(`# HELP ${PREFIX}${name} ${help}`, `# TYPE ${PREFIX}${name} ${type}`);
    head('requests_total', 'counter', 'Requests that were answered.');
    for (const [labels, count] of this.#requests) lines.push(`${PREFIX}requests_total{${labels}} ${count}`);
    for (const [name, help] of TOTALS) {
      head(`${name}_total`, 'counter', help);
      lines.push(`${PREFIX}${name}_total ${this.#totals[name]}`);
    }
    for (const [name, [help, value]] of Object.entries(gauges)) {
      head(name, 'gauge', help);
      lines.push(`${PREFIX}${name} ${value}`);
    }
    head('request_duration_seconds', 'histogram', 'From a rerank request to its answer.');
    for (const [status, { buckets, count, sum }] of this.#times) {
      const line = (name, value, more = '') => lines.push(`${PREFIX}request_duration_seconds_${name}{status="${status}"${more}} ${value}`);
      for (const [at, bound] of BUCKETS.entries()) line('bucket', buckets[at], `,le="${bound}"`);
      line('bucket', count, ',le="+Inf"');
      line('sum', sum);
      line('count', count);
    }
    return `${lines.join('\n')}\n`;
  }
}

const TOTALS = [
  ['documents', 'Documents that were scored or found in the cache.'],
  ['tokens', 'Tokens of their prompts.'],
  ['cache_hits', 'Documents whose score was known.'],
  ['cache_misses', 'Documents that were computed while a cache was on.'],
];
