// The demo texts: fetched once, told in a few words, and browsed in a block whose rows are made when it is first opened.

import { $, h, notice, settle } from './dom.js'
import { LICENCES, SOURCES, credit, link, tag } from './attribution.js'
import { count, languageName, plural } from './format.js'

const FILE = './corpus.jsonl'
const TYPING_MS = 120

/** `documents` are null until they are here: { id, lang, text, source, title?, url?, licence }. `onchange` is called when they are, or could not be fetched. */
export function createCorpus({ onchange }) {
  const corpus = { documents: null, load }
  let loading = null

  /** Fetches them, unless they are here or on their way. */
  function load() {
    loading ??= read()
    return loading
  }

  async function read() {
    $('corpus-note').replaceChildren()
    $('corpus-about').textContent = 'The demo texts are on their way.'
    try {
      const response = await fetch(FILE)
      if (!response.ok) throw new Error(`the server answered ${response.status}`)
      corpus.documents = (await response.text()).trim().split('\n').map((line) => JSON.parse(line))
      describe()
    } catch (error) {
      loading = null
      $('corpus-about').textContent = ''
      notice($('corpus-note'), { kind: 'bad', title: 'The demo texts did not load', text: `${error.message}. Your own documents can be ranked all the same.`, action: { label: 'Try again', run: load }, close: false })
    }
    onchange()
  }

  function describe() {
    const { documents } = corpus
    const translated = documents.filter(({ source }) => SOURCES[source].translated).length
    $('corpus-count').textContent = count(documents.length)
    $('corpus-about').textContent = `${plural(documents.length, 'short text')} in ${tally('lang').length} languages: encyclopaedias, handbooks, shell commands, medicine. `
      + `They are openly licensed, ${count(translated)} were translated by a machine, and none is in mini’s training data.`
    $('corpus-folds').hidden = false
  }

  /** [value, how many], the most frequent first. */
  function tally(field) {
    const counts = new Map()
    for (const document of corpus.documents) counts.set(document[field], (counts.get(document[field]) ?? 0) + 1)
    return [...counts].sort((a, b) => b[1] - a[1])
  }

  function drawRows() {
    $('corpus-lang').append(...tally('lang').map(([lang, n]) => h('option', { value: lang }, `${languageName(lang)} (${n})`)))
    $('corpus-rows').append(...corpus.documents.map((document) => h('li', {},
      tag(document),
      h('div', {}, h('p', { class: 'text', lang: document.lang, dir: 'auto' }, document.text), h('p', { class: 'meta' }, ...credit(document))))))
    filter()
  }

  function filter() {
    const sought = fold($('corpus-find').value.trim())
    const lang = $('corpus-lang').value
    const rows = [...$('corpus-rows').children]
    corpus.documents.forEach((document, at) => { rows[at].hidden = (lang !== '' && document.lang !== lang) || !fold(document.text).includes(sought) })
    const found = rows.filter((row) => !row.hidden).length
    $('corpus-found').textContent = found === 0 ? 'No text is like that.' : `${count(found)} of ${count(rows.length)}`
    $('corpus-rows').hidden = found === 0
    $('corpus-rows').scrollTop = 0
  }

  function drawSources() {
    $('corpus-sources').append(...tally('source').map(([source, n]) => {
      const { licence } = corpus.documents.find((document) => document.source === source)
      const { url, by } = SOURCES[source]
      return h('li', {},
        h('div', {}, link(url, source), h('p', {}, by)),
        h('span', {}, link(LICENCES[licence], licence)),
        h('span', { class: 'figures' }, plural(n, 'text')))
    }))
  }

  for (const [id, draw] of [['corpus-browse', drawRows], ['corpus-credits', drawSources]]) $(id).addEventListener('toggle', draw, { once: true })
  $('corpus-find').addEventListener('input', settle(filter, TYPING_MS))
  $('corpus-lang').addEventListener('change', filter)

  return corpus
}

/** Without what a search should not mind: case, width, accents. */
const fold = (text) => text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase()
