// CSV as RFC 4180 has it: quotes, doubled quotes, separators and line breaks inside quotes. Each record knows its line.

/** A fault of an input at a line: `message` already names the line. */
export class DocumentError extends Error {
  constructor(message, line = null) {
    super(line === null ? message : `Line ${line}: ${message}`)
    this.name = 'DocumentError'
    this.code = 'bad-input'
    this.line = line
  }
}

/** The separator of a table, by its first line: comma unless only a tab or a semicolon is there. */
export function separatorOf(text) {
  const head = text.slice(0, text.search(/[\r\n]|$/)).replace(/"[^"]*"/g, '')
  return head.includes(',') ? ',' : head.includes('\t') ? '\t' : head.includes(';') ? ';' : ','
}

/** text -> [{ line, fields: [string] }], blank lines left out. */
export function parseCsv(text, separator = separatorOf(text)) {
  const records = []
  let fields = []
  let line = 1
  let start = 1
  let at = 0

  const finish = () => {
    if (fields.length > 1 || fields[0] !== '') records.push({ line: start, fields })
    fields = []
  }

  while (at < text.length) {
    if (fields.length === 0) start = line
    if (text[at] === '"') {
      const opened = line
      let value = ''
      for (;;) {
        const close = text.indexOf('"', at + 1)
        if (close < 0) throw new DocumentError('a quote is opened here and never closed', opened)
        const piece = text.slice(at + 1, close)
        line += lineBreaks(piece)
        value += piece
        at = close + 1
        if (text[at] !== '"') break
        value += '"'
      }
      if (at < text.length && text[at] !== separator && text[at] !== '\n' && text[at] !== '\r') {
        throw new DocumentError(`text after a closing quote; a quote inside a field is written twice ("")`, line)
      }
      fields.push(value)
    } else {
      let end = at
      while (end < text.length && text[end] !== separator && text[end] !== '\n' && text[end] !== '\r') end += 1
      fields.push(text.slice(at, end))
      at = end
    }
    if (text[at] === separator) {
      at += 1
      if (at === text.length || text[at] === '\n' || text[at] === '\r') fields.push('')
      else continue
    }
    if (text[at] === '\r') at += 1
    if (text[at] === '\n' && at < text.length) at += 1
    line += 1
    finish()
  }
  return records
}

function lineBreaks(piece) {
  let n = 0
  for (let at = piece.indexOf('\n'); at >= 0; at = piece.indexOf('\n', at + 1)) n += 1
  return n
}

/** Rows as a CSV text with CRLF line ends. */
export function writeCsv(rows) {
  const cell = (value) => {
    const text = value === null || value === undefined ? '' : String(value)
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
  }
  return rows.map((row) => `${row.map(cell).join(',')}\r\n`).join('')
}
