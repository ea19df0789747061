// The documents as the reader edits them: a list of text boxes, or one box with a document a line.

import { $, announce, h, icon, looksLikeCode, notice, press, settle } from './dom.js'
import { fromLines, isFilled, toLines } from './documents.js'
import { count, plural } from './format.js'

const PAGE = 50
const SHOWN_CHARACTERS = 20_000
const PASTED_CHARACTERS = 400_000

/** `onchange` is called after every change of the documents, whoever made it. */
export function createDocumentList({ onchange }) {
  let documents = []
  let shown = PAGE
  let mode = 'list'
  let pasted = null // the paste box's text, as it stood when it was last read

  const changed = () => { updateCount(); onchange() }
  /** An offer to undo ends with the next edit: it would take that back too. Filling an emptied list keeps it. */
  const edited = (before) => {
    if (before.length > 0) $('docs-note').replaceChildren()
    changed()
  }
  const readPaste = settle(() => {
    if ($('paste').readOnly || $('paste').value === pasted) return
    const before = documents
    pasted = $('paste').value
    documents = fromLines(pasted, before)
    edited(before)
  }, 250)

  function updateCount() {
    const filled = documents.filter(isFilled).length
    $('docs-count').textContent = count(filled)
    $('docs-clear').disabled = documents.length === 0
  }

  function row(item, at) {
    const name = `Document ${count(at + 1)}`
    const long = item.text.length > SHOWN_CHARACTERS
    const box = h('textarea', { class: looksLikeCode(item.text) ? 'grow code' : 'grow', rows: String(rowsFor(item.text)), dir: 'auto', spellcheck: 'false', 'aria-label': name, readonly: long })
    box.value = long ? `${item.text.slice(0, SHOWN_CHARACTERS)}…` : item.text
    box.addEventListener('input', () => {
      documents[at] = { ...documents[at], text: box.value }
      box.rows = rowsFor(box.value)
      edited(documents)
    })
    return h('li', {},
      h('span', { class: 'number', 'aria-hidden': 'true' }, String(at + 1)),
      h('div', { class: 'doc-text' }, box,
        item.id !== undefined && h('span', { class: 'doc-id' }, item.id),
        long && h('span', { class: 'doc-id' }, `The first ${count(SHOWN_CHARACTERS)} of ${count(item.text.length)} characters; the whole text is ranked.`)),
      h('button', { type: 'button', class: 'bare', 'aria-label': `Remove document ${at + 1}`, onclick: () => remove(at) }, icon('close')))
  }

  function draw() {
    updateCount()
    if (mode === 'paste') return drawPaste()
    $('docs').replaceChildren(...documents.slice(0, shown).map(row))
    const rest = documents.length - shown
    $('docs-more').hidden = rest <= 0
    $('docs-more-text').textContent = `${count(Math.min(shown, documents.length))} of ${count(documents.length)} are shown; all are ranked.`
  }

  /** A text box of megabytes would freeze the page: such a list can only be replaced. */
  function drawPaste() {
    const size = documents.reduce((sum, document) => sum + document.text.length + 1, 0)
    const fits = size <= PASTED_CHARACTERS
    pasted = fits ? toLines(documents) : ''
    $('paste').value = pasted
    $('paste').readOnly = !fits
    $('paste-replace').hidden = fits
    $('paste-help').textContent = fits
      ? 'One document a line. ↵ stands for a line break inside a document, \\↵ for the sign itself.'
      : `${plural(documents.length, 'document')} with ${count(size)} characters are too much to edit here.`
  }

  function remove(at) {
    const before = documents
    documents = before.filter((_, other) => other !== at)
    draw()
    const buttons = $('docs').querySelectorAll('button.bare')
    const next = buttons[Math.min(at, buttons.length - 1)] ?? $('docs-add')
    next.focus()
    announce(`Document removed, ${plural(documents.length, 'document')} left`)
    edited(before)
  }

  function add() {
    setMode('list')
    const before = documents
    documents = [...before, { text: '' }]
    shown = Math.max(shown, documents.length > shown + PAGE ? shown : documents.length)
    draw()
    const boxes = $('docs').querySelectorAll('textarea')
    boxes[boxes.length - 1].focus()
    edited(before)
  }

  function setMode(next) {
    if (next === mode) return
    readPaste.flush()
    mode = next
    press(...(mode === 'list' ? [$('mode-list'), $('mode-paste')] : [$('mode-paste'), $('mode-list')]))
    $('list-view').hidden = mode !== 'list'
    $('paste-view').hidden = mode !== 'paste'
    $('docs-add').hidden = mode !== 'list'
    draw()
  }

  /** Puts `next` in place of all documents; `note` offers to take that back, and `undone` hears of it. */
  function replace(next, note = null, undone = () => {}) {
    readPaste.flush()
    const before = documents
    documents = next
    shown = PAGE
    draw()
    changed()
    if (note === null) $('docs-note').replaceChildren()
    else if (before.length === 0) notice($('docs-note'), { text: note })
    else notice($('docs-note'), { text: note, action: { label: 'Undo', run: () => { replace(before); undone() } } })
    if (note !== null) announce(note)
  }

  $('docs-add').addEventListener('click', add)
  function clear(next) {
    replace([], `${plural(documents.length, 'document')} cleared.`)
    next.focus()
  }

  $('docs-clear').addEventListener('click', () => clear(mode === 'list' ? $('docs-add') : $('paste')))
  $('paste-replace').addEventListener('click', () => clear($('paste')))
  $('docs-more-button').addEventListener('click', () => {
    const first = shown
    shown += 2 * PAGE
    draw()
    $('docs').children[first]?.querySelector('textarea').focus()
  })
  $('mode-list').addEventListener('click', () => setMode('list'))
  $('mode-paste').addEventListener('click', () => { setMode('paste'); $('paste').focus() })
  $('paste').addEventListener('input', readPaste)

  return {
    /** The documents of now. */
    get: () => { readPaste.flush(); return documents },
    replace,
  }
}

/** Rows for browsers without `field-sizing`. */
function rowsFor(text) {
  let rows = 0
  for (const line of text.split('\n', 8)) rows += Math.max(1, Math.ceil(line.length / 64))
  return Math.min(8, rows)
}
