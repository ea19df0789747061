// The examples above the query: questions to the demo texts, which are ranked at once, or small lists with a question of their own.

import { $, h } from './dom.js'
import { QUERIES } from './queries.js'
import { SAMPLES } from './samples.js'

/** Whether this is a question that nobody typed. */
export const isExample = (query) => query.trim() === '' || [...QUERIES, ...SAMPLES].some((example) => example.query === query.trim())

/** `ask(example)` fills in a question to the demo texts and ranks, `fill(example)` a small list. */
export function createExamples({ ask, fill }) {
  const buttons = {
    demo: QUERIES.map((example) => chip(example, ask)),
    own: SAMPLES.map((example) => chip(example, fill)),
  }

  function chip(example, use) {
    const { name, query, lang } = example
    return { query, node: h('button', { type: 'button', class: 'chip', lang, title: query, onclick: () => use(example) }, name) }
  }

  return {
    /** Those of this source, with the one that the query is. */
    draw(source, query) {
      for (const { query: own, node } of buttons[source]) {
        if (own === query.trim()) node.setAttribute('aria-current', 'true')
        else node.removeAttribute('aria-current')
      }
      const nodes = buttons[source].map(({ node }) => node)
      if ($('samples').firstChild !== nodes[0]) $('samples').replaceChildren(...nodes)
    },
  }
}
