// One measurement: loads an engine, warms it up with another query, and times the documents.

/** job: { engine, device, file, dtype, threads, batch, workload, seconds } -> { loadSeconds, passSeconds, scores, details } */
export async function run({ engine, workload, seconds, ...options }) {
  const { query, documents } = workload;
  const { open } = await import(`./${engine}.js`);
  const since = (start) => (performance.now() - start) / 1000;
  let start = performance.now();
  const opened = await open({ ...options, workload });
  const loadSeconds = since(start);
  const otherQuery = query.split(' ').reverse().join(' ');
  await opened.rank(otherQuery, documents.slice(0, opened.atOnce));

  await globalThis.passBegins();
  start = performance.now();
  const scores = [];
  while (scores.length < documents.length && since(start) < seconds) {
    scores.push(...(await opened.rank(query, documents.slice(scores.length, scores.length + opened.atOnce))));
  }
  const passSeconds = since(start);
  await globalThis.passEnds();
  const details = opened.details();
  await opened.close();
  return { loadSeconds, passSeconds, scores, details };
}
