// One measurement of an engine that is called from here: loads it, warms it up with another query, and times the documents.

/** job: { engine, device, file, dtype, threads, build, batch, workload, seconds }; in a page, where its engine's module lies beside this one. */
export async function run({ engine, ...job }) {
  const { open } = await import(`./${engine}.js`);
  return measure(open, job, { begin: globalThis.passBegins, end: globalThis.passEnds });
}

/** -> { loadSeconds, passSeconds, firstScoreSeconds, scores, details }. `begin` and `end` are called around the documents. */
export async function measure(open, job, { begin, end }) {
  const { query, warmUpQuery, documents } = job.workload;
  const since = (start) => (performance.now() - start) / 1000;
  let start = performance.now();
  const opened = await open(job);
  const loadSeconds = since(start);
  // A document, or two of a list; then as many as it will be given at once: a GPU tries its kernels on those, and quick models warm up on them.
  await opened.rank(warmUpQuery, documents.slice(0, Math.min(opened.atOnce, 2)));
  if (job.device === 'webgpu' || since(start) - loadSeconds < 0.5) await opened.rank(warmUpQuery, documents.slice(0, opened.atOnce));

  await begin();
  let firstScoreSeconds = null;
  start = performance.now();
  const onFirst = () => (firstScoreSeconds ??= since(start));
  const scores = [];
  while (scores.length < documents.length && since(start) < job.seconds) {
    scores.push(...(await opened.rank(query, documents.slice(scores.length, scores.length + opened.atOnce), onFirst)));
    onFirst();
  }
  const passSeconds = since(start);
  await end();
  const details = opened.details();
  await opened.close();
  return { loadSeconds, passSeconds, firstScoreSeconds, scores, details };
}
