// All scores on one line, so that the gap between what answers and what does not is seen at a glance.
// A picture of the list below it, hence hidden from screen readers.

import { svg } from './dom.js'

const HEIGHT = 46
const BASE = 26
const EDGE = 8
const MANY = 80
const BIN = 5

/** scores: numbers in [low, high], best first; marks: [[value, label]]; the first `bestCount` stand out. */
export function drawStrip(node, scores, { low, high, marks, bestCount }) {
  const width = Math.max(200, node.clientWidth || node.parentElement.clientWidth)
  const x = (value) => EDGE + ((width - 2 * EDGE) * (value - low)) / (high - low || 1)
  const tick = (value, top) => `M${x(value).toFixed(1)} ${top}V${BASE}`
  const ticks = (values, top) => values.map((value) => tick(value, top)).join('')
  const [best, rest] = [scores.slice(0, bestCount), scores.slice(bestCount)]
  const picture = scores.length <= MANY ? [ticks(best, 5), ticks(rest, 11)] : bins([best, rest], x)
  node.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`)
  node.replaceChildren(
    svg('path', { class: 'strip-axis', d: `M${EDGE} ${BASE}H${width - EDGE}` }),
    ...marks.flatMap(([value, label], at) => {
      const text = svg('text', { x: x(value), y: HEIGHT - 4, 'text-anchor': at === 0 ? 'start' : at === marks.length - 1 ? 'end' : 'middle' })
      text.textContent = label
      return [svg('path', { class: 'strip-axis', d: `M${x(value)} ${BASE}v4` }), text]
    }),
    svg('path', { class: 'strip-rest', d: picture[1] }),
    svg('path', { class: 'strip-best', d: picture[0] }),
    svg('path', { class: 'strip-here', d: '' }),
  )
  return { point(value) { node.lastChild.setAttribute('d', value === null ? '' : tick(value, 0)) } }
}

/** Many scores as a histogram: the height of a line is the root of how many fall there. */
function bins(groups, x) {
  const counted = groups.map((values) => {
    const counts = new Map()
    for (const value of values) {
      const at = (Math.floor(x(value) / BIN) + 0.5) * BIN
      counts.set(at, (counts.get(at) ?? 0) + 1)
    }
    return [...counts]
  })
  const most = Math.max(...counted.flat().map(([, n]) => n))
  return counted.map((counts) => counts.map(([at, n]) => `M${at} ${(BASE - 3 - (BASE - 5) * Math.sqrt(n / most)).toFixed(1)}V${BASE}`).join(''))
}
