// What the model panel shows of stored models, and what can be done with them.

import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { accessibilityFaults, faked, golden, modelReady, openMirror, openSite, rank, screenshot, until } from './page-helpers.mjs'

let site
before(async () => { site = await openSite('/') })
after(() => site?.close())

/** A store in the page: `globalThis.stored` are the models, `globalThis.asked` the calls. */
function store({ stored, quota = 2e9, broken = {}, persisted = false }) {
  const { calls = [] } = globalThis
  Object.assign(globalThis, { stored, calls, broken })
  const fail = (name) => { if (globalThis.broken[name]) throw Object.assign(new Error(globalThis.broken[name]), { code: 'unsupported' }) }
  globalThis.storage = {
    async usage() {
      fail('usage')
      return { bytes: globalThis.stored.reduce((sum, { bytes }) => sum + bytes, 0), quota, models: structuredClone(globalThis.stored) }
    },
    async isCached(id) { return globalThis.stored.some((model) => model.id === id && !model.partial) },
    async delete(id) {
      calls.push(`delete ${id}`)
      fail('delete')
      const left = globalThis.stored.filter((model) => model.id !== id)
      const found = left.length < globalThis.stored.length
      globalThis.stored = left
      return found
    },
    async persist() { calls.push('persist'); fail('persist'); return !globalThis.declines },
  }
  navigator.storage.persisted = async () => persisted
}

const BIG = { id: 'big', files: ['big.gguf'], bytes: 640e6, partial: false }
const PART = { id: 'owner/name:Q4_K_M', files: ['name.q4_k_m.gguf'], bytes: 120e6, partial: true }
const OTHER = { id: 'https://example.org/models/other.gguf', files: ['other.gguf'], bytes: 1.2e9, partial: false }

async function openPanel(options, { open = {}, wait = '#kept-models li' } = {}) {
  const page = await site.open({ ...open, before: async (page) => { await faked(page); if (options) await page.addInitScript(store, options) } })
  await page.click('#model-toggle')
  if (wait) await page.waitForSelector(wait)
  return page
}

const rowsOf = (page) => page.$$eval('#kept-models li', (items) => items.map((item) => [...item.children].map((child) => child.textContent).join(' | ')))
const buttonOf = (page, name, label) => page.locator('#kept-models li', { hasText: name }).locator('button', { hasText: label })


test('stored models are listed with their sizes; the part of one is gone on with', async () => {
  const page = await openPanel({ stored: [BIG, PART, OTHER] })
  assert.deepEqual(await rowsOf(page), ['Big | 640 MB | Load | Delete', 'owner/name:Q4_K_M | 120 MB, a part | Resume | Delete', `${OTHER.id} | 1.20 GB | Load | Delete`])
  assert.equal(await page.innerText('#kept-sum'), '1.96 GB in 3 models, of 2.00 GB that the browser allows')
  assert.equal(await page.innerText('#model-choices li:nth-child(2) button'), 'Load')
  assert.match(await page.innerText('#model-choices li:nth-child(2)'), /640 MB, kept here/)
  await page.evaluate(() => { globalThis.loads.length = 0 })
  await buttonOf(page, 'other.gguf', 'Load').click()
  await modelReady(page, 'other.gguf')
  await page.evaluate((part) => { globalThis.stored = globalThis.stored.map((model) => (model.id === part ? { ...model, bytes: 300e6, partial: false } : model)) }, PART.id)
  await buttonOf(page, PART.id, 'Resume').press('Enter')
  await modelReady(page, PART.id)
  assert.equal(await page.evaluate(() => document.activeElement.id), 'kept-title')
  await page.locator('#kept-models li', { hasText: '300 MB' }).waitFor()
  assert.deepEqual(await rowsOf(page), ['Big | 640 MB | Load | Delete', 'owner/name:Q4_K_M | 300 MB | in use | Delete', `${OTHER.id} | 1.20 GB | Load | Delete`])
  assert.deepEqual(await page.evaluate(() => globalThis.loads), [`${OTHER.id} on auto`, `${PART.id} on auto`])
  assert.deepEqual(page.faults, [])
})

test('a model is deleted by two presses, and not by one; one in use stays loaded', async () => {
  const page = await openPanel({ stored: [PART, { ...BIG, id: 'fine/one' }] })
  await buttonOf(page, 'fine/one', 'Load').click()
  await modelReady(page, 'fine/one')
  await buttonOf(page, 'fine/one', 'Delete').press('Enter')
  assert.match(await page.textContent('#status'), /^Delete 640 MB\? Press again/)
  await page.keyboard.press('Escape')
  await page.keyboard.press('Enter')
  await page.keyboard.press('Tab') // away: asked again
  await buttonOf(page, 'fine/one', 'Delete').focus()
  await page.keyboard.press('Enter')
  assert.deepEqual(await page.evaluate(() => globalThis.calls), [])
  await page.keyboard.press('Enter')
  await page.waitForSelector('#kept-note:has-text("fine/one was deleted. It stays loaded until")')
  await page.waitForFunction(() => document.activeElement.id === 'kept-title')
  assert.deepEqual(await page.evaluate(() => globalThis.calls), ['delete fine/one'])
  assert.deepEqual(await rowsOf(page), [`${PART.id} | 120 MB, a part | Resume | Delete`])
  assert.equal((await rank(page)).length, 8)

  await buttonOf(page, PART.id, 'Delete').dblclick()
  await page.waitForSelector('#kept-models', { state: 'hidden' })
  assert.match(await page.innerText('#kept-note'), /owner\/name:Q4_K_M was deleted\.$/)
  assert.match(await page.innerText('#kept-sum'), /^No model yet/)
  assert.deepEqual(page.faults, [])
})

test('all are deleted at once; what cannot be deleted is named with why', async () => {
  const page = await openPanel({ stored: [BIG, OTHER], broken: { delete: 'it is being downloaded in another tab.' } })
  await page.dblclick('#kept-clear')
  await page.waitForSelector('#kept-note:has-text("Big was not deleted: it is being downloaded in another tab.")')
  assert.equal((await rowsOf(page)).length, 2)
  await page.evaluate(() => { globalThis.broken = {} })
  await page.dblclick('#kept-clear')
  await page.waitForSelector('#kept-models', { state: 'hidden' })
  assert.ok(await page.isHidden('#kept-clear'))
  assert.equal(await page.innerText('#model-choices li:nth-child(2) button'), 'Download and load')
  assert.deepEqual(page.faults, [])
})

test('the browser is asked to keep models, and its answer is told', async () => {
  const page = await openPanel({ stored: [BIG] })
  await page.evaluate(() => { globalThis.declines = true })
  await page.click('#kept-persist')
  await page.waitForSelector('#kept-note:has-text("did not agree")')
  await page.evaluate(() => { globalThis.declines = false })
  await page.click('#kept-persist')
  await page.waitForSelector('#kept-persist', { state: 'hidden' })
  assert.match(await page.innerText('#kept-note'), /will not clear/)
  const settled = await openPanel({ stored: [BIG], persisted: true })
  assert.ok(await settled.isHidden('#kept-persist'))
  const empty = await openPanel({ stored: [] }, { wait: null })
  assert.ok(await empty.isHidden('#kept-persist'))
  for (const one of [page, settled, empty]) assert.deepEqual(one.faults, [])
})

test('storage that cannot be read, or a package that stores nothing: said, and the page works', async () => {
  const page = await openPanel({ stored: [BIG], broken: { usage: 'The disk is gone.' } }, { wait: null })
  await page.waitForSelector('#kept-sum:has-text("held in memory while this page is open (The disk is gone)")')
  const old = await openPanel(null, { wait: null })
  await old.waitForSelector('#kept-sum:has-text("held in memory while this page is open (this version of the package stores none)")')
  for (const one of [page, old]) {
    assert.ok(await one.isHidden('#kept-models'))
    assert.equal((await rank(one)).length, 8)
    assert.deepEqual(one.faults, [])
  }
})

test('accessibility: no violation, wide and narrow, light and dark, in forced colours', async () => {
  for (const [name, options] of [
    ['light', { viewport: { width: 1280, height: 800 } }],
    ['phone-dark', { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, colorScheme: 'dark' }],
    ['phone-320', { viewport: { width: 320, height: 640 }, hasTouch: true, isMobile: true }],
    ['forced', { viewport: { width: 1280, height: 800 }, forcedColors: 'active' }],
  ]) {
    const page = await openPanel({ stored: [BIG, PART, OTHER] }, { open: options })
    await buttonOf(page, 'Big', 'Delete').click()
    assert.deepEqual(await accessibilityFaults(page), [], name)
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name} scrolls sideways`)
    await screenshot(page, `storage-${name}`, { whole: true })
    assert.deepEqual(page.faults, [])
    await page.context().close()
  }
})

test('a downloaded model is kept, loads again without its server, and is deleted', async () => {
  const mirror = await openMirror('0.6b-q8', golden('q8_0.gguf'))
  mirror.release()
  try {
    const page = await site.open({ query: `?host=${mirror.url}` })
    const name = await page.locator('#model-choices li:nth-child(2) h3').textContent()
    const choice = page.locator('#model-choices li:nth-child(2)')
    await page.click('#model-toggle')
    await choice.locator('button').click()
    await modelReady(page, name)
    await page.waitForSelector('#kept-models li')
    assert.match((await rowsOf(page)).join(), /^Qwen3.*, from 127\.0\.0\.1:\d+ \| [\d.]+ [kM]B \| in use \| Delete$/)
    await mirror.close()
    await page.reload()
    await modelReady(page, 'mini')
    await page.click('#model-toggle')
    await choice.locator('button:text-is("Load")').click()
    await modelReady(page, name)
    assert.equal((await rank(page)).length, 8)
    await buttonOf(page, name, 'Delete').dblclick()
    await page.waitForSelector('#kept-models', { state: 'hidden' })
    assert.match(await page.innerText('#kept-note'), /was deleted\. It stays loaded/)
    assert.equal((await rank(page)).length, 8)
    assert.deepEqual(page.faults, [])
  } finally {
    await mirror.close().catch(() => {})
  }
})

test('a download that was cancelled leaves a part, which is shown, gone on with where it ended, or deleted', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'edge-reranker-part-'))
  const large = join(folder, 'large.gguf')
  await writeFile(large, Buffer.concat([await readFile(golden('q8_0.gguf')), Buffer.alloc(40e6)])) // bytes after the last tensor
  const mirror = await openMirror('0.6b-q8', large, { free: 9e6 })
  try {
    const page = await site.open({ query: `?host=${mirror.url}` })
    const choice = page.locator('#model-choices li:nth-child(2)')
    await page.click('#model-toggle')
    const name = await choice.locator('h3').textContent()
    await choice.locator('button:text-is("Download and load")').click()
    await until(page, async () => {
      const { models } = await import('./edge-reranker/src/index.js')
      return (await models.usage()).bytes > 16e6 // two blocks: what is received and not yet written is dropped
    })
    await page.click('#load-cancel')
    await page.waitForSelector('#kept-models li')
    assert.match((await rowsOf(page)).join(), /^Qwen3.* \| \d\d MB, a part \| Resume \| Delete$/)
    assert.match(await choice.innerText(), /Resume and load\s+\d\d MB of 639 MB here/)
    const asked = mirror.asked.length
    mirror.release()
    await buttonOf(page, name, 'Resume').click()
    await modelReady(page, name)
    await page.locator('#kept-models li', { hasText: /\d\d MB\s*in use/ }).waitFor()
    assert.ok(mirror.asked.length - asked <= 5, `${mirror.asked.length - asked} requests for what was missing`)
    await buttonOf(page, name, 'Delete').dblclick()
    await page.waitForSelector('#kept-models', { state: 'hidden' })
    assert.deepEqual(page.faults, [])
  } finally {
    await mirror.close()
    await rm(folder, { recursive: true })
  }
})
