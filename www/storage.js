// Browser storage that may be blocked, full or hold rubbish: reading gives null then, writing gives false.

const PREFIX = 'edge-reranker:'

function shelf(name) {
  return {
    get(key) {
      try { return JSON.parse(globalThis[name].getItem(PREFIX + key)) } catch { return null }
    },
    set(key, value) {
      try { globalThis[name].setItem(PREFIX + key, JSON.stringify(value)); return true } catch { return false }
    },
    remove(key) {
      try { globalThis[name].removeItem(PREFIX + key) } catch { /* nothing was stored */ }
    },
  }
}

/** What the reader typed: gone with the tab. */
export const session = shelf('sessionStorage')
/** How the reader likes the page: kept. */
export const settings = shelf('localStorage')
