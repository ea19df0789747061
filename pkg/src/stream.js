// The scores of a call, as they are known.
import { checkCall } from './check.js';
import { badInput, follow } from './errors.js';

// `rerank(options)` starts the call. Leaving the loop stops it.
export async function* scoresOf(rerank, options) {
  const { signal, onScore, topN, threshold } = checkCall(options);
  if (topN) throw badInput('options.topN has no meaning for a stream, which does not know the best before its end: use rerank, or a threshold.');
  const least = Math.fround(threshold ?? -Infinity); // scores are of this precision
  const controller = new AbortController();
  const unfollow = follow(signal, controller);
  const ready = [];
  let wake = () => {};
  let ended = false;
  const hear = (score) => {
    onScore?.(score);
    if (score.score < least) return;
    ready.push({ index: score.index, relevanceScore: score.score });
    wake();
  };
  const work = rerank({ ...options, signal: controller.signal, onScore: hear }).finally(() => {
    ended = true;
    wake();
  });
  work.catch(() => {}); // heard below, unless the consumer has left
  try {
    for (;;) {
      while (ready.length) yield ready.shift();
      if (ended) break;
      await new Promise((resolve) => (wake = resolve));
    }
    await work;
  } finally {
    unfollow();
    controller.abort();
    await work.catch(() => {});
  }
}
