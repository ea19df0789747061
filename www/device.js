// The choice of a device, remembered, and what is said about the one that computes.

import { $, press } from './dom.js'
import { settings } from './storage.js'

const CHOICES = ['auto', 'webgpu', 'wasm']

/** `onchoose` is called with the new choice. */
export function createDevices({ capabilities, onchoose }) {
  const { recommended } = capabilities
  const kept = settings.get('device')
  let choice = CHOICES.includes(kept) && (kept !== 'webgpu' || capabilities.webgpu) ? kept : 'auto'

  const buttons = new Map(CHOICES.map((name) => [name, $(`device-${name}`)]))
  buttons.get('webgpu').disabled = !capabilities.webgpu
  $('device-help').textContent = `Automatic: ${recommended.reason}`
  for (const [name, button] of buttons) button.addEventListener('click', () => choose(name))
  draw()

  function draw() {
    const others = CHOICES.filter((name) => name !== choice).map((name) => buttons.get(name))
    press(buttons.get(choice), ...others)
  }

  function choose(name) {
    if (name === choice) return
    choice = name
    settings.set('device', name)
    draw()
    onchoose(name)
  }

  return {
    choose,
    get choice() { return choice },
    /** Whether a model with this `info` computes where the choice wants it. */
    suits: (info) => info.device === (choice === 'auto' ? recommended.device : choice),
    why: (info) => (choice === 'auto' && info.device === recommended.device ? recommended.reason : info.deviceReason),
  }
}

/** What computes, in a few words. */
export function deviceName({ device, adapter }) {
  if (device !== 'webgpu') return 'WebAssembly on the CPU'
  return `WebGPU on ${adapter?.name || 'the GPU'}${adapter?.software ? ', in software' : ''}`
}
