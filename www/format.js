// Numbers as people read them.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })

export const count = (n) => whole.format(n)
export const speed = (n) => (n < 10 ? n.toFixed(1) : count(n))
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`

export function bytes(n) {
  if (n < 1e3) return `${n} B`
  if (n < 1e6) return `${(n / 1e3).toFixed(0)} kB`
  if (n < 1e9) return `${(n / 1e6).toFixed(n < 1e7 ? 1 : 0)} MB`
  return `${(n / 1e9).toFixed(2)} GB`
}

export function duration(ms) {
  if (ms < 10) return `${ms.toFixed(1)} ms`
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`
  const seconds = Math.round(ms / 1000)
  return seconds < 3600
    ? `${Math.floor(seconds / 60)} min ${seconds % 60} s`
    : `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`
}

export function percent(p) {
  const value = p * 100
  if (value === 0 || value >= 0.01) return `${value.toFixed(value >= 9.95 ? 1 : 2)} %`
  return '< 0.01 %'
}

export const logit = (x) => `${x < 0 ? '−' : '+'}${Math.abs(x).toFixed(2)}`

/** A time to wait, in whole seconds. */
export const seconds = (ms) => (ms < 60_000 ? `${Math.max(1, Math.ceil(ms / 1000))} s` : duration(ms))

/** 595,776,512 as 596 M. */
export function parameters(n) {
  if (n >= 1e9) return `${(n / 1e9).toFixed(1)} B`
  return n >= 1e6 ? `${(n / 1e6).toFixed(n < 1e7 ? 1 : 0)} M` : `${(n / 1e3).toFixed(0)} k`
}

const languages = new Intl.DisplayNames('en', { type: 'language' })

/** zh-Hant as Traditional Chinese. */
export const languageName = (tag) => languages.of(tag)
