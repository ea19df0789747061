// Where the demo texts are from, who wrote them, and under which licences; and how a text's language and origin are shown.

import { h } from './dom.js'
import { languageName } from './format.js'

/** `by` is whom the licence wants named; `translated` marks texts that a machine translated. */
export const SOURCES = {
  'GNOME Help': { url: 'https://help.gnome.org/', by: 'GNOME documentation authors and translators' },
  'LibreOffice Help': { url: 'https://help.libreoffice.org/', by: 'LibreOffice contributors and The Document Foundation' },
  MedQuAD: { url: 'https://github.com/abachaa/MedQuAD', by: 'US National Institutes of Health; data set by Asma Ben Abacha and Dina Demner-Fushman' },
  'Python documentation': { url: 'https://docs.python.org/3/', by: 'Copyright © 2001-2024 Python Software Foundation; All Rights Reserved; and its translators' },
  'tldr-pages': { url: 'https://github.com/tldr-pages/tldr', by: '© 2014-present the tldr-pages team and contributors' },
  'Wikipedia, in AfriQA': { url: 'https://github.com/masakhane-io/afriqa', by: 'Wikipedia contributors; data set by Odunayo Ogundepo et al.' },
  'Wikipedia, in CMRC 2018': { url: 'https://github.com/ymcui/cmrc2018', by: 'Wikipedia contributors; data set by Yiming Cui et al.' },
  'Wikipedia, in DRCD': { url: 'https://github.com/DRCKnowledgeTeam/DRCD', by: 'Wikipedia contributors; data set by Chih Chieh Shao et al.' },
  'Wikipedia, in iapp-wiki-qa': { url: 'https://github.com/iapp-technology/iapp-wiki-qa-dataset', by: 'Wikipedia contributors; data set by Kobkrit Viriyayudhakorn and Charin Polpanumas' },
  'Wikipedia, in JaQuAD': { url: 'https://github.com/SkelterLabsInc/JaQuAD', by: 'Wikipedia contributors; data set by ByungHoon So et al.' },
  'Wikipedia, in Natural Questions': { url: 'https://ai.google.com/research/NaturalQuestions', by: 'Wikipedia contributors; data set by Tom Kwiatkowski et al.' },
  'Wikipedia, in NorQuAD': { url: 'https://github.com/ltgoslo/NorQuAD', by: 'Wikipedia contributors; data set by Sardana Ivanova et al.' },
  'Wikipedia, in PQuAD': { url: 'https://github.com/AUT-NLP/PQuAD', by: 'Wikipedia contributors; data set by Kasra Darvishi et al.' },
  'Wikipedia, in SQuAD-es': { url: 'https://github.com/ccasimiro88/TranslateAlignRetrieve', translated: true, by: 'Wikipedia contributors; data set by Pranav Rajpurkar et al., machine-translated by Casimiro Pio Carrino et al.' },
}

export const LICENCES = {
  'CC BY 4.0': 'https://creativecommons.org/licenses/by/4.0/',
  'CC BY-SA 3.0': 'https://creativecommons.org/licenses/by-sa/3.0/',
  'CC BY-SA 4.0': 'https://creativecommons.org/licenses/by-sa/4.0/',
  'MPL 2.0': 'https://www.mozilla.org/MPL/2.0/',
  'PSF-2.0': 'https://docs.python.org/3/license.html',
}

export const link = (address, text) => h('a', { href: address, target: '_blank', rel: 'noopener' }, text)

/** The language's code, for those who see it; the line of credit says the language. */
export const tag = ({ lang }) => h('span', { class: 'tag', title: languageName(lang), 'aria-hidden': 'true' }, lang.split('-')[0])

/** Language, origin and licence of a text, as the parts of a line. `linked`: to the page it is from; some hundreds of links would be in the way of the keyboard. */
export function credit({ lang, source, title, url, licence }, { linked = false } = {}) {
  const origin = title ? `${source}: ${title}` : source
  return [h('span', {}, languageName(lang)), h('span', {}, linked && url ? link(url, origin) : origin), h('span', {}, licence)]
}
