// Whether a runtime ranked the question as the command line does.
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { Reranker } from '../../pkg/src/node.js';
import { EIGHT_BITS, nativeScores, question, scoresOf } from './pack.mjs';

// The processor's instructions decide whether inputs are quantised to 8 bits (docs/cpu.md), natively and in WebAssembly, so there are two right
// answers: the command line's, and that of the build whose inputs always have 16 bits.
const EXACT = 1e-3;

const wasm = fileURLToPath(new URL('../../pkg/dist/edge_reranker_bg.wasm', import.meta.url));
const native = await nativeScores();
const sixteen = await (async () => {
  const reranker = await Reranker.load({ worker: true, wasm });
  const { results } = await reranker.rerank(question.query, question.documents);
  await reranker.unload();
  return scoresOf(results);
})();

const farthest = (scores, wanted) => Math.max(...wanted.map((one, at) => Math.abs(one - scores[at])));
const bestFirst = native.map((_, at) => at).sort((a, b) => native[b] - native[a]);

assert.ok(farthest(sixteen, native) <= EIGHT_BITS, `16 bits: ${sixteen}; the command line: ${native}`);

// GPUs round each in their own way.
export function judge(results, where, allowed = EXACT) {
  const scores = scoresOf(results);
  assert.deepEqual(results.map(({ index }) => index), bestFirst, where);
  assert.ok(Math.min(farthest(scores, native), farthest(scores, sixteen)) <= allowed, `${where}: ${scores}, where ${native} or ${sixteen} is right`);
}

export const judgeGpu = (results, where) => judge(results, `${where}, webgpu`, EIGHT_BITS);
