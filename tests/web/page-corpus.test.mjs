// The demo texts that a first visit begins with: ranked at a press, told where they are from, and out of the way of one's own documents.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { LICENCES, SOURCES } from '../../www/attribution.js'
import { parseCsv } from '../../www/csv.js'
import { QUERIES } from '../../www/queries.js'
import { SAMPLES } from '../../www/samples.js'
import { ANSWERS } from './corpus-answers.mjs'
import { accessibilityFaults, faked, file, finished, modelReady, openSite, rank, rows, screenshot, useSample } from './page-helpers.mjs'

const TEXTS = (await readFile(new URL('../../examples/corpus/corpus.jsonl', import.meta.url), 'utf8')).trim().split('\n').map((line) => JSON.parse(line))
const textOf = new Map(TEXTS.map((text) => [text.id, text]))
/** Long ones are shown with their beginning. */
const idOf = (shown) => TEXTS.find(({ text }) => text === shown || (shown.endsWith('…') && text.startsWith(shown.slice(0, -1))))?.id
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, colorScheme: 'dark' }

let site
before(async () => { site = await openSite('/some/folder/') })
after(() => site?.close())

const ofDemo = async (options = {}) => {
  const page = await site.open({ demo: true, viewport: { width: 1280, height: 900 }, ...options })
  await page.waitForSelector('#corpus-folds:not([hidden])')
  return page
}
const chip = (page, { name }) => page.locator(`#samples button:text-is("${name}")`)
const ids = (list) => list.map(({ text }) => idOf(text))
const shownDocuments = (page) => page.innerText('.docs-head .count:visible')
const sentIds = (page) => page.evaluate(() => globalThis.asked.ids)

/** Presses an example and gives the rows of its finished ranking. */
async function press(page, example) {
  await chip(page, example).click()
  await page.waitForFunction((query) => document.getElementById('query').value === query && document.getElementById('rank').hidden, example.query)
  await finished(page)
  return rows(page)
}

test('a first visit is ready to rank: one press, and the best texts come with their language, source and licence', async () => {
  const page = await ofDemo()
  assert.equal(await page.inputValue('#query'), QUERIES[0].query)
  assert.equal(await chip(page, QUERIES[0]).getAttribute('aria-current'), 'true')
  assert.equal(await page.textContent('#corpus-count'), String(TEXTS.length))
  assert.match(await page.innerText('#corpus-about'), new RegExp(`^${TEXTS.length} short texts in ${new Set(TEXTS.map(({ lang }) => lang)).size} languages`))
  assert.equal(await page.locator('.ask textarea:visible').count(), 1)
  assert.deepEqual(await accessibilityFaults(page), [])
  await screenshot(page, 'corpus-first')

  const list = await rank(page)
  assert.ok(ANSWERS[QUERIES[0].name].includes(ids(list)[0]), list[0].text)
  assert.equal(await page.innerText('#ranked-more-text'), `The best ${list.length} of ${TEXTS.length} are shown.`)
  for (const { text, tag, moved, meta } of list) {
    const { lang, source, licence } = textOf.get(idOf(text))
    assert.ok(tag.startsWith(lang.split('-')[0]), tag)
    assert.equal(moved, null)
    assert.ok(meta.includes(source) && meta.includes(licence), meta)
  }
  const links = await page.$$eval('#ranked a', (nodes) => nodes.map((node) => [node.textContent, node.href]))
  assert.ok(links.length > 0)
  for (const [name, href] of links) assert.ok(TEXTS.some(({ source, title, url }) => name === `${source}: ${title}` && href === url), `${name} ${href}`)
  assert.equal(await page.getAttribute('#ranked > li .text', 'lang'), textOf.get(ids(list)[0]).lang)
  assert.match(await page.textContent('#status'), new RegExp(`^${TEXTS.length} documents ranked by mini in .* The best is a text in `))
  assert.deepEqual(await accessibilityFaults(page), [])
  await screenshot(page, 'corpus-light')
  assert.deepEqual(page.faults, [])
})

test('every example question ranks as it is pressed, and finds an answer among the best', async (t) => {
  const page = await ofDemo()
  for (const [at, example] of QUERIES.entries()) {
    const list = await press(page, example)
    const found = ids(list)
    const answers = ANSWERS[example.name]
    const places = answers.map((id) => found.indexOf(id) + 1).filter((place) => place > 0).sort((a, b) => a - b)
    const time = await page.innerText('#timings .figure')
    t.diagnostic(`${example.query} answers at ${places.join(', ') || 'none of the first fifty'} of ${answers.length}, ${list[0].score}, ${time}`)
    assert.ok(places[0] <= (at < 2 ? 1 : 5), `${example.query}: ${list.slice(0, 5).map(({ text }) => text.slice(0, 60)).join(' | ')}`)
    assert.equal(await chip(page, example).getAttribute('aria-current'), 'true')
    assert.equal(await page.innerText('#answer-notes'), '')
  }
  assert.deepEqual(page.faults, [])
})

test('an example pressed while another ranks takes its place', async () => {
  const page = await ofDemo()
  for (const example of [QUERIES[1], QUERIES[2], QUERIES[1]]) await chip(page, example).click()
  await page.waitForFunction(() => /^\d+ documents ranked/.test(document.getElementById('status').textContent))
  assert.equal(await page.inputValue('#query'), QUERIES[1].query)
  assert.ok(ANSWERS[QUERIES[1].name].includes(ids(await rows(page))[0]))
  assert.equal(await page.innerText('#answer-notes'), '')
  assert.deepEqual(page.faults, [])
})

test('an example pressed before the model is there is ranked when it is', async () => {
  let go
  const held = new Promise((done) => { go = done })
  const page = await site.open({ ready: false, before: (page) => page.route('**/mini.gguf', async (route) => { await held; await route.continue() }) })
  await page.waitForSelector('#corpus-folds:not([hidden])')
  await chip(page, QUERIES[1]).click()
  go()
  await modelReady(page, 'mini')
  await page.waitForSelector('#ranked > li .meta')
  await finished(page)
  assert.ok(ANSWERS[QUERIES[1].name].includes(ids(await rows(page))[0]))
  assert.deepEqual(page.faults, [])
})

test('one’s own documents take the place of the texts and give it back; the question of an example goes with its documents', async () => {
  const page = await ofDemo({ before: faked })
  await page.click('#source-own')
  assert.equal(await page.inputValue('#query'), '')
  assert.equal(await shownDocuments(page), '0')
  assert.ok(await page.isHidden('.corpus'))
  await page.click('#docs-add')
  await page.keyboard.type('a text of mine')
  await page.fill('#query', 'a question of mine')
  assert.deepEqual((await rank(page)).map(({ text }) => text), ['a text of mine'])

  await page.click('#source-demo')
  assert.equal(await shownDocuments(page), String(TEXTS.length))
  assert.equal(await page.inputValue('#query'), 'a question of mine')
  assert.match(await page.innerText('#answer-notes'), /changed since this ranking/)
  await rank(page)
  assert.deepEqual(await sentIds(page), TEXTS.map(({ id }) => id))
  await chip(page, QUERIES[2]).click()
  await finished(page)

  await page.click('#source-own')
  assert.equal(await page.inputValue('#docs textarea'), 'a text of mine')
  assert.equal(await page.inputValue('#query'), 'a question of mine')
  await page.reload()
  assert.equal(await page.inputValue('#docs textarea'), 'a text of mine')
  assert.equal(await page.inputValue('#query'), 'a question of mine')
  await page.fill('#query', '')
  await page.click('#source-demo')
  assert.equal(await page.inputValue('#query'), QUERIES[2].query)
  await page.reload()
  assert.equal(await shownDocuments(page), String(TEXTS.length))
  await page.click('#source-own')
  assert.equal(await page.inputValue('#docs textarea'), 'a text of mine')
  assert.deepEqual(page.faults, [])
})

test('a typed question that an example takes the place of can be had back', async () => {
  const page = await ofDemo({ before: faked })
  await page.fill('#query', 'typed by hand')
  await chip(page, QUERIES[1]).click()
  await finished(page)
  assert.match(await page.innerText('#query-note'), /^The example took the place of “typed by hand”\./)
  await page.click('#query-note button:text-is("Undo")')
  assert.equal(await page.inputValue('#query'), 'typed by hand')
  assert.equal(await page.locator('#query-note .notice').count(), 0)
  await page.fill('#query', '')
  await chip(page, QUERIES[1]).click()
  await chip(page, QUERIES[2]).click()
  await finished(page)
  assert.equal(await page.locator('#query-note .notice').count(), 0)
  assert.deepEqual(page.faults, [])
})

test('a file opened beside the demo texts is ranked instead of them', async () => {
  const page = await ofDemo({ before: faked })
  await page.setInputFiles('#docs-file', file('bad.pdf', 'x'))
  await page.waitForSelector('#docs-note .notice.bad')
  assert.equal(await page.getAttribute('#source-demo', 'aria-pressed'), 'true')
  await page.setInputFiles('#docs-file', file('mine.txt', 'one\ntwo'))
  await page.waitForSelector('#docs-note:has-text("2 documents from mine.txt")')
  assert.equal(await page.getAttribute('#source-own', 'aria-pressed'), 'true')
  assert.equal(await page.inputValue('#query'), '')
  await page.fill('#query', 'which?')
  assert.deepEqual((await rank(page)).map(({ text, tag }) => [text, tag]), [['one', null], ['two', null]])
  await useSample(page)
  assert.equal(await page.inputValue('#query'), SAMPLES[0].query)
  await page.click('#docs-note button:text-is("Undo")')
  assert.equal(await page.inputValue('#query'), 'which?')
  assert.equal(await shownDocuments(page), '2')
  assert.deepEqual(page.faults, [])
})

test('the texts are browsed by words and by language, and their sources are told', async () => {
  const page = await ofDemo({ before: faked })
  assert.equal(await page.locator('#corpus-rows li').count(), 0, 'made before they are asked for')
  await page.click('#corpus-browse summary')
  await page.waitForSelector('#corpus-rows li')
  const visible = () => page.$$eval('#corpus-rows li:not([hidden]) .text', (nodes) => nodes.map((node) => node.textContent))
  assert.equal((await visible()).length, TEXTS.length)
  assert.equal(await page.innerText('#corpus-found'), `${TEXTS.length} of ${TEXTS.length}`)
  await page.selectOption('#corpus-lang', 'hu')
  assert.deepEqual(await visible(), TEXTS.filter(({ lang }) => lang === 'hu').map(({ text }) => text))
  await page.fill('#corpus-find', 'JELSZO')
  await page.waitForFunction(() => document.getElementById('corpus-found').textContent.startsWith('1 of'))
  assert.match((await visible())[0], /jelszavakat/)
  assert.deepEqual(await accessibilityFaults(page), [])
  await screenshot(page, 'corpus-browse')
  await page.fill('#corpus-find', 'no such words')
  await page.waitForSelector('#corpus-rows[hidden]', { state: 'attached' })
  await page.click('#corpus-credits summary')
  await page.waitForSelector('#corpus-sources li')
  const sources = await page.$$eval('#corpus-sources li', (items) => items.map((item) => [...item.children].map((child) => child.textContent)))
  assert.deepEqual(sources.map(([source]) => source).sort(), [...new Set(TEXTS.map(({ source }) => `${source}${SOURCES[source].by}`))].sort())
  assert.deepEqual(sources[0], [`tldr-pages${SOURCES['tldr-pages'].by}`, 'CC BY 4.0', `${TEXTS.filter(({ source }) => source === 'tldr-pages').length} texts`])
  assert.match(await page.innerText('#corpus-credits'), /Markup was removed/)
  assert.match(await page.innerText('#corpus-credits'), /Copyright © 2001-2024 Python Software Foundation; All Rights Reserved/)
  assert.equal(await page.locator('#corpus-rows a').count(), 0, 'hundreds of stops for the keyboard')
  assert.deepEqual(await accessibilityFaults(page), [])
  assert.deepEqual(page.faults, [])
})

test('texts that do not load are told, tried again, and keep nobody from ranking their own', async () => {
  let broken = true
  const page = await site.open({
    demo: true, expect: [/corpus\.jsonl/],
    before: async (page) => { await faked(page); await page.route('**/corpus.jsonl', (route) => (broken ? route.fulfill({ status: 404, body: '' }) : route.continue())) },
  })
  await page.waitForSelector('#corpus-note .notice')
  assert.match(await page.innerText('#corpus-note'), /did not load[\s\S]*404/)
  assert.equal(await page.innerText('#corpus-about'), '')
  await page.click('#rank')
  assert.equal(await page.innerText('#run-note'), 'The demo texts are not here.')
  await useSample(page)
  assert.equal((await rank(page)).length, SAMPLES[0].documents.length)
  await page.click('#source-demo')
  await page.waitForSelector('#corpus-note .notice')
  broken = false
  await page.click('#corpus-note button:text-is("Try again")')
  await page.waitForSelector('#corpus-folds:not([hidden])')
  assert.equal(await page.locator('#corpus-note .notice').count(), 0)
  assert.equal((await rank(page)).length, 50)
  assert.deepEqual(page.faults, [])
})

test('on a phone, dark: nothing scrolls sideways, and the best texts come into view', async () => {
  const page = await ofDemo(PHONE)
  const fits = () => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)
  await screenshot(page, 'corpus-phone')
  assert.ok(await fits())
  await rank(page)
  const { top } = await page.evaluate(() => document.getElementById('ranked').getBoundingClientRect())
  assert.ok(top < 844, `the ranking begins at ${top}`)
  assert.ok(await fits())
  await screenshot(page, 'corpus-phone-ranked')
  await page.click('#corpus-browse summary')
  await page.click('#corpus-credits summary')
  assert.ok(await fits())
  assert.deepEqual(await accessibilityFaults(page), [])
  await screenshot(page, 'corpus-phone-whole', { whole: true })
  assert.deepEqual(page.faults, [])
})

test('a row says its language once, and a ranking of demo texts is saved with what their licences ask for', async () => {
  const page = await ofDemo({ before: faked })
  await rank(page)
  const said = await page.$$eval('#ranked > li', (items) => items.map((item) => {
    const copy = item.cloneNode(true)
    for (const node of copy.querySelectorAll('[aria-hidden="true"], .text')) node.remove()
    return [item.querySelector('.text').textContent, copy.textContent]
  }))
  for (const [text, words] of said) {
    const name = new Intl.DisplayNames('en', { type: 'language' }).of(textOf.get(idOf(text)).lang)
    assert.equal(words.split(name).length, 2, words)
  }
  const saved = async (button) => {
    const [download] = await Promise.all([page.waitForEvent('download'), page.click(button)])
    return readFile(await download.path(), 'utf8')
  }
  const { results } = JSON.parse(await saved('#save-json'))
  for (const { id, lang, source, title, url, licence, licenceUrl } of results) {
    const text = textOf.get(id)
    assert.deepEqual({ lang, source, title, url, licence, licenceUrl }, { lang: text.lang, source: text.source, title: text.title, url: text.url, licence: text.licence, licenceUrl: LICENCES[text.licence] })
  }
  const [head, ...records] = parseCsv((await saved('#save-csv')).slice(1)).map(({ fields }) => fields)
  assert.deepEqual(head, ['rank', 'index', 'id', 'relevance_score', 'logit', 'tokens', 'truncated', 'text', 'language', 'source', 'title', 'url', 'licence', 'licence_url'])
  assert.equal(records.length, TEXTS.length)
  for (const record of records) {
    const { lang, source, title = '', url = '', licence } = textOf.get(record[2])
    assert.deepEqual(record.slice(8), [lang, source, title, url, licence, LICENCES[licence]])
  }
  assert.deepEqual(page.faults, [])
})

test('a switch says which documents are chosen, and a press of what is chosen says nothing', async () => {
  const page = await ofDemo({ before: faked })
  const status = () => page.textContent('#status')
  const before = await status()
  await page.click('#source-demo')
  assert.equal(await status(), before)
  await page.click('#source-own')
  assert.equal(await status(), 'Your own documents chosen: 0 documents.')
  await page.click('#source-demo')
  assert.equal(await status(), `Demo texts chosen: ${TEXTS.length} documents.`)
  assert.deepEqual(page.faults, [])
})

test('texts that come late are ranked where Rank was pressed with a query, and take no focus where it was pressed without', async () => {
  for (const query of ['', 'a question']) {
    let go
    const held = new Promise((done) => { go = done })
    const page = await site.open({ demo: true, before: async (page) => { await faked(page); await page.route('**/corpus.jsonl', async (route) => { await held; await route.continue() }) } })
    await page.fill('#query', query)
    assert.match(await page.innerText('#corpus-about'), /on their way/)
    await page.click('#rank')
    assert.equal(await page.innerText('#run-note'), query === '' ? 'Write a query first.' : 'The demo texts are not here.')
    await page.focus('#docs-file')
    go()
    await page.waitForSelector('#corpus-folds:not([hidden])')
    if (query !== '') await page.waitForSelector('#ranked > li .meta')
    assert.equal(await page.evaluate(() => document.activeElement.id), 'docs-file', query)
    assert.equal(await page.locator('#ranked > li').count() > 0, query !== '')
    assert.deepEqual(page.faults, [])
  }
})

test('without a network the texts are still there', async () => {
  const page = await ofDemo({ serviceWorkers: 'allow' })
  await page.waitForFunction(() => !document.getElementById('kept-page').hidden, null, { timeout: 60_000 })
  assert.match(await page.textContent('#kept-page'), /work without a network/)
  await page.evaluate(() => sessionStorage.clear())
  await page.context().setOffline(true)
  await page.reload()
  await modelReady(page, 'mini')
  await page.waitForSelector('#corpus-folds:not([hidden])')
  assert.ok(ANSWERS[QUERIES[0].name].includes(ids(await rank(page))[0]))
})
