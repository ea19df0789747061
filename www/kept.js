// What this browser keeps: downloaded models with their sizes, parts of some that can be gone on with, and the page itself.

import { $, announce, h } from './dom.js'
import { bytes, plural } from './format.js'
import { modelFrom } from './model.js'
import { hubAddress } from './model-panel.js'

const WRITTEN_MS = 1500

/**
 * `api` is the package's `models`, `models` those of the page. `onchange` is called when something is stored or deleted.
 */
export function createKept({ api, models, onchange }) {
  let usage = null
  let fault = null // why nothing is known of the storage
  let whole = new Set() // the short names whose files are all here
  let names = new Map()
  let drawn = null
  let busy = false // a load that may store something runs
  let turn = 0

  const isOfHub = (model) => hostOf(model.remoteHost) === hostOf(hubAddress())

  function isInUse({ id, remoteHost }) {
    const { current } = models
    if (!current || current.source.model instanceof Blob) return false
    const names = [current.id, String(current.source.model), current.info.name]
    return names.includes(id) && (isAddress(id) || hostOf(remoteHost) === hostOf(current.host))
  }

  /** Reads what is stored; the latest answer counts. */
  async function read() {
    const mine = (turn += 1)
    const next = { usage: null, fault: null, whole: new Set() }
    try {
      if (!globalThis.isSecureContext) throw new Error('browsers store them for pages that come over https')
      if (typeof api.usage !== 'function') throw new Error('this version of the package stores none')
      next.usage = await api.usage()
      for (const id of names.keys()) if (await api.isCached?.(id, { remoteHost: hubAddress() ?? undefined })) next.whole.add(id)
    } catch (error) {
      next.fault = error.message
    }
    const persisted = await isPersisted()
    if (mine !== turn) return
    ;({ usage, fault, whole } = next)
    $('kept-persist').hidden = persisted !== false || typeof api.persist !== 'function' || !usage?.models.length
    drawRows()
    onchange()
  }

  function drawRows() {
    const list = usage?.models ?? []
    const used = usage && [bytes(usage.bytes), 'in', plural(list.length, 'model')].join(' ')
    $('kept-sum').textContent = fault
      ? `Nothing: a model is held in memory while this page is open (${fault.replace(/\.$/, '')}).`
      : list.length === 0 ? 'No model yet. One that you download is kept, and is not fetched again.'
      : `${used}${usage.quota ? `, of ${bytes(usage.quota)} that the browser allows` : ''}`
    $('kept-clear').hidden = list.length < 2
    $('kept-models').hidden = list.length === 0
    const state = JSON.stringify([list, list.map(isInUse), models.loading?.label])
    if (state === drawn) return
    drawn = state
    const focused = $('kept-models').contains(document.activeElement)
    $('kept-models').replaceChildren(...list.map(row))
    if (focused) focusTitle()
  }

  /** Where the button that was pressed is gone. */
  const focusTitle = () => $('kept-title').focus({ preventScroll: true })

  function row(model) {
    const name = names.get(model.id) ?? model.id
    const inUse = isInUse(model)
    const known = names.has(model.id) ? { label: name, id: model.id, model: model.id } : modelFrom(model.id)
    const source = known && { ...known, host: hostOf(model.remoteHost) }
    const doing = model.partial ? 'Resume' : 'Load'
    return h('li', {},
      h('span', { class: 'name' }, model.remoteHost ? `${name}, from ${new URL(model.remoteHost).host}` : name),
      h('span', { class: 'figures' }, model.partial ? `${bytes(model.bytes)}, a part` : bytes(model.bytes)),
      inUse && h('span', { class: 'help' }, 'in use'),
      !inUse && source && h('button', { type: 'button', class: 'small', 'aria-label': `${doing}: ${name}`, disabled: models.loading?.label === source.label, onclick: () => models.load(source) }, doing),
      asking('Delete', `Delete ${bytes(model.bytes)}?`, name, () => remove([model])))
  }

  /** A button that acts when it is pressed twice. */
  function asking(label, question, name, act) {
    const calm = () => { button.textContent = label; button.classList.remove('sure'); button.setAttribute('aria-label', `${label}: ${name}`) }
    const button = h('button', {
      type: 'button', class: 'small',
      onclick: () => {
        if (button.classList.contains('sure')) { calm(); return act() }
        button.textContent = question
        button.classList.add('sure')
        button.setAttribute('aria-label', `${question} ${name}`)
        announce(`${question} Press again to delete.`)
      },
      onblur: calm,
      onkeydown: (event) => { if (event.key === 'Escape') calm() },
    })
    calm()
    return button
  }

  async function remove(list) {
    const said = []
    for (const model of list) {
      const name = names.get(model.id) ?? model.id
      try {
        await api.delete(model.id, { remoteHost: model.remoteHost })
        said.push(`${name} was deleted.${isInUse(model) ? ' It stays loaded until you load another or leave the page.' : ''}`)
      } catch (error) {
        said.push(`${name} was not deleted: ${error.message}`)
      }
    }
    say(said.join(' '))
    const focused = document.activeElement === clear
    await read()
    if (focused && clear.hidden) focusTitle()
  }

  async function persist() {
    const agreed = await Promise.resolve(api.persist()).catch(() => false)
    say(agreed ? 'The browser will not clear this by itself.' : 'The browser did not agree. It may clear this when the disk gets full.')
    $('kept-persist').hidden = agreed
    if (agreed) focusTitle()
  }

  function say(text) {
    $('kept-note').hidden = false
    $('kept-note').textContent = text
    announce(text)
  }

  const clear = asking('Delete all', 'Delete all models?', 'models kept in this browser', () => remove(usage.models))
  clear.id = 'kept-clear'
  clear.hidden = true
  $('kept-clear').replaceWith(clear)
  $('kept-persist').addEventListener('click', persist)
  $('hub').addEventListener('change', read)

  return {
    read,
    /** How the short names are called here: [[id, name]]. */
    name(entries) { names = new Map(entries) },
    /** What is here of a model that has a short name: { whole, bytes }, or undefined. */
    of(id) {
      const stored = usage?.models.find((model) => model.id === id && isOfHub(model))
      return whole.has(id) || stored?.partial ? { whole: whole.has(id), bytes: stored?.bytes ?? 0 } : undefined
    },
    /** A load that has ended may have stored something; one that was cancelled may still be writing the last of it. */
    draw() {
      const ended = busy && !models.loading
      busy = Boolean(models.loading)
      if (!ended) return drawRows()
      read()
      setTimeout(read, WRITTEN_MS)
    },
    ofPage(kept) {
      $('kept-page').hidden = false
      $('kept-page').textContent = kept
        ? 'The page itself and mini are kept too: they work without a network.'
        : 'The page itself could not be kept: it needs the network when it is opened again.'
    },
  }
}

const isAddress = (id) => /^https?:/.test(id)

/** A host as the package writes it; the hub where none is named. */
const hostOf = (address) => (address || $('hub').placeholder).replace(/\/+$/, '')

/** undefined where the browser cannot be asked. */
async function isPersisted() {
  try {
    return await navigator.storage.persisted()
  } catch {
    return undefined
  }
}
