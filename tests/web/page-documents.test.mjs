// The page's document readers: every format, every way that it can be bad, and the line that is named.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { looksLikeCode } from '../../www/dom.js'
import { SAMPLES } from '../../www/samples.js'
import { parseCsv, separatorOf, writeCsv } from '../../www/csv.js'
import { toCsv, toJson } from '../../www/export.js'
import {
  DocumentError, MAX_FILE_BYTES, decode, fromLines, lineOfEntry, parseJson, parseJsonl, parseTable, parseText, readDocuments, toLines,
} from '../../www/documents.js'

const texts = (documents) => documents.map((document) => document.text)
const file = (name, content) => new File([content], name)
const fails = (f, line, pattern) => assert.throws(f, (error) => {
  assert.ok(error instanceof DocumentError, String(error))
  assert.equal(error.line, line)
  assert.match(error.message, pattern)
  assert.equal(error.code, 'bad-input')
  return true
})

test('txt: one document a line, blank lines and all three line ends', () => {
  assert.deepEqual(texts(parseText('a\r\n\n  \nb\rc\n')), ['a', 'b', 'c'])
  assert.deepEqual(parseText(''), [])
  assert.deepEqual(texts(parseText('  keeps its spaces ')), ['  keeps its spaces '])
})

test('jsonl: strings and objects, ids as strings, other fields ignored', () => {
  const documents = parseJsonl('"one"\n{"text":"two","id":7,"lang":"en"}\r\n\n{"text":"three\\nlines","id":null}')
  assert.deepEqual(documents, [{ text: 'one' }, { text: 'two', id: '7' }, { text: 'three\nlines' }])
})

test('jsonl: faults name their line', () => {
  fails(() => parseJsonl('"a"\n\n{"text": "b"'), 3, /^Line 3: not valid JSON/)
  fails(() => parseJsonl('{"txt":"b"}'), 1, /an object with “txt”/)
  fails(() => parseJsonl('"a"\n12'), 2, /this is a number/)
  fails(() => parseJsonl('"a"\nnull'), 2, /this is null/)
  fails(() => parseJsonl('"a"\n["b"]'), 2, /this is an array/)
  fails(() => parseJsonl('{"text":["b"]}'), 1, /string or/)
})

test('csv: quotes, doubled quotes, separators and line breaks inside quotes', () => {
  const text = 'id,text\r\n1,"a, ""b""\nc"\r\n2,plain\r\n\r\n3,""\r\n'
  assert.deepEqual(parseTable(text), [{ text: 'a, "b"\nc', id: '1' }, { text: 'plain', id: '2' }])
  assert.deepEqual(parseCsv(text).map((record) => record.line), [1, 2, 4, 6])
})

test('csv: column order, case, other columns, no final line end, semicolons and tabs', () => {
  assert.deepEqual(parseTable('Text\nonly'), [{ text: 'only' }])
  assert.deepEqual(parseTable('lang; text ;id\nde;"Ja; nein";x'), [{ text: 'Ja; nein', id: 'x' }])
  assert.deepEqual(parseTable('text\tid\na, b\t1'), [{ text: 'a, b', id: '1' }])
  assert.equal(separatorOf('"a;b",text'), ',')
  assert.deepEqual(parseCsv('a,b,\n,,\n'), [{ line: 1, fields: ['a', 'b', ''] }, { line: 2, fields: ['', '', ''] }])
  assert.deepEqual(parseTable(''), [])
})

test('csv: faults name their line', () => {
  fails(() => parseTable('id,body\n1,x'), 1, /one of them “text”; it has “id”, “body”/)
  fails(() => parseTable('text,id\n"a\nb",1\nc,2,3'), 4, /3 fields where the header has 2/)
  fails(() => parseTable('text,id\nx,1\n"never closed,2\nmore\n'), 3, /never closed/)
  fails(() => parseTable('text\n"a"b'), 2, /after a closing quote/)
  fails(() => parseTable('text,id\nalone'), 2, /1 field where the header has 2/)
})

test('csv: what is written reads back', () => {
  const rows = [['rank', 'text'], ['1', 'a,"b"\r\nc'], ['2', ''], ['3', 'plain']]
  assert.deepEqual(parseCsv(writeCsv(rows)).map((record) => record.fields), rows)
  assert.equal(writeCsv([[1, null, undefined, -0.5]]), '1,,,-0.5\r\n')
})

test('json: an array of strings and objects', () => {
  assert.deepEqual(parseJson('["a", {"text": "b", "id": "x"}]'), [{ text: 'a' }, { text: 'b', id: 'x' }])
  assert.deepEqual(parseJson(' [] '), [])
})

test('json: faults name their line', () => {
  fails(() => parseJson('["a",\n "b"\n "c"]'), 3, /not valid JSON/)
  fails(() => parseJson('["a",\n "b"\n'), 2, /not valid JSON/)
  fails(() => parseJson('{"documents": []}'), 1, /JSON array/)
  fails(() => parseJson('[\n"a, [ {",\n{"text":\n"b"},\n\n{"body": "c"}]'), 6, /“body”/)
  assert.equal(lineOfEntry('[1,\n[2,\n3], 4,\n5]', 3), 4)
})

test('bytes: UTF-8 with and without a mark, UTF-16, and bytes that are no text', () => {
  assert.equal(decode(new TextEncoder().encode('\ufeffé')), 'é')
  assert.equal(decode(Uint8Array.of(0xff, 0xfe, 0x61, 0x00)), 'a')
  assert.equal(decode(Uint8Array.of(0xfe, 0xff, 0x00, 0x61)), 'a')
  fails(() => decode(Uint8Array.of(0x61, 0x0a, 0xe9, 0x0a)), 2, /not UTF-8/)
})

test('files: the reader goes by the name', async () => {
  assert.deepEqual(texts(await readDocuments(file('A.TXT', 'x\ny'))), ['x', 'y'])
  assert.deepEqual(texts(await readDocuments(file('a.b.jsonl', '"x"'))), ['x'])
  assert.deepEqual(texts(await readDocuments(file('a.csv', 'text\n"x"'))), ['x'])
  assert.deepEqual(texts(await readDocuments(file('a.tsv', 'id\ttext\n1\t"x"'))), ['x'])
  assert.deepEqual(texts(await readDocuments(file('a.json', '["x"]'))), ['x'])
  await assert.rejects(readDocuments(file('a.pdf', 'x')), /not a document list/)
  await assert.rejects(readDocuments(file('a.txt', ' \n')), /holds no documents/)
  await assert.rejects(readDocuments({ name: 'a.txt', size: MAX_FILE_BYTES + 1 }), /reads up to 32 MB/)
})

test('the paste box: line breaks keep, documents with ids keep theirs', () => {
  const before = [{ text: 'a\nb', id: '1' }, { text: 'c', id: '2' }]
  assert.equal(toLines(before), 'a↵b\nc')
  assert.deepEqual(fromLines('new↵line\nc\n\na↵b', before), [{ text: 'new\nline' }, { text: 'c', id: '2' }, { text: 'a\nb', id: '1' }])
})

test('the paste box: equal texts keep their ids, and the mark itself is no line break', () => {
  const before = [{ text: 'same', id: '1' }, { text: 'same', id: '2' }, { text: 'a ↵ b\\\nc\\↵' }]
  assert.deepEqual(fromLines(toLines(before), before), before)
  assert.deepEqual(fromLines(toLines(before)).map(({ text }) => text), before.map(({ text }) => text))
  assert.deepEqual(texts(fromLines('edited \\↵ here', before)), ['edited ↵ here'])
})

test('export: positions in the reader’s list, a byte order mark, no formulas', () => {
  const documents = [{ text: '=1+1', at: 2, id: '@x' }, { text: '-2', at: 4 }]
  const results = [{ index: 1, relevanceScore: 0.9, logit: 2 }, { index: 0, relevanceScore: 0.1, logit: -2 }]
  const lines = toCsv({ documents, result: { results } }).split('\r\n')
  assert.equal(lines[0][0], '\ufeff')
  assert.equal(lines[1], "1,4,,0.9,2,,,'-2")
  assert.equal(lines[2], "2,2,'@x,0.1,-2,,,'=1+1")
  assert.deepEqual(toJson({ documents, result: { results } }).results.map((row) => row.index), [4, 2])
})

test('ten thousand lines are read quickly', () => {
  const rows = Array.from({ length: 10_000 }, (_, at) => `${at},"line ${at}, with ""quotes"" and\na break"`)
  const times = [1, 2, 3].map(() => {
    const started = performance.now()
    assert.equal(parseTable(`id,text\n${rows.join('\n')}`).length, 10_000)
    assert.equal(parseJsonl(rows.map((row) => JSON.stringify(row)).join('\n')).length, 10_000)
    return performance.now() - started
  })
  assert.ok(Math.min(...times) < 1000, times.join(', '))
})

test('the server for the page: help, and faults without a stack trace', () => {
  const run = (...options) => spawnSync(process.execPath, [fileURLToPath(new URL('./serve.mjs', import.meta.url)), ...options], { encoding: 'utf8' })
  const help = run('--help')
  assert.deepEqual([help.status, help.stderr], [0, ''])
  assert.match(help.stdout, /--port/)
  for (const options of [['--port', 'abc'], ['--port', '70000'], ['--nothing']]) {
    const { status, stderr } = run(...options)
    assert.equal(status, 2)
    assert.match(stderr, /^serve\.mjs: /)
    assert.doesNotMatch(stderr, /\n\s+at /)
  }
})

test('every document of the code sample is set as code, and none of the others', () => {
  for (const { name, documents } of SAMPLES) for (const text of documents) assert.equal(looksLikeCode(text), name === 'Code search', text)
})
