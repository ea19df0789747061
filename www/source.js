// Which documents are ranked: the demo texts, or the reader's own. Both are kept; a switch shows one of them.

import { $, announce, press } from './dom.js'
import { plural } from './format.js'

/** `onswitch(from, to)` is called after a switch, each 'demo' or 'own'. */
export function createSource({ list, corpus, onswitch }) {
  const source = {
    current: 'demo',
    /** null while the demo texts are not here. */
    documents: () => (source.current === 'demo' ? corpus.documents : list.get()),
    /** Shows `next` without a word; for a page that has just been opened. */
    set(next) {
      source.current = next
      $('bench').dataset.source = next
      press(...(next === 'demo' ? [$('source-demo'), $('source-own')] : [$('source-own'), $('source-demo')]))
      if (next === 'demo') corpus.load()
    },
    use(next) {
      if (next === source.current) return
      const before = source.current
      source.set(next)
      onswitch(before, next)
    },
  }

  for (const name of ['demo', 'own']) {
    $(`source-${name}`).addEventListener('click', () => {
      if (name === source.current) return
      source.use(name)
      const documents = source.documents()
      announce(`${name === 'demo' ? 'Demo texts' : 'Your own documents'} chosen${documents ? `: ${plural(documents.length, 'document')}` : ''}.`)
    })
  }
  return source
}
