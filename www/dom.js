// The few DOM helpers of the page. Text reaches the document only as text nodes.

export const $ = (id) => document.getElementById(id)

/** h('li', { class: 'row', onclick: f }, 'text', node): strings become text nodes. */
export function h(tag, properties = {}, ...children) {
  const node = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value)
    else node.setAttribute(name, value === true ? '' : value)
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false))
  return node
}

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag)
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value)
  node.append(...children)
  return node
}

export const icon = (name) => svg('svg', { class: 'icon', 'aria-hidden': 'true', focusable: 'false' }, svg('use', { href: `#i-${name}` }))

export const hiddenText = (text) => h('span', { class: 'visually-hidden' }, text)

/** Only for the choice of a typeface: indented lines, options of a command, or an end that prose does not have. */
export const looksLikeCode = (text) => /\n(\t| {2})|[;}]\s*$|=>|\w\(.*\)\s*$|^[a-z][\w.-]* (\S+ )*-{1,2}\w/.test(text.slice(0, 2000))

/** Says something to screen readers without moving the focus. */
export function announce(text) {
  $('status').textContent = text
}

/** A pair of buttons of which one is pressed. */
export function press(pressed, ...others) {
  pressed.setAttribute('aria-pressed', 'true')
  for (const other of others) other.setAttribute('aria-pressed', 'false')
}

/** Calls f at most once in `ms`, with the last arguments; flush() calls it now. */
export function settle(f, ms) {
  let timer = null
  const run = () => { clearTimeout(timer); timer = null; f() }
  const later = () => { timer ??= setTimeout(run, ms) }
  later.flush = () => { if (timer !== null) run() }
  return later
}

/** A message with an optional action, put into `place` (which it replaces). */
export function notice(place, { kind = 'plain', title, text, hint, code, action, close = true }) {
  const box = h('div', { class: `notice ${kind}`, role: kind === 'bad' ? 'alert' : null },
    h('div', { class: 'notice-text' },
      title && h('p', { class: 'notice-title' }, title, code && h('code', {}, code)),
      text && h('p', {}, text),
      hint && h('p', { class: 'notice-hint' }, hint)),
    action && h('button', { type: 'button', class: 'small', onclick: () => { place.replaceChildren(); action.run() } }, action.label),
    close && h('button', { type: 'button', class: 'bare', 'aria-label': 'Dismiss', onclick: () => place.replaceChildren() }, icon('close')))
  place.replaceChildren(box)
}
