// The real page with the real WebAssembly module in a real browser, served from a subfolder.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { SAMPLES } from '../../www/samples.js'
import { accessibilityFaults, file, finished, golden, longList, modelReady, openMirror, openSite, rank, rows, screenshot } from './page-helpers.mjs'

let site
before(async () => { site = await openSite('/some/folder/') })
after(() => site?.close())

test('one press ranks the first example', async () => {
  const page = await site.open()
  assert.equal(await page.inputValue('#query'), SAMPLES[0].query)
  const list = await rank(page)
  assert.deepEqual(list.map((row) => row.text).sort(), [...SAMPLES[0].documents].sort())
  const scores = list.map((row) => Number(row.score.replace(/[<%\s]/g, '')))
  for (const score of scores) assert.ok(score >= 0 && score <= 100, String(score))
  assert.deepEqual(scores, [...scores].sort((a, b) => b - a))
  assert.ok(new Set(scores).size > 1, 'all scores are equal')
  for (const [at, row] of list.entries()) {
    const from = SAMPLES[0].documents.indexOf(row.text)
    assert.match(row.moved, from === at ? /^=same place/ : from > at ? new RegExp(`^▲${from - at}up`) : new RegExp(`^▼${at - from}down`))
    assert.match(row.meta, /^\d+ tokens$/)
  }
  const figures = await page.innerText('#timings')
  for (const name of ['Time', 'Tokens a second', 'Documents a second', 'Prefix reused']) assert.ok(figures.includes(name))
  assert.match(await page.textContent('#status'), /^8 documents ranked by mini/)
  await page.click('#show-logit')
  assert.match((await rows(page))[0].score, /^[+−]\d+\.\d\d$/)
  await page.click('#show-percent')
  await screenshot(page, 'desktop-light', { whole: true })
  assert.deepEqual(page.faults, [])
})

test('every example ranks: the best document answers, and those that answer lie above the median', async (t) => {
  const page = await site.open()
  for (const sample of SAMPLES) {
    await page.click(`#samples button:text-is("${sample.name}")`)
    const list = await rank(page)
    const places = list.map((row) => sample.documents.indexOf(row.text))
    const told = `${sample.name}: ${list.map((row, at) => `${sample.answers.includes(places[at]) ? '*' : ''}${row.score}`).join(', ')}`
    t.diagnostic(told)
    assert.ok(sample.answers.includes(places[0]), told)
    const mean = sample.answers.reduce((sum, answer) => sum + places.indexOf(answer), 0) / sample.answers.length
    assert.ok(mean < (list.length - 1) / 2, told)
  }
  assert.deepEqual(page.faults, [])
})

test('the ranking is exported as JSON and CSV', async () => {
  const page = await site.open({ permissions: ['clipboard-read', 'clipboard-write'] })
  const list = await rank(page)
  const saved = async (button) => {
    const [download] = await Promise.all([page.waitForEvent('download'), page.click(button)])
    return readFile(await download.path(), 'utf8')
  }
  const json = JSON.parse(await saved('#save-json'))
  assert.deepEqual(json.results.map((row) => row.text), list.map((row) => row.text))
  assert.deepEqual(json.results.map((row) => row.rank), [1, 2, 3, 4, 5, 6, 7, 8])
  assert.equal(json.query, SAMPLES[0].query)
  const csv = await saved('#save-csv')
  assert.equal(csv.split('\r\n')[0], '\ufeffrank,index,id,relevance_score,logit,tokens,truncated,text')
  await page.click('#copy-json')
  await page.waitForSelector('#copy-json:has-text("Copied")')
  assert.deepEqual(JSON.parse(await page.evaluate(() => navigator.clipboard.readText())), json)
  assert.deepEqual(page.faults, [])
})

test('a large ranking can be cancelled at once, and the page goes on', async () => {
  const page = await site.open()
  await page.setInputFiles('#docs-file', file('many.jsonl', longList(10_000)))
  await page.waitForFunction(() => document.getElementById('docs-count').textContent === '10,000')
  assert.equal(await page.locator('#docs li').count(), 50)
  await page.click('#rank')
  await page.waitForFunction(() => document.getElementById('run-bar').value > 0, null, { timeout: 60_000 })
  const took = await page.evaluate(() => new Promise((done) => {
    const started = performance.now()
    new MutationObserver(() => { if (!document.getElementById('rank').hidden) done(performance.now() - started) }).observe(document.getElementById('rank'), { attributes: true })
    document.getElementById('cancel').click()
  }))
  assert.ok(took < 3000, `cancelled after ${took} ms`)
  assert.match(await page.innerText('#answer-notes'), /^Cancelled after [\d,]+ of 10,000 documents/)
  await page.click('#docs-note button:text-is("Undo")')
  assert.equal((await rank(page)).length, 8)
  assert.deepEqual(page.faults, [])
})

test('the page stays responsive while it ranks', async (t) => {
  const page = await site.open()
  await page.setInputFiles('#docs-file', file('many.jsonl', longList(400)))
  let gap = Infinity
  for (let attempt = 0; attempt < 5 && gap >= 400; attempt += 1) {
    await page.click('#rank')
    await page.waitForSelector('#run-progress:not([hidden])')
    gap = await page.evaluate(() => new Promise((done) => {
      const started = performance.now()
      let last = started
      let worst = 0
      const beat = (now) => {
        worst = Math.max(worst, now - last)
        last = now
        if (document.getElementById('run-progress').hidden || now - started > 5000) done(worst)
        else requestAnimationFrame(beat)
      }
      requestAnimationFrame(beat)
    }))
    await page.keyboard.press('Escape')
    await finished(page)
  }
  t.diagnostic(`longest gap between frames: ${gap.toFixed(0)} ms`)
  assert.ok(gap < 400, `a frame took ${gap} ms`)
  assert.deepEqual(page.faults, [])
})

test('a file that is no model is refused with its code, and the old model still works', async () => {
  const page = await site.open()
  const whole = await readFile(golden('q8_0.gguf'))
  for (const bad of [file('letter.gguf', 'Dear reader, this is not a model.'), { name: 'cut.gguf', mimeType: '', buffer: whole.subarray(0, whole.length >> 1) }]) {
    await page.setInputFiles('#model-file', bad)
    await page.waitForSelector(`#model-error .notice:has-text("${bad.name}")`)
    const text = await page.innerText('#model-error')
    assert.match(text, /This model file cannot be used/)
    assert.match(text, /bad-model/)
    assert.match(text, /mini is still loaded/)
  }
  await screenshot(page, 'bad-model')
  assert.equal((await rank(page)).length, 8)
  assert.deepEqual(page.faults, [])
})

test('a local GGUF file loads and ranks', async () => {
  const page = await site.open()
  await page.setInputFiles('#model-file', golden('q8_0.gguf'))
  await modelReady(page, 'q8_0.gguf')
  assert.match(await page.innerText('#model-facts'), /Q8_0/)
  assert.equal((await rank(page)).length, 8)
  assert.match(await page.textContent('#status'), /ranked by q8_0\.gguf/)
  await page.click('#model-toggle')
  await page.click('#model-choices button:text-is("Load")')
  await modelReady(page, 'mini')
  assert.deepEqual(page.faults, [])
})

test('a registered model is downloaded from a mirror, with progress, and can be cancelled', async () => {
  const mirror = await openMirror('0.6b-q8', golden('q8_0.gguf'))
  try {
    const page = await site.open({ query: `?host=${mirror.url}` })
    assert.equal(await page.inputValue('#hub'), `${mirror.url}/`)
    await page.click('#model-toggle')
    const button = page.locator('#model-choices li:nth-child(2) button')
    const name = await page.innerText('#model-choices li:nth-child(2) h3')
    const started = () => page.waitForFunction(() => /of \d.* · .*\/s · \d+ s left/.test(document.getElementById('load-text').textContent))
    await button.click()
    await started()
    await screenshot(page, 'download')
    await page.click('#load-cancel')
    await modelReady(page, 'mini')
    assert.equal(await page.innerText('#model-error'), '')

    await button.click()
    await started()
    const seen = await page.evaluate(() => document.getElementById('load-bar').value)
    assert.ok(seen > 0 && seen < 100, String(seen))
    mirror.release()
    await modelReady(page, name)
    assert.ok(mirror.asked.length >= 2)
    assert.equal(await button.innerText(), 'Loaded')
    assert.equal((await rank(page)).length, 8)
    assert.deepEqual(page.faults, [])
  } finally {
    await mirror.close()
  }
})

test('an address loads; one that cannot be fetched says so; a link cannot choose a foreign hub', async () => {
  const mirror = await openMirror('0.6b-q8', golden('q8_0.gguf'))
  try {
    mirror.release()
    const page = await site.open({ query: '?host=https://models.example.org', expect: [/Failed to load resource|ERR_CONNECTION_REFUSED/] })
    assert.equal(await page.inputValue('#hub'), '')
    await page.click('#model-toggle')
    await page.fill('#address', 'ftp://example.org/x.gguf')
    await page.press('#address', 'Enter')
    assert.match(await page.innerText('#model-error'), /https address is needed, http on this computer/)
    await page.fill('#address', `${mirror.url}/nothing.gguf`)
    await page.press('#address', 'Enter')
    await page.waitForSelector('#model-error .notice:has-text("404")')
    assert.match(await page.innerText('#model-error'), /The download failed/)
    const { REGISTRY } = await import('../../pkg/src/registry.js')
    const { repo, file: name } = REGISTRY[1]
    await page.fill('#address', `${mirror.url}/${repo}/resolve/main/${name}`)
    await page.press('#address', 'Enter')
    await modelReady(page, name)
    assert.equal((await rank(page)).length, 8)
    assert.deepEqual(page.faults, [])
  } finally {
    await mirror.close()
  }
})

test('accessibility: no violation before and after a ranking, with errors, light and dark, wide and narrow', async () => {
  for (const [name, options] of [
    ['desktop-dark', { colorScheme: 'dark' }],
    ['phone-light', { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }],
    ['phone-320-dark', { viewport: { width: 320, height: 640 }, hasTouch: true, isMobile: true, colorScheme: 'dark' }],
  ]) {
    const page = await site.open(options)
    assert.deepEqual(await accessibilityFaults(page), [], name)
    await rank(page)
    await screenshot(page, name)
    await page.click('#model-toggle')
    await page.click('#options summary')
    await page.setInputFiles('#docs-file', file('bad.csv', 'id,body\n1,x'))
    await page.setInputFiles('#model-file', file('bad.gguf', 'no model'))
    await page.waitForSelector('#model-error .notice')
    await page.waitForSelector('#docs-note .notice')
    assert.deepEqual(await accessibilityFaults(page), [], name)
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name} scrolls sideways`)
    await screenshot(page, `${name}-errors`, { whole: true })
    assert.deepEqual(page.faults, [])
  }
})
