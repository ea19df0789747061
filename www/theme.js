// Runs before the first paint, so it is a plain script. The page follows the system until the reader chooses
// otherwise; choosing what the system says anyway goes back to following it.
(() => {
  const KEY = 'edge-reranker:theme'
  const root = document.documentElement
  const dark = matchMedia('(prefers-color-scheme: dark)')

  const read = () => { try { return localStorage.getItem(KEY) } catch { return null } }
  const write = (theme) => {
    try { theme ? localStorage.setItem(KEY, theme) : localStorage.removeItem(KEY) } catch { /* not remembered, that is all */ }
  }
  const system = () => (dark.matches ? 'dark' : 'light')
  const current = () => root.dataset.theme ?? system()
  const label = () => {
    const other = current() === 'dark' ? 'light' : 'dark'
    document.getElementById('theme-label').textContent = other === 'dark' ? 'Dark' : 'Light'
    document.getElementById('theme').setAttribute('aria-label', `Use the ${other} theme`)
  }

  const stored = read()
  if (stored === 'dark' || stored === 'light') root.dataset.theme = stored

  document.addEventListener('DOMContentLoaded', () => {
    label()
    dark.addEventListener('change', label)
    document.getElementById('theme').addEventListener('click', () => {
      const next = current() === 'dark' ? 'light' : 'dark'
      if (next === system()) delete root.dataset.theme
      else root.dataset.theme = next
      write(root.dataset.theme)
      label()
    })
  })
})()
