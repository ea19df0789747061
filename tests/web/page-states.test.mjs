// States of the page that a healthy machine does not show, and what the reader can do with the inputs.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { faked, file, openSite, rank, rows, screenshot } from './page-helpers.mjs'

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
  assert.match(await page.innerText('#answer-error'), /The query is too long.*too-long[\s\S]*9000[\s\S]*shorten/)
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

const note = (page) => page.innerText('#answer-notes')
const CHANGED = 'Query, options or documents have changed since this ranking.'

test('an edit while a ranking runs is told with the ranking, beside its warnings', async () => {
  const page = await site.open({ before: faked })
  await page.fill('#query', 'wait')
  await page.click('#rank')
  await page.fill('#query', 'another')
  await page.evaluate(() => globalThis.go())
  await page.waitForSelector('#ranked > li')
  assert.equal(await note(page), CHANGED)
  await page.fill('#query', 'warn')
  await rank(page)
  assert.equal(await note(page), 'Something to know.')
  await page.click('#samples button:nth-child(2)')
  assert.equal(await note(page), `Something to know. ${CHANGED}`)
  assert.deepEqual(page.faults, [])
})

test('a ranking that is cancelled before its first score leaves the one before it', async () => {
  const page = await site.open({ before: faked })
  await rank(page)
  await page.fill('#query', 'wait')
  await page.click('#rank')
  await page.click('#cancel')
  await page.waitForSelector('#rank:not([hidden])')
  assert.equal((await rows(page)).length, 8)
  assert.match(await note(page), /^Cancelled after 0 of 8 documents\. This is the ranking before it\. Query.* have changed/)
  assert.ok(await page.isEnabled('#save-json'))
  assert.deepEqual(page.faults, [])
})

test('a blank document does not shift the places of the others', async () => {
  const page = await site.open({ before: faked })
  await page.fill('#docs li:nth-child(1) textarea', ' ')
  const list = await rank(page)
  assert.equal(list.length, 7)
  assert.match(list[0].moved, /from 2,/)
  assert.match(await page.textContent('#status'), /The best is document 2 /)
  assert.deepEqual(page.faults, [])
})

test('a list that is too large to edit is replaced only by its button, and Undo brings it back', async () => {
  const page = await site.open({ before: faked })
  await page.setInputFiles('#docs-file', file('large.txt', `${'x'.repeat(1000)}\n`.repeat(600)))
  await page.waitForFunction(() => document.getElementById('docs-count').textContent === '600')
  await page.click('#mode-paste')
  await page.focus('#paste')
  await page.keyboard.type('a')
  await page.waitForTimeout(400)
  assert.equal(await page.innerText('#docs-count'), '600')
  await page.click('#paste-replace')
  await page.keyboard.type('a')
  await page.waitForFunction(() => document.getElementById('docs-count').textContent === '1')
  await page.click('#docs-note button:text-is("Undo")')
  assert.equal(await page.innerText('#docs-count'), '600')

  await page.fill('#query', 'kept')
  await page.reload()
  await page.waitForSelector('#docs-note .notice')
  assert.equal(await page.inputValue('#query'), 'kept')
  assert.match(await page.innerText('#docs-note'), /list of 600 documents was too large to be kept/)
  assert.deepEqual(page.faults, [])
})

test('an edit ends the offer to undo what came before it', async () => {
  const page = await site.open({ before: faked })
  await page.click('#samples button:nth-child(2)')
  assert.equal(await page.locator('#docs-note button:text-is("Undo")').count(), 1)
  await page.fill('#docs li:nth-child(1) textarea', 'mine')
  assert.equal(await page.locator('#docs-note .notice').count(), 0)
  assert.deepEqual(page.faults, [])
})

test('the longest prompt: bounded by the model, refused where it is no such number, not sent when untouched', async () => {
  const page = await site.open({ before: faked })
  await page.click('#options summary')
  assert.equal(await page.getAttribute('#max-length', 'max'), '4096')
  assert.equal(await page.inputValue('#max-length'), '4096')
  await rank(page)
  assert.equal(await page.evaluate(() => globalThis.asked.maxLength), undefined)
  for (const wrong of ['-5', '', '12.5', '8192']) {
    await page.fill('#max-length', wrong)
    assert.equal(await page.getAttribute('#max-length', 'aria-invalid'), 'true', wrong)
    assert.equal(await page.innerText('#max-length-error'), 'A whole number from 128 to 4,096 is needed.')
    await page.click('#rank')
    assert.match(await page.innerText('#run-note'), /Longest prompt/)
  }
  await page.fill('#max-length', '512')
  assert.equal(await page.getAttribute('#max-length', 'aria-invalid'), 'false')
  await rank(page)
  assert.equal(await page.evaluate(() => globalThis.asked.maxLength), 512)
  assert.deepEqual(page.faults, [])
})

test('a model that does not exist, and addresses that a page cannot fetch, are named as such', async () => {
  const page = await site.open({ before: faked })
  await page.click('#model-toggle')
  await page.fill('#address', 'typo')
  await page.press('#address', 'Enter')
  await page.waitForSelector('#model-error .notice')
  assert.match(await page.innerText('#model-error'), /This model cannot be loaded/)
  for (const address of ['file:///x.gguf', 'C:\\x.gguf', 'ftp://example.org/x.gguf', 'javascript:1']) {
    await page.fill('#address', address)
    await page.press('#address', 'Enter')
    assert.match(await page.innerText('#model-error'), /This address cannot be used/, address)
  }
  await page.fill('#address', 'data:application/octet-stream,x')
  await page.press('#address', 'Enter')
  await page.waitForFunction(() => document.getElementById('model-name').textContent === 'model.gguf')
  assert.deepEqual(page.faults, [])
})

test('several files: lists are joined and counted by what they hold, two models are refused', async () => {
  const page = await site.open({ before: faked })
  await page.setInputFiles('#docs-file', [file('a.txt', 'x\ny'), file('b.jsonl', '"z"\n""')])
  await page.waitForSelector('#docs-note:has-text("3 documents from a.txt and b.jsonl, and 1 without text, which is not ranked.")')
  assert.equal(await page.innerText('#docs-count'), '3')
  await page.setInputFiles('#docs-file', [file('a.gguf', 'x'), file('b.gguf', 'y')])
  await page.waitForSelector('#docs-note:has-text("One model at a time")')
  assert.deepEqual(page.faults, [])
})

test('what has the focus is never under the bar at the window’s end', async () => {
  for (const viewport of [{ width: 1360, height: 700 }, { width: 390, height: 700 }, { width: 700, height: 420 }]) {
    const page = await site.open({ before: faked, viewport })
    await page.focus('#query')
    for (let at = 0; at < 24; at += 1) {
      await page.keyboard.press('Tab')
      const covered = await page.evaluate(() => {
        const node = document.activeElement
        if (node === document.body || node.matches('input[type="file"]') || node.closest('.run')) return null
        const { left, width, top, bottom } = node.getBoundingClientRect()
        const over = document.elementFromPoint(left + width / 2, Math.min(bottom - 2, innerHeight - 1))
        return top < 0 || over?.closest('.run') ? `${node.id || node.getAttribute('aria-label')} at ${top} in ${innerHeight}` : null
      })
      assert.equal(covered, null, JSON.stringify(viewport))
    }
    assert.deepEqual(page.faults, [])
  }
})

test('forced colours: scores, lamp and pressed buttons stay visible', async () => {
  const page = await site.open({ before: faked, forcedColors: 'active' })
  await rank(page)
  const look = await page.evaluate(() => {
    const colour = (selector) => getComputedStyle(document.querySelector(selector)).backgroundColor
    return { pairs: [['.yes .bar .fill', '.bar'], ['#show-percent', '#show-logit'], ['#model-lamp', '.model']].map((pair) => [...pair, ...pair.map(colour)]) }
  })
  for (const [front, , a, b] of look.pairs) assert.notEqual(a, b, front)
  await screenshot(page, 'forced-colors')
  assert.deepEqual(page.faults, [])
})
