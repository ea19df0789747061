// The demo texts: every one has what the page shows of it, and every example question has its answers.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { LICENCES, SOURCES } from '../../www/attribution.js'
import { QUERIES } from '../../www/queries.js'
import { INSTRUCTIONS, SAMPLES } from '../../www/samples.js'

const read = (name) => readFile(new URL(`../../examples/corpus/${name}`, import.meta.url), 'utf8')
const file = await read('corpus.jsonl')
const texts = file.trim().split('\n').map((line) => JSON.parse(line))

test('some hundreds of texts in many languages, in a file that loads at once', () => {
  assert.ok(texts.length >= 200 && texts.length <= 400, String(texts.length))
  assert.ok(new Set(texts.map(({ lang }) => lang)).size >= 8)
  assert.ok(Buffer.byteLength(file) < 250_000)
})

test('every text has an id of its own, a language, a source and a licence with addresses, and is whole', () => {
  assert.equal(new Set(texts.map(({ id }) => id)).size, texts.length)
  assert.equal(new Set(texts.map(({ text }) => text)).size, texts.length)
  for (const { id, lang, text, source, licence, ...rest } of texts) {
    assert.deepEqual(rest, {}, id)
    assert.deepEqual(Intl.getCanonicalLocales(lang), [lang], id)
    assert.ok(text.length >= 40 && text.length <= 600 && text === text.trim(), id)
    assert.ok(!/\ufffd|&amp;|<\/?[a-z]+>/.test(text), id)
    assert.match(SOURCES[source], /^https:/, id)
    assert.match(LICENCES[licence], /^https:/, id)
  }
})

test('no source and no licence is named that no text has, and the list tells the number of texts of each', async () => {
  const list = await read('README.md')
  for (const [source, address] of Object.entries(SOURCES)) {
    const n = texts.filter((text) => text.source === source).length
    assert.ok(n > 0, source)
    const [row] = list.split('\n').filter((line) => line.startsWith('|') && line.includes(address))
    assert.match(row ?? source, new RegExp(`\\| ${n} \\|`))
    for (const text of texts) if (text.source === source) assert.ok(row.endsWith(`| ${text.licence} |`), text.id)
  }
  for (const licence of Object.keys(LICENCES)) assert.ok(texts.some((text) => text.licence === licence), licence)
  assert.ok(list.includes(`${texts.length} short texts in ${new Set(texts.map(({ lang }) => lang)).size} languages`))
})

test('the texts are those that were chosen, in their order, and end where that says', async () => {
  const chosen = (await read('chosen.tsv')).trimEnd().split('\n').map((line) => line.split('\t'))
  assert.deepEqual(chosen.map(([id, lang]) => `${id} ${lang}`), texts.map(({ id, lang }) => `${id} ${lang}`))
  for (const [at, [id, , end]] of chosen.entries()) assert.ok(texts[at].text.endsWith(end.replaceAll('\\n', '\n')), id)
})

test('the example questions: some in other languages, each with answers in the texts and a name of its own', () => {
  assert.ok(QUERIES.length >= 8 && QUERIES.length <= 12)
  assert.equal(new Set(QUERIES.map(({ name }) => name)).size, QUERIES.length)
  assert.ok(new Set(QUERIES.map(({ lang }) => lang ?? 'en')).size >= 4)
  const languageOf = new Map(texts.map(({ id, lang }) => [id, lang]))
  for (const { query, instruction, answers } of QUERIES) {
    assert.equal(query, query.trim())
    assert.ok(!SAMPLES.some((sample) => sample.query === query), query)
    assert.ok(instruction === undefined || INSTRUCTIONS.some(({ text }) => text === instruction), query)
    assert.ok(answers.length > 0 && answers.every((id) => languageOf.has(id)), query)
  }
  assert.ok(QUERIES.filter(({ lang = 'en', answers }) => answers.every((id) => languageOf.get(id) !== lang)).length >= 2, 'questions that no text in their language answers')
})
