// What a server answers -> what a local reranker gives. Nothing in a reply is believed before it was looked at; `judge(what)` makes the
// error that says what is wrong.
import { kind } from '../check.js';

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
const count = (value) => (Number.isSafeInteger(value) && value >= 0 ? value : 0);

function listOf(reply, names, judge) {
  if (!isObject(reply)) throw judge(`it must be an object, got ${kind(reply)}`);
  const name = names.find((one) => reply[one] != null) ?? names[0];
  if (!Array.isArray(reply[name])) throw judge(`'${name}' must be an array, got ${kind(reply[name])}`);
  return reply[name].map((entry, at) => {
    if (!isObject(entry)) throw judge(`${name}[${at}] must be an object, got ${kind(entry)}`);
    return [entry, `${name}[${at}]`];
  });
}

function numberOf(value, where, judge) {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw judge(`${where} must be a number, got ${kind(value)}`);
  return Math.fround(value); // as a local engine's
}

// Indices from 0 to `sent`, each once; `wanted` of them, or at most that many.
function checkIndices(entries, sent, { wanted, exactly }, judge) {
  const seen = new Set();
  for (const [{ index }, where] of entries) {
    if (!Number.isSafeInteger(index) || index < 0 || index >= sent) throw judge(`${where}.index is ${JSON.stringify(index)}, of ${sent} that were sent`);
    if (seen.has(index)) throw judge(`${where}.index ${index} is there twice`);
    seen.add(index);
  }
  if (seen.size > wanted || (exactly && seen.size < wanted)) throw judge(`it has ${seen.size} results where ${wanted} were asked for`);
}

const LEAST = 2 ** -126;
const MOST = 1 - 2 ** -24;

// The logit of a probability that was rounded: always finite. A score that is no probability is a logit already.
export function logitOf(score) {
  if (score < 0 || score > 1) return score;
  const p = Math.min(Math.max(score, LEAST), MOST);
  return Math.fround(Math.log(p / (1 - p)));
}

// `asked`: { sent, topN, threshold, rawScores } of this request. Gives { results, promptTokens, ..., model }.
export function readRerank(reply, { sent, topN, threshold, rawScores }, judge) {
  const entries = listOf(reply, ['results', 'data'], judge);
  checkIndices(entries, sent, { wanted: topN ? Math.min(topN, sent) : sent, exactly: threshold === undefined }, judge);
  const results = entries.map(([entry, where]) => {
    const score = numberOf(entry.relevance_score ?? entry.score, `${where}.relevance_score`, judge);
    const logit = entry.logit == null ? (rawScores ? score : logitOf(score)) : numberOf(entry.logit, `${where}.logit`, judge);
    return { index: entry.index, relevanceScore: rawScores ? logit : score, logit, tokens: count(entry.tokens), truncated: entry.truncated === true };
  });
  const { usage } = reply;
  return {
    results,
    promptTokens: count(usage?.prompt_tokens ?? usage?.total_tokens),
    totalTokens: count(usage?.total_tokens),
    prefixReusedTokens: count(usage?.prefix_reused_tokens),
    model: typeof reply.model === 'string' ? reply.model : null,
    warnings: Array.isArray(reply.warnings) ? reply.warnings.filter((one) => typeof one === 'string') : [],
  };
}

// The scores of `sent` pairs in their order.
export function readScores(reply, sent, judge) {
  const entries = listOf(reply, ['data', 'results'], judge);
  checkIndices(entries, sent, { wanted: sent, exactly: true }, judge);
  const scores = new Float32Array(sent);
  for (const [entry, where] of entries) scores[entry.index] = numberOf(entry.score ?? entry.relevance_score, `${where}.score`, judge);
  return scores;
}

export function readTokens(reply, judge) {
  if (!isObject(reply)) throw judge(`it must be an object, got ${kind(reply)}`);
  const ids = Array.isArray(reply.ids?.[0]) ? reply.ids[0] : reply.ids;
  if (!Array.isArray(ids) || !ids.every((id) => Number.isSafeInteger(id) && id >= 0 && id < 2 ** 32)) throw judge("'ids' must hold the token ids of one prompt");
  const shared = reply.shared_prefix;
  if (!Number.isSafeInteger(shared) || shared < 0 || shared > ids.length) throw judge(`'shared_prefix' must be a number from 0 to ${ids.length}, got ${JSON.stringify(shared)}`);
  return { ids: Uint32Array.from(ids), sharedPrefix: shared };
}

// What GET /info tells: { name, maxDocuments, maxBodyBytes }, each undefined if it does not say.
export function readInfo(reply) {
  if (!isObject(reply)) return {};
  const positive = (...values) => values.find((one) => Number.isSafeInteger(one) && one > 0);
  const { model, limits } = reply;
  return {
    name: [model, model?.name, model?.id, reply.name, reply.model_id].find((one) => typeof one === 'string' && one),
    maxDocuments: positive(reply.max_documents, limits?.max_documents, reply.max_client_batch_size),
    maxBodyBytes: positive(reply.max_body_bytes, limits?.max_body_bytes, reply.max_body),
  };
}
