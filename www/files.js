// Files come by choosing or by dropping anywhere: a .gguf is a model, everything else a document list.

import { $, notice } from './dom.js'
import { extension, isFilled, readDocuments } from './documents.js'
import { plural } from './format.js'

export function wireFiles({ list, onmodel }) {
  const refuse = (title, text) => notice($('docs-note'), { kind: 'bad', title, text })

  /** Several lists become one, in the order of the files; of several models none is guessed at. */
  async function open(files) {
    const models = files.filter((file) => extension(file.name) === 'gguf')
    const lists = files.filter((file) => !models.includes(file))
    if (models.length === 1) onmodel(models[0])
    if (lists.length > 0) await openLists(lists)
    if (models.length > 1) refuse('One model at a time', `${names(models)} are models, and none was opened.`)
  }

  async function openLists(files) {
    const documents = []
    for (const file of files) {
      try {
        for (const document of await readDocuments(file)) documents.push(document)
      } catch (error) {
        return refuse(`${file.name} was not read`, [error.message, files.length > 1 && 'The other files were left out too.'].filter(Boolean).join(' '))
      }
    }
    const filled = documents.filter(isFilled).length
    const empty = documents.length - filled
    list.replace(documents, `${plural(filled, 'document')} from ${names(files)}${empty > 0 ? `, and ${empty} without text, which ${empty === 1 ? 'is' : 'are'} not ranked` : ''}.`)
  }

  for (const [id, use] of [['docs-file', open], ['model-file', ([file]) => onmodel(file)]]) {
    const input = $(id)
    input.addEventListener('change', () => {
      const files = [...input.files]
      if (files.length > 0) use(files)
      input.value = ''
    })
  }

  const veil = $('drop-veil')
  const carriesFiles = (event) => event.dataTransfer?.types.includes('Files')
  document.addEventListener('dragover', (event) => {
    if (!carriesFiles(event)) return
    event.preventDefault()
    veil.hidden = false
  })
  document.addEventListener('dragleave', (event) => { if (event.relatedTarget === null) veil.hidden = true })
  document.addEventListener('drop', (event) => {
    veil.hidden = true
    if (!carriesFiles(event)) return
    event.preventDefault()
    open([...event.dataTransfer.files])
  })
}

const names = (files) => new Intl.ListFormat('en').format(files.map((file) => file.name))
