// The model bar and the panel under it: what is loaded, on what and why, and what else could be.

import { $, announce, h, notice } from './dom.js'
import { deviceName } from './device.js'
import { explain, isOfGpu } from './errors.js'
import { bytes, count, parameters, seconds } from './format.js'
import { checkAddress, hostFromLink, modelFrom } from './model.js'
import { settings } from './storage.js'

const NOTES = {
  mini: 'A small model of the same design. Ready at once; good for a first look and for plain questions.',
  '0.6b-q8': 'The 0.6B model at 8 bits: far stronger than mini, close to the original, and slow on long lists.',
  '0.6b-q4': 'The 0.6B model at about 4 bits: less to download and to hold, a little less exact.',
}

export const hubAddress = () => ($('hub').value.trim() === '' ? null : checkAddress($('hub').value.trim()))

/** `kept` knows which models are stored here. */
export function createModelPanel({ models, catalogue, devices, kept }) {
  const rows = new Map()
  let announced = null
  let shownError = null

  for (const entry of catalogue) {
    const button = h('button', { type: 'button', onclick: () => models.load({ label: nameOf(entry), id: entry.id, model: entry.id }) })
    const size = h('span', { class: 'figures' })
    rows.set(entry, { button, size })
    $('model-choices').append(h('li', {},
      h('h3', {}, nameOf(entry)),
      h('p', {}, NOTES[entry.id] ?? ''),
      h('div', { class: 'choice-foot' }, button, size)))
  }
  kept.name(catalogue.map((entry) => [entry.id, nameOf(entry)]))

  $('model-toggle').addEventListener('click', () => open($('model-panel').hidden))
  $('load-cancel').addEventListener('click', () => {
    announce(`Loading ${models.loading?.label} cancelled`)
    models.cancel()
    $('model-toggle').focus()
  })
  $('address-form').addEventListener('submit', (event) => {
    event.preventDefault()
    const source = modelFrom($('address').value.trim())
    if (source) return models.load(source)
    notice($('model-error'), { kind: 'bad', title: 'This address cannot be used', text: 'An https address is needed, http on this computer, blob:, data:, or a Hugging Face name.' })
    $('address').focus()
  })
  $('hub').value = hostFromLink() ?? settings.get('hub') ?? ''
  $('hub').addEventListener('change', () => {
    const hub = $('hub').value.trim()
    const fits = hub === '' || checkAddress(hub) !== null
    $('hub').setAttribute('aria-invalid', String(!fits))
    if (!fits) notice($('model-error'), { kind: 'bad', title: 'This address cannot be used', text: 'An https address is needed, or http on this computer. Models come from huggingface.co until then.' })
    else if (hub === '') settings.remove('hub')
    else settings.set('hub', hub)
  })

  function open(wanted) {
    if (wanted) kept.read()
    $('model-panel').hidden = !wanted
    $('model-toggle').setAttribute('aria-expanded', String(wanted))
  }

  function drawCurrent() {
    const { current, loading } = models
    $('model-lamp').dataset.state = current?.lost ? 'wait' : current ? 'on' : loading ? 'wait' : 'off'
    $('model-name').textContent = current?.label ?? (loading ? loading.label : 'No model')
    const info = current?.info
    $('model-facts').textContent = current?.lost
      ? 'The GPU was lost: the next ranking loads the model again.'
      : info
      ? [`${parameters(info.parameters)} parameters`, info.quantization, `${info.layers} layers`, `${bytes(info.bytes)} in memory`, deviceName(info)].join(' · ')
      : loading ? 'is being loaded' : 'Choose one under Change model.'
    $('model-info').replaceChildren(...(info ? facts(info, devices.why(info)) : []))
    for (const [entry, { button, size }] of rows) {
      const here = current?.id === entry.id
      const stored = entry.builtin ? { whole: true } : kept.of(entry.id)
      button.textContent = here ? 'Loaded' : stored?.whole ? 'Load' : stored ? 'Resume and load' : 'Download and load'
      size.textContent = entry.builtin ? 'comes with the page' : stored?.whole ? `${bytes(entry.bytes)}, kept here` : stored ? `${bytes(stored.bytes)} of ${bytes(entry.bytes)} here` : bytes(entry.bytes)
      button.setAttribute('aria-label', `${button.textContent}: ${nameOf(entry)}`)
      button.disabled = here || loading?.label === nameOf(entry)
    }
  }

  function drawLoading() {
    const { loading } = models
    $('model-load').hidden = !loading?.slow
    if (!loading?.slow) return
    const { label, text, value } = progressOf(loading)
    $('load-label').textContent = label
    $('load-cancel').hidden = Boolean(loading.again)
    $('load-text').textContent = text
    if (value === null) $('load-bar').removeAttribute('value')
    else $('load-bar').value = value
  }

  function drawError() {
    if (models.error === shownError) return
    shownError = models.error
    if (!shownError) $('model-error').replaceChildren()
    else {
      const told = explain(shownError.error, { loading: true })
      const kept = models.current && `${models.current.label} is still loaded.`
      notice($('model-error'), {
        ...told,
        text: told.text.includes(shownError.label) ? told.text : `${shownError.label}: ${told.text}`,
        hint: [told.hint, kept].filter(Boolean).join(' '),
        action: devices.choice === 'webgpu' && isOfGpu(shownError.error)
          ? { label: 'Compute on the CPU', run: () => devices.choose('wasm') }
          : undefined,
      })
    }
  }

  return {
    draw() {
      kept.draw()
      drawCurrent()
      drawLoading()
      drawError()
      if (models.current?.lost && !models.loading) announce('The GPU was lost')
      if (models.current && models.current !== announced && !models.loading) {
        announced = models.current
        announce(`Model ${announced.label} is ready`)
      }
    },
  }
}

const nameOf = (entry) => (entry.builtin ? 'mini' : entry.label.replace(/, \d bits \((.*)\)/, ' $1'))

function progressOf({ label, event }) {
  const { loaded = 0, total = 0, bytesPerSecond, etaMs } = event ?? {}
  if (!event || loaded === 0 || event.status === 'initiate') return { label: `Opening ${label}`, text: '', value: null }
  if (total > 0 && loaded >= total) return { label: `Preparing ${label}`, text: bytes(total), value: 100 }
  const parts = [total > 0 ? `${bytes(loaded)} of ${bytes(total)}` : bytes(loaded)]
  if (bytesPerSecond > 0) parts.push(`${bytes(bytesPerSecond)}/s`)
  if (total > 0 && etaMs > 0) parts.push(`${seconds(etaMs)} left`)
  return { label: `Loading ${label}`, text: parts.join(' · '), value: total > 0 ? (100 * loaded) / total : null }
}

function threads({ threads }) {
  if (threads > 1) return count(threads)
  return globalThis.crossOriginIsolated ? 'one' : 'one: the host of this page does not isolate it from others, which browsers ask for before they let it use more'
}

function facts(info, why) {
  const rows = [
    ['Name', info.name],
    ['File', `${info.format === 'gguf' ? 'GGUF' : 'safetensors'}, ${info.quantization}, ${bytes(info.bytes)}`],
    ['Parameters', count(info.parameters)],
    ['Shape', `${info.layers} layers, width ${count(info.hidden)}, ${info.heads} heads, ${info.kvHeads} for keys and values`],
    ['Vocabulary', `${count(info.vocabulary)} tokens, prompts up to ${count(info.contextLength)}`],
    ['Device', `${deviceName(info)}, in a worker of its own`],
    ['Why this device', why],
    ['Threads', info.device === 'wasm' && threads(info)],
    ['Kernels', info.kernels],
    ['Notes', info.warnings.join(' ')],
  ]
  return rows.filter(([, value]) => value).map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value)))
}
