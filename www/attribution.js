// Where the demo texts are from, and under which licences; and how a text's language and origin are shown.

import { h, hiddenText } from './dom.js'
import { languageName } from './format.js'

export const SOURCES = {
  FaQuAD: 'https://github.com/liafacom/faquad',
  'GNOME Help': 'https://help.gnome.org/',
  'LibreOffice Help': 'https://help.libreoffice.org/',
  MedQuAD: 'https://github.com/abachaa/MedQuAD',
  'Python documentation': 'https://docs.python.org/3/',
  'tldr-pages': 'https://github.com/tldr-pages/tldr',
  'Wikipedia, in AfriQA': 'https://github.com/masakhane-io/afriqa',
  'Wikipedia, in CMRC 2018': 'https://github.com/ymcui/cmrc2018',
  'Wikipedia, in DRCD': 'https://github.com/DRCKnowledgeTeam/DRCD',
  'Wikipedia, in iapp-wiki-qa': 'https://github.com/iapp-technology/iapp-wiki-qa-dataset',
  'Wikipedia, in JaQuAD': 'https://github.com/SkelterLabsInc/JaQuAD',
  'Wikipedia, in Natural Questions': 'https://ai.google.com/research/NaturalQuestions',
  'Wikipedia, in NorQuAD': 'https://github.com/ltgoslo/NorQuAD',
  'Wikipedia, in PQuAD': 'https://github.com/AUT-NLP/PQuAD',
  'Wikipedia, in SQuAD-es': 'https://github.com/ccasimiro88/TranslateAlignRetrieve',
}

export const LICENCES = {
  'CC BY 4.0': 'https://creativecommons.org/licenses/by/4.0/',
  'CC BY-SA 3.0': 'https://creativecommons.org/licenses/by-sa/3.0/',
  'CC BY-SA 4.0': 'https://creativecommons.org/licenses/by-sa/4.0/',
  'MPL 2.0': 'https://www.mozilla.org/MPL/2.0/',
  'PSF-2.0': 'https://docs.python.org/3/license.html',
}

export const link = (address, text) => h('a', { href: address, target: '_blank', rel: 'noopener' }, text)

/** The language's code, and its name for those who hear the page or point at it. */
export const tag = ({ lang }) => h('span', { class: 'tag', title: languageName(lang) },
  h('span', { 'aria-hidden': 'true' }, lang.split('-')[0]), hiddenText(`${languageName(lang)}, `))

/** Language, source and licence of a text, as the parts of a line. */
export const credit = ({ lang, source, licence }) => [
  h('span', {}, languageName(lang)),
  h('span', {}, source),
  h('span', {}, link(LICENCES[licence], licence)),
]
