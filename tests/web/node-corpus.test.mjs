// The demo texts: every one has what the page shows of it, and every example question has its answers.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { LICENCES, SOURCES } from '../../www/attribution.js'
import { QUERIES } from '../../www/queries.js'
import { INSTRUCTIONS, SAMPLES } from '../../www/samples.js'
import { ANSWERS } from './corpus-answers.mjs'

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
  for (const { id, lang, text, source, title, url, licence, ...rest } of texts) {
    assert.deepEqual(rest, {}, id)
    assert.deepEqual(Intl.getCanonicalLocales(lang), [lang], id)
    assert.ok(text.length >= 40 && text.length <= 600 && text === text.trim(), id)
    assert.ok(!/\ufffd|&amp;|<\/?[a-z]+>/.test(text), id)
    assert.match(SOURCES[source].url, /^https:/, id)
    assert.equal(title !== undefined && title === title.trim(), url !== undefined && URL.canParse(url) && url.startsWith('https://'), id)
    assert.match(LICENCES[licence], /^https:/, id)
  }
})

test('every text of a set that names its pages has the page: an article, a command or a help page', () => {
  const known = ['GNOME Help', 'LibreOffice Help', 'Python documentation', 'tldr-pages', 'Wikipedia, in AfriQA', 'Wikipedia, in Natural Questions', 'Wikipedia, in NorQuAD']
  for (const { id, text, lang, source, title, url } of texts) {
    assert.equal(url !== undefined, known.includes(source), id)
    if (source === 'tldr-pages') {
      assert.ok(text.startsWith(`${title}: `), id)
      assert.match(url, new RegExp(`/main/pages${lang === 'en' ? '' : `\\.${lang}`}/(common|linux|osx|windows)/${title}\\.md$`))
    }
    if (known.includes(source) && source.startsWith('Wikipedia')) {
      assert.ok(text.startsWith(title), id)
      assert.equal(decodeURIComponent(url), `https://${lang === 'nb' ? 'no' : lang}.wikipedia.org/wiki/${title.replaceAll(' ', '_')}`)
    }
  }
})

test('no source and no licence is named that no text has, and the list tells the number of texts of each and whose they are', async () => {
  const list = await read('README.md')
  for (const [source, { url, by }] of Object.entries(SOURCES)) {
    const n = texts.filter((text) => text.source === source).length
    assert.ok(n > 0, source)
    const [row] = list.split('\n').filter((line) => line.startsWith('|') && line.includes(url))
    assert.match(row ?? source, new RegExp(`\\| ${n} \\|`))
    assert.ok(row.includes(`| ${by} |`), source)
    for (const text of texts) if (text.source === source) assert.ok(row.endsWith(`| ${text.licence} |`), text.id)
  }
  for (const licence of Object.keys(LICENCES)) assert.ok(texts.some((text) => text.licence === licence), licence)
  assert.ok((await readFile(new URL('../../README.md', import.meta.url), 'utf8')).includes(`[${texts.length} openly licensed texts in ${new Set(texts.map(({ lang }) => lang)).size} languages]`))
  assert.ok(list.includes(`${texts.length} short texts in ${new Set(texts.map(({ lang }) => lang)).size} languages`))
})

test('the texts are those that were chosen, in their order, and end where that says', async () => {
  const chosen = (await read('chosen.tsv')).trimEnd().split('\n').map((line) => line.split('\t'))
  assert.deepEqual(chosen.map(([id, lang]) => `${id} ${lang}`), texts.map(({ id, lang }) => `${id} ${lang}`))
  for (const [at, [id, , end = '', title = '', url = '']] of chosen.entries()) {
    assert.ok(texts[at].text.endsWith(end.replaceAll('\\n', '\n')), id)
    assert.deepEqual([texts[at].title ?? '', texts[at].url ?? ''], [title, url], id)
  }
})

test('the example questions: some in other languages, each with answers in the texts and a name of its own', () => {
  assert.ok(QUERIES.length >= 8 && QUERIES.length <= 12)
  assert.equal(new Set(QUERIES.map(({ name }) => name)).size, QUERIES.length)
  assert.ok(new Set(QUERIES.map(({ lang }) => lang ?? 'en')).size >= 4)
  const languageOf = new Map(texts.map(({ id, lang }) => [id, lang]))
  assert.deepEqual(Object.keys(ANSWERS).sort(), QUERIES.map(({ name }) => name).sort())
  for (const { name, query, instruction } of QUERIES) {
    const answers = ANSWERS[name]
    assert.equal(query, query.trim())
    assert.ok(!SAMPLES.some((sample) => sample.query === query), query)
    assert.ok(instruction === undefined || INSTRUCTIONS.some(({ text }) => text === instruction), query)
    assert.ok(answers.length > 0 && answers.every((id) => languageOf.has(id)), query)
  }
  assert.ok(QUERIES.filter(({ name, lang = 'en' }) => ANSWERS[name].every((id) => languageOf.get(id) !== lang)).length >= 2, 'questions that no text in their language answers')
})
