// The calls of RemoteReranker as requests. `call`: { requests, model, caps, signal, fail }.
import { threw } from '../errors.js';
import { sendInBatches } from './batches.js';
import { readRerank, readScores, readTokens } from './reply.js';

export const textOf = (document) => document.text ?? document;

// Tells the caller's onScore of each score; what it throws ends the call.
function announcer(onScore, total, { signal, fail }) {
  let done = 0;
  return (index, score) => {
    done += 1;
    if (!onScore || signal.aborted) return;
    try {
      onScore({ index, score, done, total });
    } catch (error) {
      fail(threw('onScore', error));
    }
  };
}

// What the replies hold, with the indices of the whole list: one part for every request.
function rank(call, query, texts, { topN, threshold, instruction, rawScores, maxTokensPerDocument, onScore }) {
  const asked = onScore ? {} : { topN: topN || undefined, threshold }; // who hears of scores hears of all
  const hear = announcer(onScore, texts.length, call);
  const fields = { model: call.model, query, instruction, top_n: asked.topN, threshold: asked.threshold, raw_scores: rawScores, max_tokens_per_doc: maxTokensPerDocument };
  const read = (reply, from, sent) => {
    const part = readRerank(reply, { ...asked, sent, rawScores }, call.requests.judge('/v1/rerank'));
    for (const result of part.results) {
      result.index += from;
      hear(result.index, result.relevanceScore);
    }
    return part;
  };
  return sendInBatches(call, '/v1/rerank', fields, ['documents'], texts.map((text) => [text]), read);
}

// Best first; logits still differ where the probabilities have rounded to 1.
const byScore = (a, b) => b.relevanceScore - a.relevanceScore || b.logit - a.logit || a.index - b.index;

// A RerankResult, but for its timings.
export async function rerank(call, query, documents, options) {
  const { topN, threshold, returnDocuments } = options;
  const parts = await rank(call, query, documents.map(textOf), options);
  const least = Math.fround(threshold ?? -Infinity); // scores are of this precision
  const best = parts.flatMap((part) => part.results).filter((one) => one.relevanceScore >= least).sort(byScore);
  const sum = (field) => parts.reduce((all, part) => all + part[field], 0);
  return {
    results: best.slice(0, topN || best.length).map((one) => withDocument(one, documents[one.index], returnDocuments)),
    usage: { promptTokens: sum('promptTokens'), totalTokens: sum('totalTokens'), prefixReusedTokens: sum('prefixReusedTokens') },
    model: parts.find((part) => part.model)?.model,
    warnings: [...new Set(parts.flatMap((part) => part.warnings))],
  };
}

function withDocument(result, document, returned) {
  if (document.id !== undefined) result.id = document.id;
  if (returned) result.document = { text: textOf(document) };
  return result;
}

// The dialect of /score knows texts alone: with other options there is one ranking for every query.
export function score(call, pairs, options) {
  const { instruction, rawScores, maxTokensPerDocument } = options;
  return instruction === undefined && !rawScores && maxTokensPerDocument === undefined ? scorePairs(call, pairs, options) : scoreByQuery(call, pairs, options);
}

async function scorePairs(call, pairs, { onScore }) {
  const scores = new Float32Array(pairs.length);
  const hear = announcer(onScore, pairs.length, call);
  const read = (reply, from, sent) => {
    const part = readScores(reply, sent, call.requests.judge('/score'));
    scores.set(part, from);
    for (const [at, one] of part.entries()) hear(from + at, one);
  };
  await sendInBatches(call, '/score', { model: call.model }, ['text_1', 'text_2'], pairs, read);
  return scores;
}

async function scoreByQuery(call, pairs, { instruction, rawScores, maxTokensPerDocument, onScore }) {
  const places = new Map(); // query -> where its pairs are
  for (const [at, [query]] of pairs.entries()) {
    if (!places.has(query)) places.set(query, []);
    places.get(query).push(at);
  }
  const scores = new Float32Array(pairs.length);
  const hear = announcer(onScore, pairs.length, call);
  const one = async ([query, own]) => {
    const parts = await rank(call, query, own.map((at) => pairs[at][1]), { instruction, rawScores, maxTokensPerDocument });
    for (const { index, relevanceScore } of parts.flatMap((part) => part.results)) {
      scores[own[index]] = relevanceScore;
      hear(own[index], relevanceScore);
    }
  };
  await Promise.all([...places].map(one));
  return scores;
}

export async function tokenize({ requests, model, signal }, query, document, { instruction }) {
  const body = JSON.stringify({ model, query, documents: [document], instruction });
  return readTokens(await requests.send('/tokenize', body, signal), requests.judge('/tokenize'));
}
