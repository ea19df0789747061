// The adapters inside the real libraries. Scores are those of a small reranker whose every call is written down; one test each ranks with the
// built-in model.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Document } from '@langchain/core/documents';
import { BaseDocumentCompressor } from '@langchain/core/retrievers/document_compressors';
import { RetrieverQueryEngine } from '@llamaindex/core/query-engine';
import { TextNode } from '@llamaindex/core/schema';
import { rerank } from 'ai';
import { EIGHT_BITS, here, install, nativeScores, pack, question, run } from './pack.mjs';

// The packed package, beside the libraries that it finds there.
const folder = await install({ after }, 'adapters', await pack({ after }));
for (const library of ['langchain', 'llamaindex']) {
  await mkdir(join(folder, `node_modules/@${library}`));
  await symlink(here(`node_modules/@${library}/core`), join(folder, `node_modules/@${library}/core`), 'dir');
}
const inPackage = (path) => import(pathToFileURL(join(folder, 'node_modules/edge-reranker/src', path)).href);
const { edgeReranker } = await inPackage('ai-sdk.js');
const { EdgeReranker: LangChain } = await inPackage('langchain.js');
const { EdgeReranker: LlamaIndex } = await inPackage('llamaindex.js');
const { Reranker, RerankError } = await inPackage('node.js');
const { checkCall } = await inPackage('check.js');

const real = await Reranker.load({ worker: true });
after(() => real.unload());
const native = await nativeScores();

globalThis.AI_SDK_LOG_WARNINGS = false;

const QUERY = 'capital China';
const TEXTS = ['bananas', 'the capital of China', 'a capital', 'China'];

// Scores a document by the share of the query's words in it.
function fake(warnings = []) {
  const calls = [];
  const score = (query, text) => query.split(' ').filter((word) => text.includes(word)).length / query.split(' ').length;
  return {
    calls,
    info: () => ({ name: 'fake' }),
    async rerank(query, documents, options) {
      const { topN, signal } = checkCall(options);
      calls.push({ query, documents, options });
      if (signal?.aborted) throw new RerankError('aborted', 'aborted');
      const results = documents.map((text, index) => ({ index, relevanceScore: score(query, text) })).sort((a, b) => b.relevanceScore - a.relevanceScore || a.index - b.index);
      return { results: results.slice(0, topN || results.length), usage: { totalTokens: 9 }, model: 'fake', warnings };
    },
  };
}

const isRerankError = (code, words) => (error) => error instanceof RerankError && error.code === code && words.test(error.message);

// ---- LangChain

const documents = TEXTS.map((pageContent, at) => new Document({ pageContent, metadata: { page: at }, id: `d${at}` }));

test('LangChain: documents come back best first, as copies with their score and all they had', async () => {
  const compressor = new LangChain({ reranker: fake() });
  assert.ok(compressor instanceof BaseDocumentCompressor);
  assert.ok(BaseDocumentCompressor.isBaseDocumentCompressor(compressor));
  const compressed = await compressor.compressDocuments(documents, QUERY);
  assert.deepEqual(compressed.map(({ id }) => id), ['d1', 'd2', 'd3', 'd0']);
  assert.deepEqual(compressed[0].metadata, { page: 1, relevanceScore: 1 });
  assert.equal(compressed[0].pageContent, TEXTS[1]);
  assert.ok(compressed[0] instanceof Document);
  assert.deepEqual(documents[1].metadata, { page: 1 }, 'the given ones stay as they are');
  assert.deepEqual(await compressor.compressDocuments([], QUERY), []);
});

test('LangChain: options of the class and of a call; strings, documents and texts', async () => {
  const reranker = fake();
  const compressor = new LangChain({ reranker, topN: 2, instruction: 'Find', threshold: null });
  assert.equal((await compressor.compressDocuments(documents, QUERY)).length, 2);
  const mixed = await compressor.rerank(['China', documents[1], { text: 'capital' }], QUERY, { topN: 3, instruction: 'Other' });
  assert.deepEqual(mixed, [{ index: 1, relevanceScore: 1 }, { index: 0, relevanceScore: 0.5 }, { index: 2, relevanceScore: 0.5 }]);
  assert.deepEqual(reranker.calls.map(({ options }) => options), [{ topN: 2, instruction: 'Find' }, { topN: 3, instruction: 'Other' }]);
  await assert.rejects(compressor.rerank([7], QUERY), isRerankError('bad-input', /documents\[0\]/));
  await assert.rejects(compressor.rerank(['a'], QUERY, { signal: AbortSignal.abort() }), isRerankError('aborted', /./));
});

test('LangChain: the built-in model', async () => {
  const ranked = await new LangChain({ reranker: real, topN: 1 }).compressDocuments(question.documents.map((pageContent) => new Document({ pageContent })), question.query);
  assert.equal(ranked.length, 1);
  assert.ok(Math.abs(ranked[0].metadata.relevanceScore - Math.max(...native)) < EIGHT_BITS);
});

test('a reranker, a promise of one, or a function that is called once it is needed, and again after a failure', async () => {
  let made = 0;
  const make = async () => {
    made += 1;
    if (made === 1) throw new Error('not yet');
    return fake();
  };
  const lazy = new LangChain({ reranker: make });
  assert.equal(made, 0);
  await assert.rejects(lazy.rerank(['a'], 'q'), /not yet/);
  await lazy.rerank(['a'], 'q');
  await lazy.rerank(['a'], 'q');
  assert.equal(made, 2);
  await new LangChain({ reranker: Promise.resolve(fake()) }).rerank(['a'], 'q');
  for (const reranker of [undefined, null, 7, {}, 'mini']) assert.throws(() => new LangChain({ reranker }), isRerankError('bad-input', /reranker must be/));
  await assert.rejects(new LangChain({ reranker: () => 7 }).rerank(['a'], 'q'), isRerankError('bad-input', /come to a Reranker/));
  assert.throws(() => new LangChain(), isRerankError('bad-input', /reranker must be/));
});

// ---- LlamaIndex

const nodes = TEXTS.map((text, at) => ({ node: new TextNode({ text, metadata: { page: at } }), score: 0.9 }));

test('LlamaIndex: nodes come back best first with their new scores', async () => {
  const reranker = fake();
  const processed = await new LlamaIndex({ reranker, topN: 3 }).postprocessNodes(nodes, QUERY);
  assert.deepEqual(processed.map(({ node, score }) => [node.metadata.page, score]), [[1, 1], [2, 0.5], [3, 0.5]]);
  assert.equal(processed[0].node, nodes[1].node);
  assert.equal(nodes[1].score, 0.9);
  assert.equal(reranker.calls[0].documents[1], nodes[1].node.getContent('EMBED'));
  assert.match(reranker.calls[0].documents[1], /page: 1/);
  await new LlamaIndex({ reranker, metadataMode: 'NONE' }).postprocessNodes(nodes, QUERY);
  assert.equal(reranker.calls[1].documents[1], TEXTS[1]);
  assert.throws(() => new LlamaIndex({ reranker, metadataMode: 'none' }), isRerankError('bad-input', /metadataMode/));
});

test('LlamaIndex: queries of parts, none at all, no nodes', async () => {
  const reranker = fake();
  const postprocessor = new LlamaIndex({ reranker });
  await postprocessor.postprocessNodes(nodes, [{ type: 'text', text: 'capital' }, { type: 'image_url', image_url: { url: 'x' } }, { type: 'text', text: 'China' }]);
  assert.equal(reranker.calls[0].query, 'capital\n\nChina');
  for (const query of [undefined, [], [{ type: 'image_url' }]]) await assert.rejects(postprocessor.postprocessNodes(nodes, query), isRerankError('bad-input', /needs a query/));
  assert.deepEqual(await postprocessor.postprocessNodes([], QUERY), []);
  assert.equal(reranker.calls.length, 1);
});

test('LlamaIndex: inside a query engine, with the built-in model', async () => {
  const retriever = { retrieve: async () => question.documents.map((text) => ({ node: new TextNode({ text }), score: 0 })) };
  const synthesizer = { synthesize: () => assert.fail('is not asked for') };
  const engine = new RetrieverQueryEngine(retriever, synthesizer, [new LlamaIndex({ reranker: real, metadataMode: 'NONE' })]);
  const found = await engine.retrieve(question.query);
  assert.deepEqual(found.map(({ node }) => question.documents.indexOf(node.getText())), [0, 1, 2].sort((a, b) => native[b] - native[a]));
  for (const { node, score } of found) assert.ok(Math.abs(score - native[question.documents.indexOf(node.getText())]) < EIGHT_BITS);
});

// ---- AI SDK

test('AI SDK: texts, topN, what the answer carries', async () => {
  const reranker = fake();
  const model = edgeReranker(reranker, { instruction: 'Find' });
  const { ranking, rerankedDocuments, originalDocuments, providerMetadata, response } = await rerank({ model, query: QUERY, documents: TEXTS, topN: 2 });
  assert.deepEqual(ranking, [{ originalIndex: 1, score: 1, document: TEXTS[1] }, { originalIndex: 2, score: 0.5, document: TEXTS[2] }]);
  assert.deepEqual(rerankedDocuments, [TEXTS[1], TEXTS[2]]);
  assert.deepEqual(originalDocuments, TEXTS);
  assert.equal(response.modelId, 'fake');
  assert.deepEqual(providerMetadata, { edgeReranker: { usage: { totalTokens: 9 } } });
  assert.deepEqual(reranker.calls[0].options, { instruction: 'Find', topN: 2 });
  await rerank({ model, query: QUERY, documents: TEXTS, providerOptions: { edgeReranker: { instruction: 'Other' } } });
  assert.equal(reranker.calls[1].options.instruction, 'Other');
  assert.deepEqual((await rerank({ model, query: QUERY, documents: [] })).ranking, []);
  assert.deepEqual([model.modelId, edgeReranker(async () => reranker).modelId, edgeReranker(reranker, { modelId: 'm' }).modelId], ['fake', 'edge-reranker', 'm']);
});

test('AI SDK: objects are ranked as JSON with a warning, or by textOf', async () => {
  const reranker = fake(['slow today']);
  const documents = [{ from: 'China', text: 'hello' }, { from: 'me', text: 'capital China' }];
  const heard = [];
  globalThis.AI_SDK_LOG_WARNINGS = ({ warnings }) => heard.push(...warnings);
  const { ranking } = await rerank({ model: edgeReranker(reranker), query: QUERY, documents, headers: { 'X-Team': 'a' } });
  globalThis.AI_SDK_LOG_WARNINGS = false;
  assert.deepEqual(ranking.map(({ originalIndex }) => originalIndex), [1, 0]);
  assert.deepEqual(reranker.calls[0].documents, documents.map((one) => JSON.stringify(one)));
  assert.deepEqual(heard.map(({ type, feature, message }) => [type, feature ?? message]), [['compatibility', 'object documents'], ['unsupported', 'headers'], ['other', 'slow today']]);
  await rerank({ model: edgeReranker(reranker, { textOf: ({ text }) => text }), query: QUERY, documents });
  assert.deepEqual(reranker.calls[1].documents, ['hello', 'capital China']);
});

test('AI SDK: aborts and errors come through, and are not tried again', async () => {
  const reranker = fake();
  await assert.rejects(rerank({ model: edgeReranker(reranker), query: QUERY, documents: TEXTS, abortSignal: AbortSignal.abort() }), isRerankError('aborted', /./));
  const broken = { rerank: async () => { broken.calls += 1; throw new RerankError('oom', 'no memory'); }, calls: 0 };
  await assert.rejects(rerank({ model: edgeReranker(broken), query: QUERY, documents: TEXTS }), isRerankError('oom', /no memory/));
  assert.equal(broken.calls, 1);
});

// This version needs Node 22: the same test, in the newest Node.
async function inNewerNode(t) {
  const node = here('node_modules/node-newest/bin/node');
  if (!existsSync(node)) return t.skip('there is no newer Node for this platform');
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const { stdout } = await run(node, ['--test-reporter=tap', '--test-name-pattern=ai7', fileURLToPath(import.meta.url)], { env });
  assert.match(stdout, /^ok \d+ - AI SDK: the built-in model \(ai7\)$/m);
}

for (const version of ['ai', 'ai7']) {
  test(`AI SDK: the built-in model (${version})`, async (t) => {
    if (version === 'ai7' && Number(process.versions.node.split('.')[0]) < 22) return inNewerNode(t);
    const sdk = await import(version);
    const { ranking } = await sdk.rerank({ model: edgeReranker(real), query: question.query, documents: question.documents });
    assert.deepEqual(ranking.map(({ originalIndex }) => originalIndex), [0, 1, 2].sort((a, b) => native[b] - native[a]));
    for (const { originalIndex, score } of ranking) assert.ok(Math.abs(score - native[originalIndex]) < EIGHT_BITS);
  });
}
