// The ranking: rows while scores come in, and the finished list with its figures.

import { credit, tag } from './attribution.js'
import { $, h, hiddenText, looksLikeCode, notice, press } from './dom.js'
import { count, duration, logit as logitText, percent, plural, speed } from './format.js'
import { settings } from './storage.js'
import { drawStrip } from './strip.js'

const PAGE = 50
const LIVE = 20
const LONG = 400
const LONG_DEMO = 240 // they are many, and for a look
const CHANGED = 'Query, options or documents have changed since this ranking.'

/**
 * What is shown: { documents, entries: [{ index, score, logit, tokens?, truncated? }] best first, live }.
 * `documents` are the ones that were sent, in their order; `at` is the place of each in the reader's list.
 */
export function createResults() {
  let shown = null
  let limit = PAGE
  let unit = settings.get('unit') === 'logit' ? 'logit' : 'percent'
  let strip = null
  let said = { text: null, changed: false }

  function setUnit(next) {
    unit = next
    settings.set('unit', unit)
    press(...(unit === 'logit' ? [$('show-logit'), $('show-percent')] : [$('show-percent'), $('show-logit')]))
    if (shown) draw()
  }

  function scale(entries) {
    if (unit === 'percent') return { of: (entry) => entry.score, low: 0, high: 1, marks: [0, 0.25, 0.5, 0.75, 1].map((at) => [at, `${at * 100} %`]) }
    const reach = Math.max(1, ...[entries[0], entries.at(-1)].map((entry) => Math.ceil(Math.abs(entry.logit))))
    return { of: (entry) => entry.logit, low: -reach, high: reach, marks: [[-reach, `−${reach}`], [0, '0'], [reach, `+${reach}`]] }
  }

  function draw() {
    const { entries, live } = shown
    const measure = scale(entries)
    const rows = entries.slice(0, live ? LIVE : limit)
    $('empty').hidden = true
    $('ranked').hidden = false
    $('ranked').setAttribute('aria-busy', String(live))
    $('ranked').replaceChildren(...rows.map((entry, at) => row(entry, at + 1, measure)))
    const rest = entries.length - rows.length
    $('ranked-more').hidden = rest <= 0
    $('ranked-more-button').hidden = live
    $('ranked-more-text').textContent = `The best ${count(rows.length)} of ${count(entries.length)} are shown.`
    $('strip').removeAttribute('hidden')
    strip = drawStrip($('strip'), entries.map(measure.of), { ...measure, bestCount: entries.filter((entry) => entry.score >= 0.5).length })
  }

  function drawNote() {
    const text = [said.text, shown && said.changed && CHANGED].filter(Boolean).join(' ')
    if (text) notice($('answer-notes'), { text, close: false })
    else $('answer-notes').replaceChildren()
  }

  /** A ranking in the making cannot be exported. */
  function allowExport(allowed) {
    for (const id of ['copy-json', 'save-json', 'save-csv']) $(id).disabled = !allowed
  }

  function row(entry, rank, measure) {
    const item = shown.documents[entry.index]
    const node = h('li', { class: entry.score >= 0.5 ? 'yes' : null },
      h('span', { class: 'rank', 'aria-hidden': 'true' }, count(rank)),
      item.source ? tag(item) : movement(entry, item, rank),
      h('div', { class: 'score' },
        hiddenText(unit === 'percent' ? 'score ' : 'logit '),
        h('span', { class: 'score-number' }, unit === 'percent' ? percent(entry.score) : logitText(entry.logit)),
        bar(measure, measure.of(entry))),
      h('div', { class: 'body' }, body(item), entry.tokens === undefined ? null : meta(entry, item)))
    node.addEventListener('pointerenter', () => strip.point(measure.of(entry)))
    node.addEventListener('pointerleave', () => strip.point(null))
    return node
  }

  setUnit(unit)
  $('show-percent').addEventListener('click', () => setUnit('percent'))
  $('show-logit').addEventListener('click', () => setUnit('logit'))
  $('ranked-more-button').addEventListener('click', () => {
    const first = limit
    limit += 2 * PAGE
    draw()
    const next = $('ranked').children[first]
    next?.setAttribute('tabindex', '-1')
    next?.focus()
  })
  let width = 0
  new ResizeObserver(([{ contentRect }]) => {
    if (shown && contentRect.width !== width) draw()
    width = contentRect.width
  }).observe($('answer'))

  return {
    /** Scores so far. */
    live(documents, entries) {
      shown = { documents, entries, live: true }
      $('timings').hidden = true
      allowExport(false)
      draw()
      drawNote()
    },
    /** A finished ranking, or what a cancelled one had. */
    show(documents, entries, figures = null) {
      shown = { documents, entries, live: false }
      limit = PAGE
      draw()
      drawNote()
      allowExport(figures !== null)
      $('answer-tools').hidden = figures === null
      $('timings').hidden = figures === null
      if (figures) $('timings').replaceChildren(...figures.map(figure))
    },
    clear() {
      shown = null
      for (const id of ['ranked', 'ranked-more', 'strip', 'timings', 'answer-tools']) $(id).setAttribute('hidden', '')
      $('empty').hidden = true
      drawNote()
    },
    /** A new ranking begins: gives what was said about the one that is still shown. */
    begin() {
      const before = { ...said, shown: shown !== null }
      said = { text: null, changed: false }
      drawNote()
      return before
    },
    /** Nothing came of it. */
    back(before) {
      said.changed ||= before.changed
    },
    /** What the ranking was made from has been edited, perhaps while it ran. */
    changed() {
      said.changed = true
      drawNote()
    },
    note(text) {
      said.text = text
      drawNote()
    },
  }
}

/** The figures of a reply: [name, value, detail]. */
export function figuresOf(result, documents) {
  const { usage, timings } = result
  const seconds = timings.inferMs / 1000
  const computed = usage.promptTokens - usage.prefixReusedTokens
  const rate = (n) => (seconds > 0 ? speed(n / seconds) : '–')
  return [
    ['Time', duration(timings.totalMs), `${duration(timings.tokenizeMs)} of it tokenising`],
    ['Tokens a second', rate(computed), `${count(computed)} tokens computed`],
    ['Documents a second', rate(documents), plural(documents, 'document')],
    ['Prefix reused', usage.promptTokens > 0 ? `${Math.round((100 * usage.prefixReusedTokens) / usage.promptTokens)} %` : '–', `of ${count(usage.promptTokens)} prompt tokens`],
  ]
}

const figure = ([name, value, detail]) => h('div', {}, h('dt', {}, name), h('dd', {}, h('span', { class: 'figure' }, value), h('span', { class: 'detail' }, detail)))

/** Places mean something only against the whole list, so an unfinished ranking shows none. */
function movement({ tokens }, { at }, rank) {
  if (tokens === undefined) return h('span')
  const from = at + 1
  const by = from - rank
  const kind = by > 0 ? 'up' : by < 0 ? 'down' : 'same'
  const words = by === 0 ? `same place as before, ` : `${kind} ${plural(Math.abs(by), 'place')} from ${count(from)}, `
  const sign = by > 0 ? `▲${count(by)}` : by < 0 ? `▼${count(-by)}` : '='
  return h('span', { class: `moved ${kind}`, title: by === 0 ? `Was ${count(from)}` : `Was ${count(from)}, now ${count(rank)}` },
    h('span', { 'aria-hidden': 'true' }, sign), hiddenText(words))
}

function bar({ low, high }, value) {
  const origin = Math.max(0, low)
  const place = (at) => (100 * (at - low)) / (high - low)
  const fill = h('span', { class: 'fill' })
  fill.style.left = `${place(Math.min(origin, value))}%`
  fill.style.width = `${Math.abs(place(value) - place(origin))}%`
  return h('span', { class: low < 0 ? 'bar centred' : 'bar', 'aria-hidden': 'true' }, fill)
}

function body({ text, lang, source }) {
  const paragraph = h('p', { class: looksLikeCode(text) ? 'text code' : 'text', dir: 'auto', lang })
  const most = source ? LONG_DEMO : LONG
  if (text.length <= most * 1.2) {
    paragraph.textContent = text
    return paragraph
  }
  const button = h('button', { type: 'button', class: 'link', 'aria-expanded': 'false' })
  const set = (whole) => {
    paragraph.textContent = whole ? text : `${text.slice(0, most).replace(/\s+\S{0,20}$/, '')}…`
    button.textContent = whole ? 'Show less' : `Show all ${count(text.length)} characters`
    button.setAttribute('aria-expanded', String(whole))
  }
  button.addEventListener('click', () => set(button.getAttribute('aria-expanded') === 'false'))
  set(false)
  return h('div', {}, paragraph, button)
}

function meta(entry, item) {
  return h('p', { class: 'meta' },
    ...(item.source ? credit(item, { linked: true }) : [item.id !== undefined && h('span', { class: 'id' }, item.id)]),
    h('span', {}, plural(entry.tokens, 'token')),
    entry.truncated && h('span', { class: 'cut', title: 'The prompt was longer than the limit under Options; the document’s end was cut.' }, 'Truncated'))
}
