// The page without a network: sw.js keeps its files, and a note offers a new version when there is one.

import { $, announce, notice } from './dom.js'

const ANSWER_MS = 300_000

/**
 * After the first model is there, so that its load is not slowed. `info` is what that model says of its engine, undefined if none was loaded.
 * `keep()` stores what the reader typed for a reload, and tells whether that was all of it. `onchange(kept)` tells whether the page is kept; it is
 * not called where nothing can be kept at all (a file, an address without https).
 */
export async function keepOffline({ info, keep, onchange }) {
  const container = service()
  if (!container) return
  try {
    const registration = await container.register('./sw.js')
    if (!registration) return
    watch(registration, container, keep)
    if (container.controller && (await isGone())) return void tell(registration.active, { type: 'remove' })
    const worker = await active(registration)
    onchange(info !== undefined && (await tell(worker, { type: 'keep', urls: await builtFiles(info) })))
  } catch {
    onchange(false)
  }
}

/** The addresses of the files that an engine like this one was started from, which were fetched before anybody could keep them. */
async function builtFiles({ instructions, threads }) {
  const [{ nameOf }, { MODULES }] = await Promise.all([import('./edge-reranker/src/builds.js'), import('./edge-reranker/src/builds-threads.js')])
  const { href } = MODULES[nameOf({ relaxed: instructions === 'relaxed-simd', threads: threads > 1 })]
  return [href, href.replace('_bg.wasm', '.js'), new URL('mini.gguf', href).href]
}

/** Asking can throw, in a frame that is boxed in. */
function service() {
  try {
    return globalThis.isSecureContext ? navigator.serviceWorker : undefined
  } catch {
    return undefined
  }
}

/** The site was moved away, or this address is another site's now: a page that is kept must not hide that for ever. */
async function isGone() {
  const response = await fetch('./sw.js', { method: 'HEAD', cache: 'no-store' }).catch(() => null)
  if (!response || response.redirected) return false
  return [404, 410].includes(response.status) || (response.ok && !/javascript/.test(response.headers.get('Content-Type')))
}

/** The worker that answers for this page, once it is installed. */
function active(registration) {
  const worker = registration.active ?? registration.waiting ?? registration.installing
  return new Promise((resolve, reject) => {
    const look = () => {
      if (worker.state === 'activated') resolve(worker)
      else if (worker.state === 'redundant') reject(new Error('The files could not be kept.'))
    }
    worker.addEventListener('statechange', look)
    look()
  })
}

function tell(worker, message) {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = ({ data }) => { port1.close(); resolve(data === true) }
    setTimeout(() => { port1.close(); resolve(false) }, ANSWER_MS)
    worker.postMessage(message, [port2])
  })
}

/** A new version waits until the reader asks for it, here or in another tab, or has closed all tabs of the old one. */
function watch(registration, container, keep) {
  let offered = false
  let updating = Boolean(container.controller)

  function look() {
    if (registration.waiting && container.controller) offer()
  }

  function offer() {
    if (offered) return
    offered = true
    const text = 'A new version of this page is ready.'
    notice($('update'), { text, action: { label: 'Reload', run: () => (keep() ? reload() : warn()) } })
    announce(text)
  }

  function warn() {
    const text = 'The list of documents is too large to be kept when the page is loaded again: you would have to open or paste it once more.'
    notice($('update'), { text, action: { label: 'Reload anyway', run: reload } })
    announce(text)
  }

  function reload() {
    if (!registration.waiting) return location.reload()
    container.addEventListener('controllerchange', () => location.reload(), { once: true })
    registration.waiting.postMessage({ type: 'activate' })
  }

  registration.addEventListener('updatefound', () => registration.installing?.addEventListener('statechange', look))
  container.addEventListener('controllerchange', () => {
    if (updating) offer()
    updating = true
  })
  registration.installing?.addEventListener('statechange', look)
  look()
}
