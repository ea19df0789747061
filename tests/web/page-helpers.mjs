// What the page's tests share: the built site behind a server, a Chromium, pages that fail the test on any console
// error or policy violation, and a mirror of the model hub.

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { launch } from './package-chromium.mjs'
import { known } from '../../pkg/src/registry.js'
import { serve } from './serve.mjs'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
export const golden = (name) => join(ROOT, 'tests/golden', name)
const SHOTS = join(ROOT, 'target/screenshots')

// Chromium's own remark when a page asks for a GPU on a machine that has none.
const NO_GPU = /^No available adapters\./
// Pages are not kept, but where a test is about that: what is kept could not be replaced by what a test wants.
const NOT_KEPT = /^Service Worker registration blocked by Playwright/

/** Serves target/site at `base` and starts a browser. */
export async function openSite(base, launchBrowser = launch) {
  const root = process.env.EDGE_RERANKER_SITE ?? join(ROOT, 'target/site')
  assert.ok(existsSync(join(root, 'index.html')), `${root} is missing: run ./build.sh build first`)
  const server = await serve({ root, base })
  const browser = await launchBrowser()
  const contexts = []

  /** A fresh page with a small list, or with the `demo` texts. `expect` are console errors that belong to the test; `before(page)` runs before it is opened. */
  async function open({ query = '', expect = [], before, ready = true, demo = false, ...options } = {}) {
    const context = await browser.newContext({ viewport: { width: 1360, height: 900 }, reducedMotion: 'reduce', serviceWorkers: 'block', ...options })
    contexts.push(context)
    const page = await context.newPage()
    page.faults = []
    page.on('pageerror', (error) => page.faults.push(`uncaught: ${error.message}`))
    page.on('console', (message) => {
      const text = `${message.text()} ${message.location().url}`
      if (['error', 'warning'].includes(message.type()) && ![NO_GPU, NOT_KEPT, ...expect].some((known) => known.test(text))) page.faults.push(`${message.type()}: ${text}`)
    })
    await page.addInitScript(() => {
      addEventListener('securitypolicyviolation', (event) => console.error(`policy violation: ${event.violatedDirective} ${event.blockedURI}`))
    })
    await before?.(page)
    await page.goto(server.url + query)
    if (ready) await modelReady(page, 'mini')
    if (ready && !demo) await useSample(page)
    return page
  }

  async function close() {
    await browser.close()
    await server.close()
  }

  return { url: server.url, browser, open, close }
}

/** Puts fake-package.js in the place of the package. */
const FAKE = fileURLToPath(new URL('./fake-package.js', import.meta.url))
export const faked = (page) => page.route('**/edge-reranker/src/index.js', (route) => route.fulfill({ path: FAKE, contentType: 'text/javascript' }))

export const modelReady = (page, name) => page.waitForFunction(
  (wanted) => document.getElementById('model-name').textContent === wanted && document.getElementById('model-lamp').dataset.state === 'on' && document.getElementById('model-load').hidden,
  name, { timeout: 60_000 })

/** The first of the small lists in the place of the demo texts, which a first visit begins with. The focus stays where it was. */
export const useSample = (page) => page.evaluate(() => {
  document.getElementById('source-own').click()
  document.querySelector('#samples button').click()
})

/** For what a page can tell only after a while of its own: `waitForFunction` takes a promise for a yes. */
export async function until(page, question, ms = 30_000) {
  for (const end = Date.now() + ms; !(await page.evaluate(question)); await new Promise((done) => setTimeout(done, 100))) {
    assert.ok(Date.now() < end, `not within ${ms} ms: ${question}`)
  }
}

export const finished = (page) => page.waitForSelector('#rank:not([hidden])', { timeout: 120_000 })

/** Presses Rank and gives the rows of the finished ranking, as shown. */
export async function rank(page) {
  await page.click('#rank')
  await finished(page)
  return rows(page)
}

export const rows = (page) => page.$$eval('#ranked > li', (items) => items.map((item) => ({
  text: item.querySelector('.text').textContent,
  score: item.querySelector('.score-number').textContent,
  moved: item.querySelector('.moved')?.textContent ?? null,
  tag: item.querySelector('.tag')?.textContent ?? null,
  meta: item.querySelector('.meta')?.textContent ?? null,
})))

export const file = (name, content) => ({ name, mimeType: '', buffer: Buffer.from(content) })

/** Documents whose scoring takes a while. */
export const longList = (n) => Array.from({ length: n }, (_, at) =>
  JSON.stringify({ id: `d${at}`, text: `Entry ${at}. ${'The sea is salty because rivers carry dissolved minerals into it. '.repeat(6)}` })).join('\n')

/** `whole` shows the page in a window as tall as itself, so that what sticks to the window's edge stands at its end. */
export async function screenshot(page, name, { whole = false } = {}) {
  await mkdir(SHOTS, { recursive: true })
  const size = page.viewportSize()
  if (whole) await page.setViewportSize({ ...size, height: await page.evaluate(() => document.documentElement.scrollHeight) })
  await page.screenshot({ path: join(SHOTS, `${name}.png`), animations: 'disabled' })
  if (whole) await page.setViewportSize(size)
}

/** Violations of WCAG A and AA and of axe's best practices, as lines of text. */
export async function accessibilityFaults(page) {
  await page.evaluate(await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8'))
  return page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document)
    return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target} ${node.failureSummary}`))
  })
}

/**
 * A hub that has one file, at the place of a registered model, and sends half of every answer until release() lets the rest go;
 * but what begins before the byte `free` comes whole.
 */
export async function openMirror(id, path, { free = 0 } = {}) {
  const { repo, file: name } = known(id)
  const bytes = await readFile(path)
  const asked = []
  let release
  const released = new Promise((done) => { release = done })
  const server = createServer(async (request, response) => {
    response.setHeader('Access-Control-Allow-Origin', '*')
    response.setHeader('Access-Control-Allow-Headers', 'Range')
    response.setHeader('Access-Control-Expose-Headers', 'Content-Range, Content-Length, ETag')
    if (request.method === 'OPTIONS') return response.writeHead(204).end()
    asked.push(request.url)
    if (request.url !== `/${repo}/resolve/main/${name}`) return response.writeHead(404).end()
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '')
    const start = range ? Number(range[1]) : 0
    const end = range ? Math.min(Number(range[2]) + 1, bytes.length) : bytes.length
    response.writeHead(range ? 206 : 200, { 'Content-Length': end - start, ETag: '"1"', ...(range && { 'Content-Range': `bytes ${start}-${end - 1}/${bytes.length}` }) })
    const closed = new Promise((done) => response.once('close', done))
    const step = Math.ceil((end - start) / 20)
    for (let at = start; at < end && !response.destroyed; at += step) {
      response.write(bytes.subarray(at, Math.min(end, at + step)))
      if (start < free) continue
      if (at + step >= (start + end) / 2) await Promise.race([released, closed])
      else await new Promise((done) => setTimeout(done, 60))
    }
    response.end()
  })
  await new Promise((done) => server.listen(0, '127.0.0.1', done))
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    asked,
    release,
    close: () => { release(); server.closeAllConnections(); return new Promise((done) => server.close(done)) },
  }
}
