// One ranking at a time: asks the model, keeps the scores that come in, shows them a few times a second, can be stopped.

import { $, announce, notice, settle } from './dom.js'
import { explain, isAbort } from './errors.js'
import { count, duration, languageName, percent, plural } from './format.js'
import { figuresOf } from './results.js'

const REDRAW_MS = 200

/** `last` is the newest finished ranking: { query, instruction, documents, result }; `work` ends when the running one does. */
export function createRanking({ models, results, onchange }) {
  const ranking = { running: false, last: null, work: null, start: (request) => { ranking.work = run(request); return ranking.work }, cancel }
  let controller = null

  async function run({ query, instruction, documents, maxLength }) {
    const mine = controller = new AbortController()
    ranking.running = true
    const { label, id } = models.current
    const before = results.begin()
    const scores = new Map()
    const total = documents.length
    let seen = false
    const redraw = settle(() => {
      if (controller !== mine) return
      progress(scores.size, total)
      if (scores.size === 0) return
      results.live(documents, ordered(scores))
      if (!seen) bringIntoView($('answer'))
      seen = true
      name()
    }, REDRAW_MS)

    const name = () => {
      $('answer-model').textContent = `by ${label}`
      $('answer-hint').hidden = id !== 'mini'
    }

    onchange()
    $('answer-error').replaceChildren()
    progress(0, total)
    announce(`Ranking ${plural(total, 'document')}`)
    try {
      const result = await models.current.reranker.rerank(query, documents, {
        instruction, maxLength, signal: mine.signal,
        onScore: ({ index, score }) => { scores.set(index, score); redraw() },
      })
      redraw.flush()
      ranking.last = { query, instruction, documents, result }
      const entries = result.results.map(({ relevanceScore, ...rest }) => ({ ...rest, score: relevanceScore }))
      name()
      results.show(documents, entries, figuresOf(result, total))
      results.note(result.warnings.join(' ') || null)
      announce(`${plural(total, 'document')} ranked by ${label} in ${duration(result.timings.totalMs)}. The best is ${nameOf(documents[entries[0].index])} with ${percent(entries[0].score)}.`)
    } catch (error) {
      redraw.flush()
      if (isAbort(error)) stopped(scores, documents, before)
      else {
        ranking.last = null
        $('answer-hint').hidden = true
        notice($('answer-error'), explain(error))
        results.clear()
      }
    } finally {
      ranking.running = false
      controller = null
      models.refresh()
      onchange()
    }
  }

  /** What has been scored stays; where nothing has, the ranking before it does. */
  function stopped(scores, documents, before) {
    const text = `Cancelled after ${count(scores.size)} of ${plural(documents.length, 'document')}.`
    if (scores.size > 0) {
      ranking.last = null
      results.show(documents, ordered(scores))
      results.note(`${text} These are the scores so far.`)
    } else {
      results.back(before)
      results.note(before.shown ? `${text} This is the ranking before it. ${before.text ?? ''}`.trim() : text)
    }
    announce(text)
  }

  function progress(done, total) {
    $('run-bar').max = total
    $('run-bar').value = done
    $('run-text').textContent = `${count(done)} of ${count(total)}`
  }

  function cancel() {
    controller?.abort()
  }

  return ranking
}

const nameOf = ({ source, lang, at }) => (source ? `a text in ${languageName(lang)}` : `document ${at + 1}`)

/** On a phone the answer is below the question. */
function bringIntoView(node) {
  const { top } = node.getBoundingClientRect()
  if (top >= 0 && top < innerHeight * 0.6) return
  node.scrollIntoView({ block: 'start', behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth' })
}

/** Scores that came so far, best first; equal ones by their place. */
function ordered(scores) {
  return [...scores]
    .map(([index, score]) => ({ index, score, logit: Math.max(-40, Math.min(40, Math.log(score) - Math.log1p(-score))) }))
    .sort((a, b) => b.score - a.score || a.index - b.index)
}
