// The real page on WebGPU, by an adapter in software.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { launchWithGpu } from './package-chromium.mjs'
import { accessibilityFaults, file, finished, longList, openSite, rank, screenshot } from './page-helpers.mjs'

let site
before(async () => { site = await openSite('/', launchWithGpu) })
after(() => site?.close())

const bar = (page) => page.innerText('#model-facts')
const onGpu = async (page) => {
  await page.click('#device-webgpu')
  await page.waitForFunction(() => document.getElementById('model-facts').textContent.includes('WebGPU on'), null, { timeout: 60_000 })
}

test('a GPU in software: the CPU computes until the reader chooses otherwise, and both rank alike', async () => {
  const page = await site.open({ viewport: { width: 390, height: 844 } })
  await page.click('#model-toggle')
  assert.match(await bar(page), /WebAssembly on the CPU$/)
  assert.match(await page.innerText('#device-help'), /^Automatic: The only GPU offered here is one in software/)
  const onCpu = await rank(page)
  await onGpu(page)
  assert.match(await bar(page), /, in software$/)
  assert.match(await page.innerText('#model-info'), /Why this device\s+WebGPU was asked for[\s\S]*Kernels/)
  const ranked = await rank(page)
  const scores = (list) => Object.fromEntries(list.map(({ text, score }) => [text, Number(score.replace(/[<%\s]/g, ''))]))
  const [cpu, gpu] = [scores(onCpu), scores(ranked)]
  for (const text of Object.keys(cpu)) assert.ok(Math.abs(cpu[text] - gpu[text]) <= 5, `${text}: ${cpu[text]} and ${gpu[text]}`)
  assert.deepEqual(await accessibilityFaults(page), [])
  await screenshot(page, 'gpu-phone', { whole: true })
  assert.deepEqual(page.faults, [])
})

test('a GPU that crashes while it ranks: said, and ranking again works', async () => {
  const page = await site.open({ expect: [/external Instance reference/] })
  await page.click('#model-toggle')
  await onGpu(page)
  await page.setInputFiles('#docs-file', file('many.jsonl', longList(300)))
  await page.click('#rank')
  await page.waitForTimeout(300)
  await (await site.browser.newBrowserCDPSession()).send('Browser.crashGpuProcess')
  await finished(page)
  assert.match(await page.innerText('#answer-error'), /The GPU was lost.*device-lost[\s\S]*Rank again/)
  await page.click('#samples button:nth-child(1)')
  assert.equal((await rank(page)).length, 8)
  assert.match(await bar(page), /WebGPU on/)
  assert.deepEqual(page.faults, [])
})
