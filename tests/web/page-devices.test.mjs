// Which device computes: shown, chosen, remembered, and what the page says when a GPU fails. The package is not real here.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { accessibilityFaults, faked, file, modelReady, openSite, rank, screenshot } from './page-helpers.mjs'

let site
before(async () => { site = await openSite('/') })
after(() => site?.close())

const open = async (gpu, options = {}) => {
  const page = await site.open({ query: gpu ? `?gpu=${gpu}` : '', before: faked, ...options })
  await page.click('#model-toggle')
  return page
}
const bar = (page) => page.innerText('#model-facts')
const facts = (page) => page.innerText('#model-info')
const loads = (page) => page.evaluate(() => globalThis.loads)
const pressed = (page) => page.$$eval('.device [aria-pressed="true"]', (nodes) => nodes.map((node) => node.textContent))
const says = (page, words) => page.waitForFunction((words) => document.getElementById('model-facts').textContent.includes(words), words)

test('the device that computes is shown with the reason, with a GPU, with one in software and without', async () => {
  for (const [gpu, device, reason] of [['hardware', 'WebGPU on acme rocket-3', 'The GPU is good.'], ['software', 'WebAssembly on the CPU', 'A reason.'], [null, 'WebAssembly on the CPU', 'A reason.']]) {
    const page = await open(gpu)
    assert.ok((await bar(page)).endsWith(device), await bar(page))
    assert.match(await facts(page), new RegExp(`${device}[\\s\\S]*Why this device\\s+${reason}`))
    assert.equal((await facts(page)).includes('q8 x f32'), gpu === 'hardware')
    assert.equal(await page.innerText('#device-help'), `Automatic: ${reason}`)
    assert.equal(await page.isDisabled('#device-webgpu'), gpu === null)
    assert.deepEqual(await pressed(page), ['Automatic'])
    assert.deepEqual(await loads(page), ['mini on auto'])
    assert.deepEqual(page.faults, [])
  }
})

test('another choice loads the model there, is remembered, and the same device is not loaded twice', async () => {
  const page = await open('hardware')
  await page.click('#device-wasm')
  await says(page, 'on the CPU')
  assert.match(await facts(page), /Asked for wasm/)
  await page.click('#device-webgpu')
  await says(page, 'WebGPU on acme')
  await page.click('#device-auto')
  assert.match(await facts(page), /The GPU is good/)
  assert.deepEqual(await loads(page), ['mini on auto', 'mini on wasm', 'mini on webgpu'])
  await page.click('#device-wasm')
  await says(page, 'on the CPU')
  await page.reload()
  await modelReady(page, 'mini')
  assert.deepEqual(await loads(page), ['mini on wasm'])
  assert.deepEqual(await pressed(page), ['CPU'])
  assert.deepEqual(page.faults, [])
})

test('a GPU that was chosen and is gone at the next visit is not insisted on', async () => {
  const page = await open('software')
  await page.click('#device-webgpu')
  await says(page, 'WebGPU on acme rocket-3, in software')
  await page.goto(site.url)
  await modelReady(page, 'mini')
  assert.deepEqual(await loads(page), ['mini on auto'])
  assert.deepEqual(page.faults, [])
})

test('a model that the GPU cannot hold: said, the old one stays, and one press loads it on the CPU', async () => {
  const page = await open('software')
  await page.evaluate(() => { globalThis.broken = 'webgpu' })
  await page.click('#device-webgpu')
  await page.waitForSelector('#model-error .notice')
  assert.match(await page.innerText('#model-error'), /Not enough memory.*oom[\s\S]*GPU has no memory[\s\S]*mini is still loaded/)
  await page.setInputFiles('#model-file', file('mine.gguf', 'x'))
  await page.waitForSelector('#model-error .notice:has-text("mine.gguf")')
  await page.click('#model-error button:text-is("Compute on the CPU")')
  await modelReady(page, 'mine.gguf')
  assert.deepEqual(await pressed(page), ['CPU'])
  assert.equal((await loads(page)).at(-1), '[object File] on wasm')
  assert.deepEqual(page.faults, [])
})

test('a GPU that is lost: said, and the next ranking loads the model again', async () => {
  const page = await open('hardware')
  await page.fill('#query', 'lose')
  await page.click('#rank')
  await page.waitForSelector('#answer-error .notice')
  assert.match(await page.innerText('#answer-error'), /The GPU was lost.*device-lost[\s\S]*Rank again/)
  assert.equal(await bar(page), 'The GPU was lost: the next ranking loads the model again.')
  assert.equal(await page.getAttribute('#model-lamp', 'data-state'), 'wait')
  await page.fill('#query', 'fine')
  await page.click('#rank')
  await page.waitForSelector('#load-text:has-text("1.0 MB of 4.0 MB")')
  assert.ok(await page.isHidden('#load-cancel'))
  await page.evaluate(() => globalThis.reloaded())
  await modelReady(page, 'mini')
  await page.waitForSelector('#ranked > li')
  assert.match(await bar(page), /WebGPU on acme/)
  assert.equal(await page.innerText('#answer-error'), '')
  await page.fill('#query', 'lose')
  await page.click('#rank')
  await says(page, 'The GPU was lost')
  assert.deepEqual(page.faults, [])
})

test('the choice is accessible and fits a phone', async () => {
  for (const [name, options] of [['device', {}], ['device-phone', { viewport: { width: 320, height: 640 }, hasTouch: true, isMobile: true, colorScheme: 'dark' }]]) {
    const page = await open('hardware', options)
    assert.deepEqual(await accessibilityFaults(page), [], name)
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name} scrolls sideways`)
    await rank(page)
    await screenshot(page, name, { whole: true })
    assert.deepEqual(page.faults, [])
  }
})
