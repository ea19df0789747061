// A request -> its answer: known scores, then the engine for the rest, in turn.
import { busy, Problem, tooLarge } from './problem.js';

const LONGEST = 8192; // the engine's own bound on a prompt, where none is given

export class Scorer {
  #options;
  #gate;
  #cache;

  // `options`: maxTokens, maxLength, retryAfter; `gate` lets one request compute at a time; `cache` may be null.
  constructor(options, gate, cache) {
    this.#options = options;
    this.#gate = gate;
    this.#cache = cache;
  }

  // `context`: { reranker, signal, keep }, where `keep(promise)` lets work go on after the answer. Gives { lines, tokens, hits }.
  async score(request, context) {
    const lines = new Array(request.documents.length);
    let hits = 0;
    const missing = [];
    for (const group of groupsOf(request)) {
      const keys = await this.#keys(group, request, context.reranker);
      const known = this.#cache ? await this.#cache.find(keys) : new Map();
      const unknown = new Map(); // key -> its text: what is there twice is computed once
      for (const [at, place] of group.places.entries()) {
        const line = known.get(keys[at]);
        if (line) hits += 1;
        else unknown.set(keys[at], request.documents[place].text);
        lines[place] = line;
      }
      if (unknown.size) missing.push({ group, keys, unknown });
    }
    if (missing.length) await this.#compute(missing, request, context, lines);
    return { lines: lines.map((line, index) => ({ ...line, index })), tokens: lines.reduce((sum, { tokens }) => sum + tokens, 0), hits };
  }

  // Ids of the prompts of one query's documents: [{ ids, sharedPrefix }].
  tokenize({ query, documents, instruction }, context) {
    const options = { instruction, maxLength: this.#options.maxLength, signal: context.signal };
    return this.#inTurn(context, async (reranker) => {
      const prompts = [];
      for (const { text } of documents) prompts.push(await reranker.tokenize(query, text, options));
      return prompts;
    });
  }

  // Without a cache a text's key is the text itself.
  #keys({ query, places }, { documents, instruction, maxTokensPerDocument }, reranker) {
    const texts = places.map((at) => documents[at]);
    if (!this.#cache) return texts.map(({ text }) => text);
    const maxLength = [this.#options.maxLength ?? null, maxTokensPerDocument ?? null];
    return this.#cache.keys(reranker.info(), { query, documents: texts, instruction, maxLength });
  }

  async #compute(missing, request, context, lines) {
    await this.#inTurn(context, async (reranker) => {
      for (const { group, keys, unknown } of missing) {
        const found = await this.#rank(reranker, group.query, unknown, request, context);
        for (const [at, place] of group.places.entries()) lines[place] ??= found.get(keys[at]);
        if (this.#cache) context.keep(this.#cache.keep([...found]));
      }
    });
  }

  // Gives key -> line.
  async #rank(reranker, query, unknown, { instruction, maxTokensPerDocument }, { signal }) {
    const keys = [...unknown.keys()];
    const texts = [...unknown.values()];
    const base = { instruction, maxLength: this.#options.maxLength, signal };
    const maxLength = await this.#longest(reranker, query, maxTokensPerDocument, base);
    await this.#bound(reranker, query, texts, { ...base, maxLength });
    const { results } = await reranker.rerank(query, texts, { ...base, maxLength });
    const found = new Map();
    for (const { index, relevanceScore: score, logit, tokens, truncated } of results) {
      if (!Number.isFinite(score) || !Number.isFinite(logit)) throw new Problem(500, 'not-a-number', 'The model gave a score that is not a number.');
      found.set(keys[index], { score, logit, tokens, truncated });
    }
    return found;
  }

  // A prompt is the part before the document, the document, and the part after it.
  async #longest(reranker, query, perDocument, options) {
    const { maxLength } = options;
    if (perDocument === undefined) return maxLength;
    const longest = maxLength ?? Math.min(LONGEST, reranker.info().contextLength ?? LONGEST);
    const prompts = [];
    for (const document of ['', 'a']) prompts.push(await reranker.tokenize(query, document, { ...options, maxLength: longest }));
    return Math.min(longest, aroundDocuments(prompts) + perDocument);
  }

  // What is computed: the shared part once, and the rest of every prompt.
  async #bound(reranker, query, texts, options) {
    const { maxTokens } = this.#options;
    if (!maxTokens) return;
    const over = () => tooLarge(null, `The request needs more than ${maxTokens} tokens, the most that one may have here: send fewer or shorter documents.`);
    if (texts.length > maxTokens) throw over();
    let tokens = 0;
    for (const text of texts) {
      const { ids, sharedPrefix } = await reranker.tokenize(query, text, options);
      tokens += ids.length - (tokens ? sharedPrefix : 0);
      if (tokens > maxTokens) throw over();
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

// The documents by their query: [{ query, places }].
function groupsOf({ query, queries, documents }) {
  if (!queries) return [{ query, places: [...documents.keys()] }];
  const groups = new Map();
  for (const [at, one] of queries.entries()) {
    if (!groups.has(one)) groups.set(one, { query: one, places: [] });
    groups.get(one).places.push(at);
  }
  return [...groups.values()];
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
