// Files come by choosing or by dropping anywhere: a .gguf is a model, everything else a document list.

import { $, notice } from './dom.js'
import { extension, readDocuments } from './documents.js'
import { plural } from './format.js'

export function wireFiles({ list, onmodel }) {
  async function open(file) {
    if (extension(file.name) === 'gguf') return onmodel(file)
    try {
      const documents = await readDocuments(file)
      list.replace(documents, `${plural(documents.length, 'document')} from ${file.name}.`)
    } catch (error) {
      notice($('docs-note'), { kind: 'bad', title: `${file.name} was not read`, text: error.message })
    }
  }

  for (const [id, use] of [['docs-file', open], ['model-file', onmodel]]) {
    const input = $(id)
    input.addEventListener('change', () => {
      const [file] = input.files
      if (file) use(file)
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
    const [file] = event.dataTransfer.files
    if (file) open(file)
  })
}
