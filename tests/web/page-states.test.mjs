// States of the page that a healthy machine does not show, and what the reader can do with the inputs.

import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { after, before, test } from 'node:test'
import { file, openSite, rank, rows } from './page-helpers.mjs'

const FAKE = fileURLToPath(new URL('./fake-package.js', import.meta.url))
const faked = (page) => page.route('**/edge-reranker/src/index.js', (route) => route.fulfill({ path: FAKE, contentType: 'text/javascript' }))

let site
before(async () => { site = await openSite('/') })
after(() => site?.close())

test('memory runs out: at loading the old model stays, at ranking the dead one is named', async () => {
  const page = await site.open({ before: faked })
  await page.click('#model-toggle')
  await page.click('#model-choices li:nth-child(2) button')
  await page.waitForSelector('#model-error .notice')
  assert.match(await page.innerText('#model-error'), /Not enough memory.*oom[\s\S]*smaller[\s\S]*mini is still loaded/)
  await page.fill('#query', 'die')
  await page.click('#rank')
  await page.waitForSelector('#answer-error .notice')
  assert.match(await page.innerText('#answer-error'), /Not enough memory/)
  assert.match(await page.innerText('#model-error'), /“mini” stopped working/)
  assert.ok(await page.isDisabled('#rank'))
  await page.click('#model-choices li:nth-child(1) button')
  await page.fill('#query', 'fine')
  assert.equal((await rank(page)).length, 8)
  assert.deepEqual(page.faults, [])
})

test('a failing request, warnings, equal scores and truncation are shown', async () => {
  const page = await site.open({ before: faked })
  await page.fill('#query', 'too long')
  await page.click('#rank')
  await page.waitForSelector('#answer-error .notice')
  assert.match(await page.innerText('#answer-error'), /The query is too long.*too-long[\s\S]*9000[\s\S]*Shorten/)
  await page.fill('#query', 'warn')
  const list = await rank(page)
  assert.equal(await page.innerText('#answer-error'), '')
  assert.equal(await page.innerText('#answer-notes'), 'Something to know.')
  assert.match(list[0].meta, /Truncated/)
  assert.ok(list.every((row) => row.moved.startsWith('=')))
  await page.fill('#query', 'other')
  assert.match(await page.innerText('#answer-notes'), /changed since this ranking/)
  assert.deepEqual(page.faults, [])
})

test('no WebAssembly SIMD: said clearly, nothing loads', async () => {
  const page = await site.open({ ready: false, before: (page) => page.addInitScript(() => { WebAssembly.validate = () => false }) })
  await page.waitForSelector('#model-error .notice')
  assert.match(await page.innerText('#model-error'), /This browser cannot run the model.*unsupported[\s\S]*SIMD/)
  assert.ok(await page.isDisabled('#rank'))
  assert.deepEqual(page.faults, [])
})

test('a missing package: said clearly', async () => {
  const page = await site.open({ ready: false, expect: [/edge-reranker\/src\/index\.js/], before: (page) => page.route('**/edge-reranker/src/index.js', (route) => route.fulfill({ status: 404, body: '' })) })
  await page.waitForSelector('#model-error .notice')
  assert.match(await page.innerText('#model-error'), /The page is incomplete/)
  assert.deepEqual(page.faults, [])
})

test('storage that is blocked does no harm', async () => {
  const blocked = (page) => page.addInitScript(() => {
    for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(globalThis, name, { get() { throw new DOMException('blocked', 'SecurityError') } })
  })
  const page = await site.open({ before: async (page) => { await faked(page); await blocked(page) } })
  await page.click('#theme')
  assert.equal(await page.getAttribute('html', 'data-theme'), 'dark')
  assert.equal((await rank(page)).length, 8)
  assert.deepEqual(page.faults, [])
})

test('inputs, theme and unit are remembered', async () => {
  const page = await site.open({ before: faked })
  await page.fill('#query', 'remember me')
  await page.fill('#docs li:nth-child(1) textarea', 'first text')
  await page.click('#theme')
  await rank(page)
  await page.click('#show-logit')
  await page.reload()
  assert.equal(await page.inputValue('#query'), 'remember me')
  assert.equal(await page.inputValue('#docs li:nth-child(1) textarea'), 'first text')
  assert.equal(await page.getAttribute('html', 'data-theme'), 'dark')
  assert.equal(await page.getAttribute('#show-logit', 'aria-pressed'), 'true')
  assert.deepEqual(page.faults, [])
})

test('documents: add, remove, paste, clear, undo, and markup stays text', async () => {
  const page = await site.open({ before: faked })
  const count = () => page.innerText('#docs-count')
  await page.click('#docs-add')
  await page.keyboard.type('<img src=x onerror=alert(1)>')
  assert.equal(await count(), '9')
  await page.click('[aria-label="Remove document 1"]')
  assert.equal(await count(), '8')
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Remove document 1')
  await page.click('#mode-paste')
  assert.equal((await page.inputValue('#paste')).split('\n').length, 8)
  await page.fill('#paste', 'one\n\ntwo↵lines\n<b>three</b>')
  await page.keyboard.press('Control+Enter')
  await page.waitForSelector('#ranked > li')
  assert.deepEqual((await rows(page)).map((row) => row.text), ['one', 'two\nlines', '<b>three</b>'])
  assert.equal(await page.locator('#ranked img, #ranked b').count(), 0)
  await page.click('#mode-list')
  assert.equal(await count(), '3')
  await page.click('#docs-clear')
  assert.equal(await count(), '0')
  await page.click('#rank')
  assert.equal(await page.innerText('#run-note'), 'Add a document first.')
  await page.click('#docs-note button:text-is("Undo")')
  assert.equal(await count(), '3')
  await page.fill('#query', ' ')
  await page.click('#rank')
  assert.equal(await page.innerText('#run-note'), 'Write a query first.')
  assert.deepEqual(page.faults, [])
})

test('files: chosen, dropped, and refused with the line', async () => {
  const page = await site.open({ before: faked })
  await page.setInputFiles('#docs-file', file('good.csv', 'id,text\n7,"a\nb"\n8,c'))
  await page.waitForSelector('#docs-note:has-text("2 documents from good.csv")')
  assert.equal(await page.innerText('#docs li:nth-child(1) .doc-id'), '7')
  await page.setInputFiles('#docs-file', file('bad.jsonl', '"a"\n{"text": 1}'))
  await page.waitForSelector('#docs-note .notice.bad')
  assert.match(await page.innerText('#docs-note'), /bad\.jsonl was not read[\s\S]*Line 2/)
  assert.equal(await page.innerText('#docs-count'), '2')
  await page.evaluate(() => {
    const data = new DataTransfer()
    data.items.add(new File(['x\ny\nz'], 'dropped.txt'))
    for (const type of ['dragover', 'drop']) document.body.dispatchEvent(new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer: data }))
  })
  await page.waitForSelector('#docs-note:has-text("3 documents from dropped.txt")')
  assert.ok(await page.isHidden('#drop-veil'))
  assert.deepEqual(page.faults, [])
})

test('the keyboard reaches everything in reading order, and the focus is visible', async () => {
  const page = await site.open({ before: faked })
  const seen = []
  await page.keyboard.press('Tab')
  for (let at = 0; at < 60; at += 1) {
    const { id, outlined } = await page.evaluate(() => {
      const style = getComputedStyle(document.activeElement)
      const shown = document.activeElement.matches('input[type="file"]') ? getComputedStyle(document.activeElement.previousElementSibling) : style
      return { id: document.activeElement.id, outlined: shown.outlineStyle !== 'none' && parseFloat(shown.outlineWidth) >= 2 }
    })
    if (seen.includes('docs-clear') && id === '') break
    assert.ok(outlined, `no visible focus on ${id}`)
    seen.push(id)
    await page.keyboard.press('Tab')
  }
  const order = ['theme', 'model-toggle', 'query', 'mode-list', 'docs-add', 'docs-file', 'docs-clear', 'rank']
  assert.deepEqual(seen.filter((id) => order.includes(id)), order)
})
