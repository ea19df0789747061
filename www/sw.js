// Keeps the page for use without a network: the page and the package's scripts when it is installed, and of the package's built files those
// that this browser uses. Models from elsewhere are kept by the package.
//
// The build writes above: FILES, path -> SHA-256 of every file ('' is the page), and VERSION. A file is kept only if it is the one listed, so
// that kept files always fit together. Each version has a cache of its own. A new one waits until no page of an older one is open, or until a
// reader asks for it; pages of the older one that are still open then, and their workers, go on with its files.
/* global FILES, VERSION */

const SCOPE = self.registration.scope
const PREFIX = `edge-reranker page ${SCOPE} ` // other folders of this origin may hold the page too
const NAME = PREFIX + VERSION
const ANY = { ignoreVary: true }
const MARK = `${SCOPE}?clients` // in a version's cache once it was in use: null, or the ids of the clients it still serves when a newer one is in use

const isOnDemand = (path) => path.startsWith('edge-reranker/dist/')
const addressOf = (path) => SCOPE + path
const match = async (name, path) => (await caches.open(name)).match(addressOf(path), ANY)
const olderNames = async () => (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== NAME)

self.addEventListener('install', (event) => event.waitUntil(install()))
self.addEventListener('activate', (event) => event.waitUntil(takeOver()))
self.addEventListener('message', (event) => event.waitUntil(hear(event)))
self.addEventListener('fetch', (event) => {
  const path = pathOf(event.request)
  if (path !== null) event.respondWith(answer(event, path))
})

/** What is ours to answer; null for all else. */
function pathOf({ url, method, mode, headers }) {
  const { href, origin, pathname, search } = new URL(url)
  if (method !== 'GET' || headers.has('range') || !href.startsWith(SCOPE)) return null
  if (search && mode !== 'navigate') return null
  const path = (origin + pathname).slice(SCOPE.length).replace(/^index\.html$/, '')
  return Object.hasOwn(FILES, path) ? path : null
}

async function install() {
  try {
    const older = await olderNames()
    const used = async (path) => (await Promise.all(older.map((name) => match(name, path)))).some(Boolean)
    // All have ended before anything is deleted: one that is still under way would open the cache again.
    const kept = await Promise.allSettled(Object.keys(FILES).map(async (path) => {
      if (!isOnDemand(path) || (await used(path))) await keep(path, older)
    }))
    const failed = kept.find(({ status }) => status === 'rejected')
    if (failed) throw failed.reason
  } catch (error) {
    await caches.delete(NAME)
    throw error
  }
}

/** Sees to it that a file is kept: from an older version where it is the same, else from the server. */
async function keep(path, older = []) {
  if (await match(NAME, path)) return
  for (const name of older) {
    const response = await match(name, path)
    if (response && (await isListed(path, response))) return put(path, response)
  }
  const response = await fetch(addressOf(path), { cache: 'no-cache' })
  if (!(await isListed(path, response))) throw new Error(`${addressOf(path)} is not the file of this version.`)
  await put(path, response)
}

const put = async (path, response) => (await caches.open(NAME)).put(addressOf(path), response)

async function isListed(path, response) {
  if (!response.ok || response.redirected) return false
  const digest = await crypto.subtle.digest('SHA-256', await response.clone().arrayBuffer())
  return FILES[path] === Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** Without storage, as if there were no service worker. */
async function answer(event, path) {
  const name = await versionFor(event).catch(() => NAME)
  const kept = await match(name, path).catch(() => null)
  if (kept) return kept
  const response = await fetch(event.request)
  if (name === NAME && !removed) {
    const copy = response.clone()
    event.waitUntil(isListed(path, copy).then((listed) => listed && put(path, copy)).catch(() => {}))
  }
  return response
}

/** name of an older version -> the ids of its pages and workers. Kept in its cache too, since this worker may be ended at any time. */
let stayers = null

const readMark = async (name) => (await (await caches.open(name)).match(MARK))?.json()
const writeMark = async (name, ids) => (await caches.open(name)).put(MARK, new Response(JSON.stringify(ids)))

async function readStayers() {
  const marked = await Promise.all((await olderNames()).map(async (name) => [name, await readMark(name)]))
  return new Map(marked.filter(([, ids]) => Array.isArray(ids)).map(([name, ids]) => [name, new Set(ids)]))
}

/** A page that is opened is one of this version; what an older page starts is of its. */
async function versionFor(event) {
  stayers ??= readStayers()
  const older = await stayers
  if (event.request.mode === 'navigate') {
    if (older.size > 0) event.waitUntil(forget(older))
    return NAME
  }
  for (const [name, ids] of older) {
    if (!ids.has(event.clientId)) continue
    if (event.resultingClientId) {
      ids.add(event.resultingClientId)
      await writeMark(name, [...ids])
    }
    return name
  }
  return NAME
}

/** Removes versions that nobody uses any more. */
async function forget(older) {
  for (const [name, ids] of older) {
    const alive = await Promise.all([...ids].map((id) => self.clients.get(id)))
    if (alive.some(Boolean)) continue
    older.delete(name)
    await caches.delete(name)
  }
}

async function takeOver() {
  const older = await olderNames()
  const marks = new Map(await Promise.all(older.map(async (name) => [name, await readMark(name)])))
  const known = new Set([...marks.values()].flat())
  const open = (await self.clients.matchAll({ type: 'all' })).map(({ id }) => id)
  for (const [name, ids] of marks) {
    const stay = ids === undefined ? [] : open.filter((id) => (ids === null ? !known.has(id) : ids.includes(id)))
    if (stay.length > 0) await writeMark(name, stay)
    else await caches.delete(name)
  }
  await writeMark(NAME, null)
  stayers = readStayers()
  if (older.length === 0) await self.clients.claim()
}

/** From the page: { type: 'activate' }, { type: 'keep', urls } and { type: 'remove' }; the last two are answered with whether it was done. */
async function hear({ data, ports: [port] }) {
  if (data?.type === 'activate') return self.skipWaiting()
  const act = { keep: () => keepAll(data.urls), remove }[data?.type]
  if (!act) return
  const done = await act().then(() => true, () => false)
  port?.postMessage(done)
}

const keepAll = (urls) => Promise.all(urls.map((url) => pathOf(new Request(url))).filter((path) => path !== null).map((path) => keep(path)))

let removed = false

async function remove() {
  removed = true
  await self.registration.unregister()
  await Promise.all([...(await olderNames()), NAME].map((name) => caches.delete(name)))
}
