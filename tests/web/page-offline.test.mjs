// The page without a network: what is kept at the first visit, how a new version comes, and what happens where nothing can be kept.

import assert from 'node:assert/strict'
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { listSite } from './list-site.mjs'
import { launch } from './package-chromium.mjs'
import { file, modelReady, rank, screenshot, until, useSample } from './page-helpers.mjs'
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
  await useSample(page)
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
    await keptTold(page)
    assert.match(await toldOfPage(page), /work without a network/)
    await screenshot(page, `offline-${isolated ? 'threads' : 'sub'}`)
    assert.deepEqual(page.faults.filter((fault) => !/sw\.js|ERR_INTERNET_DISCONNECTED/.test(fault)), [])
  })
}

/** Another version of the site in `copy`: its page has `title`, its script version.js tells it, and the scripts of all builds of the engine differ. */
async function publish(title, { policy = (text) => text } = {}) {
  const page = await readFile(join(BUILT, 'index.html'), 'utf8')
  await writeFile(join(copy, 'index.html'), policy(page.replace(/<title>[^<]*/, `<title>${title}`)))
  await writeFile(join(copy, 'version.js'), `if (typeof document === 'undefined') fetch('./version.js').then((r) => r.text()).then((text) => postMessage(['${title}', text.includes("'${title}'")]))`)
  for (const glue of await glues()) await writeFile(join(copy, glue), `${await readFile(join(BUILT, glue), 'utf8')}\n// ${title}\n`)
  await cp(join(BUILT, 'sw.js'), join(copy, 'sw.js'))
  await listSite(copy)
}

const glues = async () => (await readdir(join(BUILT, 'edge-reranker/dist'))).filter((name) => name.endsWith('.js')).map((name) => `edge-reranker/dist/${name}`)

/** What a worker gets that is started now: the title of its script, and whether what it fetches itself is of the same version. */
const workerTells = (page) => page.evaluate(() => new Promise((done, failed) => {
  const worker = new Worker('./version.js')
  worker.onmessage = ({ data }) => done(data)
  worker.onerror = failed
}))

test('a new version is fetched beside the old one, offered, and taken by a reload; other open pages keep their files', async () => {
  await publish('one')
  const { site, context } = await open({ root: copy })
  const page = await visit(context, site.url)
  await keptTold(page)
  const other = await visit(context, site.url)
  const used = (await keptPaths(page)).filter((path) => /dist\/.*\.js$/.test(path))
  assert.equal(used.length, 1)

  await publish('two')
  site.asked.length = 0
  await page.reload()
  assert.equal(await page.title(), 'one')
  await page.waitForSelector(UPDATE)
  assert.match(await page.innerText(UPDATE), /new version.*ready/)
  assert.match(await page.textContent('#status'), /new version/)
  assert.deepEqual(site.asked.filter((path) => !path.endsWith('sw.js')).sort(), ['/', `/${used[0]}`, '/version.js'], 'not what changed and is used')
  assert.deepEqual(await workerTells(page), ['one', true])
  await screenshot(page, 'update')

  await page.fill('#query', 'kept over the reload')
  await page.click(`${UPDATE} button:text-is("Reload")`)
  await page.waitForFunction(() => document.title === 'two')
  await modelReady(page, 'mini')
  assert.equal(await page.inputValue('#query'), 'kept over the reload')
  assert.deepEqual(await workerTells(page), ['two', true])
  await other.waitForSelector(UPDATE)
  assert.equal(await other.title(), 'one')
  assert.deepEqual(await workerTells(other), ['one', true])
  assert.equal((await rank(other)).length, 8)
  assert.equal((await cacheNames(page)).length, 2)

  await other.setInputFiles('#docs-file', file('large.txt', `${'x'.repeat(1000)}\n`.repeat(600)))
  await other.waitForFunction(() => document.getElementById('docs-count').textContent === '600')
  await other.click(`${UPDATE} button:text-is("Reload")`)
  assert.match(await other.innerText(UPDATE), /too large to be kept/)
  await other.click(`${UPDATE} button:text-is("Reload anyway")`)
  await other.waitForFunction(() => document.title === 'two')
  await other.close()
  await page.reload()
  await until(page, async () => (await caches.keys()).length === 1)
  await site.stop()
  await page.reload()
  await modelReady(page, 'mini')
  assert.equal(await page.title(), 'two')
  assert.equal((await rank(page)).length, 8)
})

test('what is not the page\'s own is left to the network: parts of files, other methods, files without a place in the list', async () => {
  const { site, context } = await open({ base: '/sub/' })
  const page = await visit(context, site.url)
  await keptTold(page)
  site.asked.length = 0
  const answers = await page.evaluate(async () => {
    const status = async (...request) => (await fetch(...request)).status
    const mini = './edge-reranker/dist/mini.gguf'
    return [await status(mini), await status(mini, { headers: { Range: 'bytes=0-3' } }), await status('./app.js', { method: 'HEAD' }), await status('./app.js?x'), await status('./sw.js')]
  })
  assert.deepEqual(answers, [200, 206, 200, 200, 200])
  assert.deepEqual(site.asked, ['/sub/edge-reranker/dist/mini.gguf', '/sub/app.js', '/sub/app.js?x', '/sub/sw.js'])
  const modules = (await keptPaths(page)).filter((path) => path.endsWith('.wasm'))
  await page.evaluate(async () => (await fetch('./edge-reranker/dist/edge_reranker_bg.wasm')).arrayBuffer())
  await until(page, async () => (await caches.match('./edge-reranker/dist/edge_reranker_bg.wasm')) !== undefined)
  assert.ok(!modules.includes('edge-reranker/dist/edge_reranker_bg.wasm'), 'it was not kept before it was used')
  assert.ok((await keptPaths(page)).every((path) => !path.startsWith('http') && !path.endsWith('.d.ts')))
})

test('storage that the browser cleared is filled again; a site that is gone is let go', async () => {
  await publish('one')
  const { site, context } = await open({ root: copy })
  const page = await visit(context, site.url)
  await keptTold(page)
  await page.evaluate(async () => { for (const name of await caches.keys()) await caches.delete(name) })
  await page.reload()
  await modelReady(page, 'mini')
  await keptTold(page)
  await site.stop()
  await page.reload()
  await modelReady(page, 'mini')

  await site.start()
  await rm(join(copy, 'sw.js'))
  await page.reload()
  await until(page, async () => (await navigator.serviceWorker.getRegistrations()).length === 0 && (await caches.keys()).length === 0)
  await modelReady(page, 'mini')
  assert.equal((await rank(page)).length, 8)
})

const WITHOUT = [
  ['a file that is not the listed one', () => writeFile(join(copy, 'version.js'), '// changed')],
  ['no storage', async () => writeFile(join(copy, 'sw.js'), `caches.open = async () => { throw new DOMException('Full.', 'QuotaExceededError') };\n${await readFile(join(copy, 'sw.js'), 'utf8')}`)],
  ['no list before the worker', () => cp(fileURLToPath(new URL('../../www/sw.js', import.meta.url)), join(copy, 'sw.js'))],
  ['a policy without workers', () => publish('one', { policy: (page) => page.replace("worker-src 'self'", "worker-src 'none'") })],
]
for (const [name, spoil] of WITHOUT) {
  test(`${name}: the page works and says that it needs the network`, async () => {
    await publish('one')
    await spoil()
    const { site, context } = await open({ root: copy })
    const page = await visit(context, site.url)
    await keptTold(page)
    assert.match(await toldOfPage(page), /could not be kept/)
    assert.equal((await rank(page)).length, 8)
    assert.equal(await page.locator(UPDATE).count(), 0)
    assert.deepEqual(await cacheNames(page), [])
  })
}

test('an address without https: the page works, and keeps nothing', async () => {
  const { site, context } = await open()
  await context.route('http://page.test/**', async (route) => {
    const response = await fetch(route.request().url().replace('http://page.test/', site.url))
    await route.fulfill({ status: response.status, headers: Object.fromEntries(response.headers), body: Buffer.from(await response.arrayBuffer()) })
  })
  const page = await visit(context, 'http://page.test/')
  assert.equal(await page.evaluate(() => isSecureContext), false)
  assert.equal((await rank(page)).length, 8)
  assert.ok(await page.locator('#kept-page').evaluate((node) => node.hidden))
  assert.match(await page.textContent('#kept-sum'), /^Nothing: .*https/)
  assert.ok(!site.asked.includes('/sw.js'))
})
