// The page without a network: what is kept at the first visit, how a new version comes, and what happens where nothing can be kept.

import assert from 'node:assert/strict'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { listSite } from './list-site.mjs'
import { launch } from './package-chromium.mjs'
import { modelReady, rank, screenshot } from './page-helpers.mjs'
import { serve } from './serve.mjs'

const BUILT = process.env.EDGE_RERANKER_SITE ?? fileURLToPath(new URL('../../target/site', import.meta.url))
const UPDATE = '#update .notice'

let browser
let copy // a site that a test may change
const opened = []
before(async () => {
  browser = await launch()
  copy = await mkdtemp(join(tmpdir(), 'edge-reranker-site-'))
  await cp(BUILT, copy, { recursive: true })
})
afterEach(async () => { for (const thing of opened.splice(0)) await thing.close() })
after(async () => {
  await browser?.close()
  if (copy) await rm(copy, { recursive: true })
})

/** A server that counts what it is asked for, and can be closed and opened again at its address. */
async function open({ root = BUILT, ...options } = {}) {
  const asked = []
  const hear = (path) => asked.push(path)
  let server = await serve({ root, hear, ...options })
  const { url } = server
  const site = {
    url, asked,
    stop: () => server.close(),
    async start() { server = await serve({ root, hear, ...options, port: Number(new URL(url).port) }); assert.equal(server.url, url) },
    close: () => server.close().catch(() => {}),
  }
  opened.push(site)
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce' })
  opened.push(context)
  return { site, context }
}

async function visit(context, url) {
  const page = await context.newPage()
  page.faults = []
  page.on('pageerror', (error) => page.faults.push(error.message))
  page.on('console', (message) => { if (message.type() === 'error') page.faults.push(`${message.text()} ${message.location().url}`) })
  await page.goto(url)
  await modelReady(page, 'mini')
  return page
}

const keptTold = (page) => page.waitForFunction(() => !document.getElementById('kept-page').hidden)
const toldOfPage = (page) => page.textContent('#kept-page')
const threads = (page) => page.$$eval('#model-info div', (rows) => rows.find((row) => row.firstChild.textContent === 'Threads').lastChild.textContent)
const cacheNames = (page) => page.evaluate(() => caches.keys())
const keptPaths = (page) => page.evaluate(async () => {
  const caches_ = await Promise.all((await caches.keys()).map((name) => caches.open(name)))
  const requests = await Promise.all(caches_.map((cache) => cache.keys()))
  return requests.flat().map(({ url }) => url.slice(document.baseURI.split('?')[0].length))
})

for (const [base, isolated] of [['/', true], ['/sub/', false]]) {
  test(`after one visit the page ranks without a network, at ${base}, ${isolated ? 'with' : 'without'} threads`, async () => {
    const { site, context } = await open({ base, isolated })
    const page = await visit(context, site.url)
    assert.match(await threads(page), isolated ? /^[2-9]|^one$/ : /^one: /)
    const before = await threads(page)
    const list = await rank(page)
    await keptTold(page)
    assert.match(await toldOfPage(page), /work without a network/)
    const modules = (await keptPaths(page)).filter((path) => path.endsWith('.wasm'))
    assert.equal(modules.length, 1, modules.join())

    await site.stop()
    await context.setOffline(true)
    await page.goto(`${site.url}?host=http://localhost:1`)
    await modelReady(page, 'mini')
    assert.equal(await page.evaluate(() => globalThis.crossOriginIsolated), isolated)
    assert.equal(await threads(page), before)
    assert.deepEqual(await rank(page), list)
    assert.match(await page.innerText('#model-facts'), /WebAssembly/)
    await screenshot(page, `offline-${isolated ? 'threads' : 'sub'}`)
    assert.deepEqual(page.faults.filter((fault) => !/sw\.js|ERR_INTERNET_DISCONNECTED/.test(fault)), [])
  })
}
