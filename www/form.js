// Query, instruction, limit and examples: the reader's side of a request, remembered for as long as the tab lives.

import { $, h, settle } from './dom.js'
import { DEFAULT_INSTRUCTION, INSTRUCTIONS, SAMPLES } from './samples.js'
import { session } from './storage.js'

const DEFAULT_LENGTH = 8192
const REMEMBERED_CHARACTERS = 500_000

/** `onchange` is called after every change by the reader. */
export function createForm({ list, onchange }) {
  const save = settle(() => {
    const documents = list.get()
    const size = documents.reduce((sum, document) => sum + document.text.length, 0)
    session.set('form', { ...read(), documents: size <= REMEMBERED_CHARACTERS ? documents : null })
  }, 500)

  const changed = () => { drawNote(); save(); onchange() }

  function read() {
    const length = $('max-length').valueAsNumber
    return {
      query: $('query').value,
      instruction: $('instruction').value.trim() || DEFAULT_INSTRUCTION,
      maxLength: Number.isInteger(length) && length >= 1 ? length : DEFAULT_LENGTH,
    }
  }

  function setInstruction(text) {
    $('instruction').value = text
    $('preset').value = String(INSTRUCTIONS.findIndex((entry) => entry.text === text))
    drawNote()
  }

  function drawNote() {
    const { instruction, maxLength } = read()
    const known = INSTRUCTIONS.find((entry) => entry.text === instruction)
    $('options-note').textContent = [known?.name ?? 'own instruction', `up to ${maxLength} tokens`].join(' · ')
  }

  function use(sample, note) {
    const before = read()
    $('query').value = sample.query
    setInstruction(sample.instruction ?? DEFAULT_INSTRUCTION)
    list.replace(sample.documents.map((text) => ({ text })), note, () => {
      $('query').value = before.query
      setInstruction(before.instruction)
      changed()
    })
    changed()
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
  $('samples').append(...SAMPLES.map((sample) =>
    h('button', { type: 'button', class: 'chip', onclick: () => use(sample, `Example “${sample.name}” filled in.`) }, sample.name)))
  addEventListener('pagehide', () => { save(); save.flush() })

  return {
    read,
    changed,
    /** What this tab had before, or the first example. */
    restore() {
      const before = session.get('form')
      $('max-length').value = String(before?.maxLength ?? DEFAULT_LENGTH)
      if (!Array.isArray(before?.documents)) return use(SAMPLES[0], null)
      $('query').value = String(before.query ?? '')
      setInstruction(String(before.instruction ?? DEFAULT_INSTRUCTION))
      list.replace(before.documents.filter((document) => typeof document?.text === 'string'))
    },
  }
}
