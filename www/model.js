// Which model is loaded. A new one is loaded beside the old one and takes its place only when it is ready, so that a
// bad file or a cancelled download leaves the page as it was. No DOM here.

import { isAbort } from './errors.js'

const SLOW_MS = 250

/**
 * `edge` is the package. `device()` is where to compute, `idle()` resolves when nothing uses the old model any more.
 * `onchange` is called when `current`, `loading` or `error` changed:
 *   current { reranker, source, label, id, host, info, lost }   loading { source, label, event, slow, again }   error { error, source, label }
 * `lost`: its GPU is gone, and its next ranking loads it again (`again`).
 */
export function createModels({ edge, device, remoteHost, idle, onchange }) {
  const models = { current: null, loading: null, error: null, load, cancel, refresh }
  let running = null

  /** source: { label, id?, model, host? } with `model` as Reranker.load takes it, and `host` in place of `remoteHost()`. */
  async function load(source) {
    const { label, id = null, model } = source
    const host = source.host ?? remoteHost()
    let entry = null
    cancel()
    const controller = new AbortController()
    running = controller
    models.error = null
    models.loading = { source, label, event: null, slow: false }
    setTimeout(() => {
      if (running !== controller) return
      models.loading.slow = true
      onchange()
    }, SLOW_MS)
    onchange()
    try {
      const reranker = await edge.Reranker.load({
        model,
        device: device(),
        remoteHost: host ?? undefined,
        signal: controller.signal,
        onProgress: (event) => {
          if (entry) return reloading(entry, event)
          if (running !== controller) return
          models.loading.event = event
          onchange()
        },
      })
      if (running !== controller) return void await reranker.unload()
      const before = models.current
      entry = models.current = { reranker, source, label, id, host, info: reranker.info(), lost: false }
      watch(entry)
      finish()
      await idle()
      await before?.reranker.unload()
    } catch (error) {
      if (running !== controller) return
      if (!isAbort(error)) models.error = { error, source, label }
      finish()
    }
  }

  function finish() {
    running = null
    models.loading = null
    onchange()
  }

  /** A model whose GPU was lost comes back with its next ranking; one whose worker died is no longer the current one. */
  async function watch(entry) {
    entry.watched = entry.reranker.lost
    const { reason } = await entry.watched
    if (models.current !== entry || reason === 'destroyed') return
    if (reason === 'device-lost') entry.lost = true
    else {
      models.current = null
      models.error = {
        source: entry.source,
        label: entry.label,
        error: { code: reason, message: `The model “${entry.label}” stopped working and is no longer loaded.` },
      }
      entry.reranker.unload()
    }
    onchange()
  }

  /** A model that is loaded again by the package says how far it is. */
  function reloading(entry, event) {
    if (models.current !== entry || running) return
    models.loading = event.status === 'ready' ? null : { source: entry.source, label: entry.label, event, slow: true, again: true }
    onchange()
  }

  /** After a ranking: what was loaded again may compute elsewhere now. */
  function refresh() {
    const entry = models.current
    if (!entry?.lost) return
    if (models.loading?.again) models.loading = null
    if (entry.reranker.lost !== entry.watched) {
      entry.lost = false
      entry.info = entry.reranker.info()
      watch(entry)
    }
    onchange()
  }

  function cancel() {
    if (!running) return
    const stopped = running
    finish()
    stopped.abort()
  }

  return models
}

/** What a reader typed -> a URL, a Hugging Face name as it stands, or null when the page may not fetch it. */
export function modelFrom(text) {
  if (text === '') return null
  if (/^(blob|data):/i.test(text)) return { label: 'model.gguf', model: text }
  if (!/^([a-z][a-z\d+.-]*:|[./])/i.test(text)) return { label: text, model: text }
  const address = checkAddress(text)
  if (address === null) return null
  const url = new URL(address)
  if (url.hostname === 'huggingface.co') url.pathname = url.pathname.replace(/^(\/[^/]+\/[^/]+)\/blob\//, '$1/resolve/')
  return { label: url.pathname.split('/').filter(Boolean).pop() ?? url.hostname, model: url }
}

/** An address that a reader or a link gives -> a URL text, or null when it is not one that the page may fetch. */
export function checkAddress(text) {
  let url
  try { url = new URL(text, location.href) } catch { return null }
  const local = url.hostname === 'localhost' || url.hostname === '127.0.0.1'
  return url.origin === location.origin || url.protocol === 'https:' || (url.protocol === 'http:' && local) ? url.href : null
}

/** `?host=` may name this origin or this computer: a link from elsewhere must not choose where models come from. */
export function hostFromLink() {
  const host = new URLSearchParams(location.search).get('host')
  const address = host === null ? null : checkAddress(host)
  if (address === null) return null
  const { origin, hostname } = new URL(address)
  return origin === location.origin || hostname === 'localhost' || hostname === '127.0.0.1' ? address : null
}
