// A request -> its answer: known scores, then the engine for the rest, in turn.
import { fit, longest } from './bounds.js';
import { busy, Problem, tooLarge } from './problem.js';

export class Scorer {
  #options;
  #gate;
  #cache;

  // `options`: maxTokens, maxLength, maxQueries, retryAfter; `gate` lets one request compute at a time; `cache` may be null.
  constructor(options, gate, cache) {
    this.#options = options;
    this.#gate = gate;
    this.#cache = cache;
  }

  // `context`: { reranker, signal, keep }, where `keep(promise)` lets work go on after the answer. Gives { lines, tokens, hits }.
  async score(request, context) {
    const groups = this.#groups(request);
    const texts = fit(request, context.reranker.info(), this.#options).map(({ text }) => text);
    const keys = this.#cache ? await this.#keys(groups, texts, request, context.reranker) : null;
    const known = keys ? await this.#cache.find(keys) : new Map();
    const lines = new Array(texts.length);
    let hits = 0;
    const missing = [];
    for (const { query, places } of groups) {
      const unknown = new Map(); // text -> its places: what is there twice is computed once
      for (const place of places) {
        lines[place] = keys ? known.get(keys[place]) : undefined;
        if (lines[place]) hits += 1;
        else if (unknown.has(texts[place])) unknown.get(texts[place]).push(place);
        else unknown.set(texts[place], [place]);
      }
      if (unknown.size) missing.push({ query, unknown });
    }
    if (missing.length) await this.#compute(missing, keys, request, context, lines);
    return { lines: lines.map((line, index) => ({ ...line, index })), tokens: lines.reduce((sum, { tokens }) => sum + tokens, 0), hits };
  }

  // Ids of the prompts of one query's documents: [{ ids, sharedPrefix }].
  tokenize(request, context) {
    const { query, instruction } = request;
    const documents = fit(request, context.reranker.info(), this.#options);
    const options = { instruction, maxLength: this.#maxLength(context.reranker), signal: context.signal };
    return this.#inTurn(context, async (reranker) => {
      const prompts = [];
      for (const { text } of documents) prompts.push(await reranker.tokenize(query, text, options));
      return prompts;
    });
  }

  // The documents by their query: [{ query, places }].
  #groups({ query, queries, documents }) {
    if (!queries) return [{ query, places: [...documents.keys()] }];
    const groups = new Map();
    for (const [at, one] of queries.entries()) {
      if (!groups.has(one)) groups.set(one, { query: one, places: [] });
      groups.get(one).places.push(at);
    }
    const { maxQueries = Infinity } = this.#options;
    if (groups.size > maxQueries) throw tooLarge(null, `There are ${groups.size} different queries, at most ${maxQueries} are taken in one request: send them in parts.`);
    return [...groups.values()];
  }

  // The operator's bound, which a model with a shorter context does not take.
  #maxLength(reranker) {
    const { maxLength } = this.#options;
    return maxLength === undefined ? undefined : longest(reranker.info(), maxLength);
  }

  async #keys(groups, texts, { instruction, maxTokensPerDocument }, reranker) {
    const info = reranker.info();
    const maxLength = [longest(info, this.#options.maxLength), maxTokensPerDocument ?? null];
    const keys = [];
    for (const { query, places } of groups) {
      const some = await this.#cache.keys(info, { query, texts: places.map((at) => texts[at]), instruction, maxLength });
      for (const [at, place] of places.entries()) keys[place] = some[at];
    }
    return keys;
  }

  // Nothing is computed before all is counted.
  async #compute(missing, keys, { instruction, maxTokensPerDocument }, context, lines) {
    await this.#inTurn(context, async (reranker) => {
      const base = { instruction, maxLength: this.#maxLength(reranker), signal: context.signal };
      const passes = [];
      for (const { query, unknown } of missing) {
        const maxLength = await this.#longest(reranker, query, maxTokensPerDocument, base);
        passes.push({ query, unknown, texts: [...unknown.keys()], options: { ...base, maxLength } });
      }
      await this.#bound(reranker, passes);
      const found = [];
      try {
        for (const { query, unknown, texts, options } of passes) {
          for (const [text, line] of await this.#rank(reranker, query, texts, options)) {
            for (const place of unknown.get(text)) lines[place] = line;
            if (keys) found.push([keys[unknown.get(text)[0]], line]);
          }
        }
      } finally {
        if (found.length) context.keep(this.#cache.keep(found));
      }
    });
  }

  // Gives [text, line][].
  async #rank(reranker, query, texts, options) {
    const { results } = await reranker.rerank(query, texts, options);
    return results.map(({ index, relevanceScore: score, logit, tokens, truncated }) => {
      if (!Number.isFinite(score) || !Number.isFinite(logit)) throw new Problem(500, 'not-a-number', 'The model gave a score that is not a number.');
      return [texts[index], { score, logit, tokens, truncated }];
    });
  }

  // A prompt is the part before the document, the document, and the part after it.
  async #longest(reranker, query, perDocument, options) {
    if (perDocument === undefined) return options.maxLength;
    const maxLength = longest(reranker.info(), this.#options.maxLength);
    const prompts = [];
    for (const document of ['', 'a']) prompts.push(await reranker.tokenize(query, document, { ...options, maxLength }));
    return Math.min(maxLength, aroundDocuments(prompts) + perDocument);
  }

  // What is computed: the part that a query's prompts share once, and the rest of every prompt.
  async #bound(reranker, passes) {
    const { maxTokens } = this.#options;
    if (!maxTokens) return;
    const over = () => tooLarge(null, `The request needs more than ${maxTokens} tokens, the most that one may have here: send fewer or shorter documents.`);
    if (passes.reduce((sum, { texts }) => sum + texts.length, 0) > maxTokens) throw over();
    let tokens = 0;
    for (const { query, texts, options } of passes) {
      for (const [at, text] of texts.entries()) {
        const { ids, sharedPrefix } = await reranker.tokenize(query, text, options);
        tokens += ids.length - (at ? sharedPrefix : 0);
        if (tokens > maxTokens) throw over();
      }
    }
  }

  async #inTurn({ reranker, signal, keep }, work) {
    const { retryAfter } = this.#options;
    const leave = await this.#gate.enter(signal, {
      full: () => busy(429, 'busy', 'Too many requests wait already: ask again soon.', retryAfter),
      stuck: () => busy(503, 'not-loaded', 'The engine is stuck: ask again soon.', retryAfter, new Error('A request that computed was dropped by the runtime.')),
    });
    try {
      const working = work(reranker);
      keep(working.catch(() => {})); // a runtime that drops the work of a client who left would leave the engine half way
      const result = await working;
      leave();
      return result;
    } catch (error) {
      // Whoever aborts is told before the engine has stopped: an empty call comes after what still runs.
      keep(Promise.resolve().then(() => reranker.score([])).then(leave, leave));
      throw error;
    }
  }
}

// Tokens before and after the document: what two prompts with different documents have in common.
function aroundDocuments([one, other]) {
  const room = Math.min(one.ids.length, other.ids.length) - one.sharedPrefix;
  let after = 0;
  while (after < room && one.ids.at(-1 - after) === other.ids.at(-1 - after)) after += 1;
  return one.sharedPrefix + after;
}

// The best first; logits still differ where the probabilities have rounded to 1.
const byScore = (a, b) => b.logit - a.logit || a.index - b.index;

// Lines -> the lists that dialects write, { ranked, ordered }.
export function rank(lines, { documents, raw, threshold, topN, refuseCut }) {
  const cut = refuseCut ? lines.find((one) => one.truncated) : undefined;
  if (cut) throw new Problem(400, 'too-long', `documents[${cut.index}] is longer than the model takes: shorten it, or allow that it is cut.`, { param: `documents[${cut.index}]` });
  const least = Math.fround(threshold ?? -Infinity); // scores are of this precision
  const all = lines.map((one) => ({ ...one, ...documents[one.index], score: raw ? one.logit : one.score }));
  const ranked = all.sort(byScore).filter(({ score }) => score >= least).slice(0, topN ?? all.length);
  return { ranked, ordered: [...ranked].sort((a, b) => a.index - b.index) };
}
