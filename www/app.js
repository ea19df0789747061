// The page: puts the parts together, loads the built-in model, ranks.

import { $, announce, notice } from './dom.js'
import { createCorpus } from './corpus.js'
import { createDevices } from './device.js'
import { createDocumentList } from './document-list.js'
import { isFilled } from './documents.js'
import { explain, isOfGpu } from './errors.js'
import { createExamples, isExample } from './examples.js'
import { copy, save, toCsv, toJson } from './export.js'
import { wireFiles } from './files.js'
import { createForm } from './form.js'
import { createModels } from './model.js'
import { createKept } from './kept.js'
import { createModelPanel, hubAddress } from './model-panel.js'
import { keepOffline } from './offline.js'
import { createRanking } from './ranking.js'
import { createResults } from './results.js'
import { createSource } from './source.js'

const APPLE = /Mac|iPhone|iPad/.test(navigator.platform)

const MINI = { label: 'mini', id: 'mini', model: 'mini' }

let ranking = null
let models = null
let wanted = false // an example was pressed, and is ranked as soon as it can be

const results = createResults()
const list = createDocumentList({ onchange: () => form.changed() })
const corpus = createCorpus({ onchange: () => { drawRun(); rankWanted() } })
const source = createSource({ list, corpus, onswitch: (from, to) => form.swap(from, to) })
const form = createForm({ list, source, onchange: inputChanged })
const examples = createExamples({ ask, fill })

function inputChanged() {
  wanted = false
  examples.draw(source.current, form.read().query)
  drawRun()
  results.changed()
}

/** A question to the demo texts is ranked at once; a ranking that runs gives way to it. A typed one can be had back. */
async function ask(example) {
  const { query } = form.read()
  const undo = form.ask(example)
  if (isExample(query)) $('query-note').replaceChildren()
  else notice($('query-note'), { text: `The example took the place of “${shorten(query)}”.`, action: { label: 'Undo', run: undo } })
  wanted = true
  ranking?.cancel()
  await ranking?.work
  rankWanted()
}

function rankWanted() {
  if (wanted && models?.current && source.documents() !== null && !ranking.running) rank()
}

const shorten = (text) => (text.length > 60 ? `${text.slice(0, 60).trimEnd()}…` : text)

function fill({ name, documents, ...question }) {
  const undo = form.ask(question)
  list.replace(documents.map((text) => ({ text })), `Example “${name}” filled in.`, undo)
}

function drawRun() {
  const running = ranking?.running ?? false
  $('rank').hidden = running
  $('cancel').hidden = !running
  $('rank-keys').hidden = running
  $('run-progress').hidden = !running
  $('rank').disabled = !models?.current
  $('run-note').textContent = ''
}

function rank() {
  if (!models?.current || ranking.running) return
  wanted = false
  const request = form.read()
  const documents = (source.documents() ?? []).map((document, at) => ({ ...document, at })).filter(isFilled)
  const missing = request.query.trim() === '' ? ['Write a query first.', 'query']
    : form.fault() ?? (source.documents() === null ? ['The demo texts are not here.', 'source-demo']
      : documents.length === 0 ? ['Add a document first.', 'docs-add'] : null)
  if (missing) {
    wanted = missing[1] === 'source-demo' // they may still come; what else is missing is the reader's to add
    $('run-note').textContent = missing[0]
    announce(missing[0])
    return $(missing[1]).focus()
  }
  const focused = document.activeElement === $('rank')
  ranking.start({ ...request, documents }).then(() => { if (focused && [document.body, $('cancel')].includes(document.activeElement)) $('rank').focus() })
  if (focused) $('cancel').focus()
}

/** The package says no when the machine cannot run it; a missing package is a fault of the site. */
async function start() {
  let edge
  try {
    edge = await import('./edge-reranker/src/index.js')
  } catch (error) {
    return notice($('model-error'), { kind: 'bad', title: 'The page is incomplete', text: `Its package did not load (${error.message}). Reload the page.`, close: false })
  }
  const capabilities = await edge.capabilities()
  if (!capabilities.simd) {
    $('model-name').textContent = 'No model'
    $('model-facts').textContent = ''
    $('model-toggle').disabled = true
    return notice($('model-error'), { ...explain({ code: 'unsupported', message: 'WebAssembly with SIMD is missing or switched off here, and the model needs it.' }), close: false })
  }

  let panel = null
  const devices = createDevices({ capabilities, onchoose: compute })
  models = createModels({ edge, device: () => devices.choice, remoteHost: hubAddress, idle: async () => ranking?.work, onchange: () => { panel?.draw(); form.allow(models.current?.info.contextLength); drawRun(); rankWanted() } })
  const kept = createKept({ api: edge.models, models, onchange: () => panel?.draw() })
  panel = createModelPanel({ models, catalogue: await edge.models.list(), devices, kept })
  ranking = createRanking({ models, results, onchange: drawRun })
  await models.load(MINI)
  keepOffline({ info: models.current?.info, onchange: kept.ofPage, keep: form.keep })

  /** What is being loaded, or failed to load, or is loaded, comes to the device that was chosen now. */
  function compute() {
    const { loading, error, current } = models
    if (loading && !loading.again) models.load(loading.source)
    else if (isOfGpu(error?.error)) models.load(error.source)
    else if (current && !devices.suits(current.info)) models.load(current.source)
    else panel.draw()
  }
}

async function copyJson() {
  const label = $('copy-json').lastChild
  label.textContent = await copy(JSON.stringify(toJson(ranking.last), null, 2)) ? 'Copied' : 'Not allowed'
  announce(label.textContent)
  setTimeout(() => { label.textContent = 'Copy JSON' }, 1500)
}

$('key-mod').textContent = APPLE ? '⌘' : 'Ctrl'
$('rank').addEventListener('click', rank)
$('answer-hint-button').addEventListener('click', () => {
  if ($('model-panel').hidden) $('model-toggle').click()
  $('model-toggle').focus()
})
$('cancel').addEventListener('click', () => ranking.cancel())
$('copy-json').addEventListener('click', copyJson)
$('save-json').addEventListener('click', () => save('ranking.json', 'application/json', `${JSON.stringify(toJson(ranking.last), null, 2)}\n`))
$('save-csv').addEventListener('click', () => save('ranking.csv', 'text/csv', toCsv(ranking.last)))
$('query').addEventListener('input', () => $('query-note').replaceChildren())
document.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    event.preventDefault()
    rank()
  } else if (event.key === 'Escape' && ranking?.running) ranking.cancel()
})

const own = { replace: (...documents) => { source.use('own'); list.replace(...documents) } }
wireFiles({ list: own, onmodel: (file) => models?.load({ label: file.name, model: file }) })
form.restore()
drawRun()
start()
