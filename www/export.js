// A finished ranking as JSON and CSV, to the clipboard and to files.

import { LICENCES } from './attribution.js'
import { writeCsv } from './csv.js'
import { h } from './dom.js'

/** A demo text keeps what its licence asks for. */
const originOf = ({ lang, source, title, url, licence }) => (source ? { lang, source, ...(url && { title, url }), licence, licenceUrl: LICENCES[licence] } : {})

/** The ranking with its texts, so that the file stands alone. */
export function toJson({ query, instruction, documents, result }) {
  return {
    query,
    instruction,
    model: result.model,
    device: result.device,
    results: result.results.map(({ index, relevanceScore, logit, tokens, truncated }, at) => {
      const { at: index_, id, text } = documents[index]
      return { rank: at + 1, index: index_, ...(id !== undefined && { id }), relevanceScore, logit, tokens, truncated, text, ...originOf(documents[index]) }
    }),
    usage: result.usage,
    timings: result.timings,
  }
}

/** Spreadsheets take a text that begins like a formula for one. */
const harmless = (text) => (/^[=+@\t\r-]/.test(text ?? '') ? `'${text}` : text)

/** With a byte order mark, by which spreadsheets know UTF-8; `index` counts from 0 in the reader's list. */
export function toCsv({ documents, result }) {
  const origins = documents.some(({ source }) => source) ? { lang: 'language', source: 'source', title: 'title', url: 'url', licence: 'licence', licenceUrl: 'licence_url' } : {}
  return `\ufeff${writeCsv([
    ['rank', 'index', 'id', 'relevance_score', 'logit', 'tokens', 'truncated', 'text', ...Object.values(origins)],
    ...result.results.map(({ index, relevanceScore, logit, tokens, truncated }, at) => {
      const origin = originOf(documents[index])
      return [at + 1, documents[index].at, harmless(documents[index].id), relevanceScore, logit, tokens, truncated, harmless(documents[index].text),
        ...Object.keys(origins).map((field) => harmless(origin[field]))]
    }),
  ])}`
}

export function save(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }))
  const link = h('a', { href: address, download: name })
  link.click()
  setTimeout(() => URL.revokeObjectURL(address), 10_000)
}

/** True when the clipboard took it. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    return copyBySelection(text)
  }
}

/** Pages that are not in a secure context have no clipboard object. */
function copyBySelection(text) {
  const before = document.activeElement
  const box = h('textarea', { class: 'visually-hidden', 'aria-hidden': 'true', readonly: true })
  box.value = text
  document.body.append(box)
  box.select()
  const done = document.execCommand('copy')
  box.remove()
  before?.focus()
  return done
}
