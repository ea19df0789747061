// Files and pasted text -> documents `{ text, id? }`, or a DocumentError that names the line.

import { DocumentError, parseCsv } from './csv.js'

export { DocumentError }

export const MAX_FILE_BYTES = 32e6

export const isFilled = (document) => document.text.trim() !== ''

const PARSERS = {
  txt: parseText, text: parseText, md: parseText,
  jsonl: parseJsonl, ndjson: parseJsonl,
  csv: parseTable, tsv: (text) => parseTable(text, '\t'),
  json: parseJson,
}

/** A chosen or dropped file -> documents. */
export async function readDocuments(file) {
  const parse = PARSERS[extension(file.name)]
  if (!parse) throw new DocumentError(`“${file.name}” is not a document list. Use .txt (one document a line), .jsonl, .csv with a column “text”, or .json.`)
  if (file.size > MAX_FILE_BYTES) throw new DocumentError(`“${file.name}” has ${(file.size / 1e6).toFixed(0)} MB; this page reads up to ${MAX_FILE_BYTES / 1e6} MB.`)
  const documents = parse(decode(new Uint8Array(await file.arrayBuffer())))
  if (!documents.some(isFilled)) throw new DocumentError(`“${file.name}” holds no documents.`)
  return documents
}

export const extension = (name) => name.slice(name.lastIndexOf('.') + 1).toLowerCase()

/** UTF-8, or UTF-16 where a byte order mark says so. */
export function decode(bytes) {
  const encoding = bytes[0] === 0xff && bytes[1] === 0xfe ? 'utf-16le' : bytes[0] === 0xfe && bytes[1] === 0xff ? 'utf-16be' : 'utf-8'
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes)
  } catch {
    throw new DocumentError('The file is not UTF-8 text. Save it as UTF-8 and open it again.', firstBadLine(bytes, encoding))
  }
}

function firstBadLine(bytes, encoding) {
  if (encoding !== 'utf-8') return null
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let start = 0
  for (let line = 1; start < bytes.length; line += 1) {
    const found = bytes.indexOf(10, start)
    const end = found < 0 ? bytes.length : found + 1
    try { decoder.decode(bytes.subarray(start, end)) } catch { return line }
    start = end
  }
  return null
}

const lines = (text) => text.split(/\r\n|\n|\r/)

/** One document a line; blank lines are left out. */
export function parseText(text) {
  return lines(text).filter((line) => line.trim() !== '').map((line) => ({ text: line }))
}

/** A string or `{"text", "id"?}` a line. */
export function parseJsonl(text) {
  const documents = []
  lines(text).forEach((line, at) => {
    if (line.trim() === '') return
    let value
    try {
      value = JSON.parse(line)
    } catch (error) {
      throw new DocumentError(`not valid JSON (${reason(error)})`, at + 1)
    }
    documents.push(toDocument(value, at + 1))
  })
  return documents
}

/** A table with a column `text` and perhaps `id`; other columns are ignored. */
export function parseTable(text, separator) {
  const [header, ...rows] = parseCsv(text, separator)
  if (!header) return []
  const names = header.fields.map((name) => name.trim().toLowerCase())
  const textAt = names.indexOf('text')
  const idAt = names.indexOf('id')
  if (textAt < 0) {
    throw new DocumentError(`the first line must name the columns, one of them “text”; it has ${names.map((name) => `“${shorten(name)}”`).join(', ')}`, header.line)
  }
  return rows.map(({ line, fields }) => {
    if (fields.length !== names.length) {
      throw new DocumentError(`${fields.length} ${fields.length === 1 ? 'field' : 'fields'} where the header has ${names.length}; a separator inside a field needs quotes around it`, line)
    }
    const id = idAt < 0 ? '' : fields[idAt].trim()
    return id === '' ? { text: fields[textAt] } : { text: fields[textAt], id }
  }).filter((document) => document.text.trim() !== '')
}

/** One JSON array of strings or `{"text", "id"?}`. */
export function parseJson(text) {
  let value
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new DocumentError(`not valid JSON (${reason(error)})`, lineOfFault(text, error))
  }
  if (!Array.isArray(value)) throw new DocumentError('a JSON array of documents is needed: ["…", {"text": "…"}]', 1)
  return value.map((item, at) => {
    if (isDocument(item)) return toDocument(item, 1)
    return toDocument(item, lineOfEntry(text, at))
  })
}

const isDocument = (value) => typeof value === 'string' || typeof value?.text === 'string'

function toDocument(value, line) {
  if (typeof value === 'string') return { text: value }
  if (!isDocument(value)) {
    const found = value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value === 'object'
      ? `an object with ${Object.keys(value).slice(0, 4).map((key) => `“${shorten(key)}”`).join(', ') || 'nothing in it'}` : `a ${typeof value}`
    throw new DocumentError(`a string or {"text": "…"} is needed; this is ${found}`, line)
  }
  return value.id === undefined || value.id === null ? { text: value.text } : { text: value.text, id: String(value.id) }
}

const shorten = (text) => (text.length > 24 ? `${text.slice(0, 24)}…` : text)
const reason = (error) => error.message.replace(/^JSON\.parse: /, '').replace(/ in JSON at position .*| \(line .*| at line .*/s, '')

/** Engines tell where JSON broke by position, by line, or not at all. */
function lineOfFault(text, error) {
  const byLine = /line (\d+)/.exec(error.message)
  if (byLine) return Number(byLine[1])
  const byPosition = /position (\d+)/.exec(error.message)
  if (byPosition) return lines(text.slice(0, Math.min(Number(byPosition[1]), text.trimEnd().length))).length
  return /end of (JSON )?(input|data)/i.test(error.message) ? lines(text.trimEnd()).length : null
}

/** The line on which entry `wanted` of a valid JSON array begins. */
export function lineOfEntry(text, wanted) {
  let depth = 0
  let entry = 0
  let line = 1
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at]
    if (char === '\n') line += 1
    else if (depth === 1 && entry === wanted && !/[\s,]/.test(char)) return line
    else if (char === '"') {
      for (at += 1; text[at] !== '"'; at += 1) if (text[at] === '\\') at += 1
    } else if (char === '[' || char === '{') depth += 1
    else if (char === ']' || char === '}') depth -= 1
    else if (char === ',' && depth === 1) entry += 1
  }
  return line
}

/** Documents as the paste box shows them: one a line, ↵ for a line break inside, \↵ for the sign itself. */
export function toLines(documents) {
  return documents.map(({ text }) => text.replace(/(\\*)(\r\n|\n|\r|↵)/g, (_, slashes, mark) => `${slashes}${slashes}${mark === '↵' ? '\\' : ''}↵`)).join('\n')
}

const fromLine = (line) => line.replace(/(\\*)↵/g, (_, slashes) => slashes.slice(0, slashes.length >> 1) + (slashes.length % 2 === 1 ? '↵' : '\n'))

/** The paste box -> documents; a line that was there before keeps its document, id and all. */
export function fromLines(text, before = []) {
  const known = new Map()
  for (const document of before) {
    const line = toLines([document])
    if (known.has(line)) known.get(line).push(document)
    else known.set(line, [document])
  }
  for (const same of known.values()) same.reverse()
  return parseText(text).map((line) => known.get(line.text)?.pop() ?? { text: fromLine(line.text) })
}
