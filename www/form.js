// Query, instruction and limit: the reader's side of a request, remembered with the documents for as long as the tab lives.

import { $, h, settle } from './dom.js'
import { isExample } from './examples.js'
import { count, plural } from './format.js'
import { QUERIES } from './queries.js'
import { DEFAULT_INSTRUCTION, INSTRUCTIONS } from './samples.js'
import { session } from './storage.js'

const DEFAULT_LENGTH = 8192
const SHORTEST = 128
const REMEMBERED_CHARACTERS = 500_000

/** `onchange` is called after every change by the reader. */
export function createForm({ list, source, onchange }) {
  /** The question that each source was left with. */
  const asked = { demo: QUERIES[0], own: { query: '' } }

  /** Whether a reload of the page gives all of it back. */
  function keep() {
    const documents = list.get()
    const size = documents.reduce((sum, document) => sum + document.text.length, 0)
    const kept = { ...read(), count: documents.length, source: source.current, asked }
    if (size <= REMEMBERED_CHARACTERS && session.set('form', { ...kept, documents })) return true
    session.set('form', kept)
    return false
  }
  const save = settle(keep, 500)

  const changed = () => { drawNote(); save(); onchange() }

  let longest = DEFAULT_LENGTH // what the loaded model takes
  const usual = () => Math.min(DEFAULT_LENGTH, longest)
  const shortest = () => Math.min(SHORTEST, longest)

  /** The limit of now, or null where the box holds none. */
  function length() {
    const value = $('max-length').valueAsNumber
    return Number.isInteger(value) && value >= shortest() && value <= longest ? value : null
  }

  /** `maxLength` only where the reader chose one: the model knows its own. */
  function read() {
    const limit = length()
    return {
      query: $('query').value,
      instruction: $('instruction').value.trim() || DEFAULT_INSTRUCTION,
      maxLength: limit === null || limit === usual() ? undefined : limit,
    }
  }

  function setInstruction(text) {
    $('instruction').value = text
    $('preset').value = String(INSTRUCTIONS.findIndex((entry) => entry.text === text))
    drawNote()
  }

  function drawNote() {
    const { instruction } = read()
    const limit = length()
    const fault = limit === null ? `A whole number from ${count(shortest())} to ${count(longest)} is needed.` : ''
    if ($('max-length-error').textContent !== fault) $('max-length-error').textContent = fault
    $('max-length').setAttribute('aria-invalid', String(limit === null))
    const known = INSTRUCTIONS.find((entry) => entry.text === instruction)
    $('options-note').textContent = [known?.name ?? 'own instruction', limit === null ? 'no valid limit' : `up to ${count(limit)} tokens`].join(' · ')
  }

  /** Fills in a question; gives what takes it back. */
  function ask({ query, instruction = DEFAULT_INSTRUCTION }) {
    const before = read()
    fill({ query, instruction })
    changed()
    return () => { fill(before); changed() }
  }

  function fill(question) {
    const { query, instruction } = question ?? {}
    $('query').value = String(query ?? '')
    setInstruction(String(instruction ?? DEFAULT_INSTRUCTION))
  }

  $('preset').append(...INSTRUCTIONS.map((entry, at) => h('option', { value: String(at) }, entry.name)), h('option', { value: '-1' }, 'Something else'))
  $('preset').addEventListener('change', () => {
    const entry = INSTRUCTIONS[Number($('preset').value)]
    if (entry) setInstruction(entry.text)
    else $('instruction').focus()
    changed()
  })
  $('instruction').addEventListener('input', () => { $('preset').value = String(INSTRUCTIONS.findIndex((entry) => entry.text === $('instruction').value.trim())); changed() })
  for (const id of ['query', 'max-length']) $(id).addEventListener('input', changed)
  addEventListener('pagehide', () => { save(); save.flush() })

  return {
    read,
    changed,
    keep,
    ask,
    /** The documents are others now. An example's question goes with its documents; what was typed stays. */
    swap(from, to) {
      asked[from] = read()
      if (isExample($('query').value)) fill(asked[to])
      changed()
    },
    /** What keeps a ranking from starting: [text, id of the box], or null. */
    fault() {
      if (length() !== null) return null
      $('options').open = true
      return [`Longest prompt: ${$('max-length-error').textContent}`, 'max-length']
    },
    /** The loaded model takes prompts of up to `most` tokens. */
    allow(most) {
      if (!most || most === longest) return
      const untouched = $('max-length').value === String(usual())
      longest = most
      $('max-length').max = String(longest)
      $('max-length').min = String(shortest())
      if (untouched) $('max-length').value = String(usual())
      drawNote()
    },
    /** What this tab had before, or the demo texts with the first question to them. */
    restore() {
      const before = session.get('form')
      $('max-length').value = String(Math.min(before?.maxLength || DEFAULT_LENGTH, longest))
      Object.assign(asked, before?.asked)
      fill(before ?? asked.demo)
      source.set(before === null || before.source === 'demo' ? 'demo' : 'own')
      if (before === null) list.replace([])
      else if (Array.isArray(before.documents)) list.replace(before.documents.filter((document) => typeof document?.text === 'string'))
      else list.replace([], `The list of ${plural(Number(before.count) || 0, 'document')} was too large to be kept when the page was loaded again. Open or paste it once more.`)
    },
  }
}
