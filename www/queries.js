// Questions to the demo texts. Some share few words with their answers, some are in another language than they.

import { INSTRUCTIONS } from './samples.js'

const [, , CODE] = INSTRUCTIONS

/** `lang` is that of the question where it is not English. */
export const QUERIES = [
  { name: 'Hiccups', query: 'Are hiccups hereditary?' },
  { name: 'New Orleans', query: 'What drink is famous in New Orleans?' },
  { name: 'Disk space', query: 'compress a file to save disk space', instruction: CODE.text },
  { name: 'Pivot-Tabelle', lang: 'de', query: 'Wie lösche ich eine Pivot-Tabelle?' },
  { name: 'Karl Johan', lang: 'de', query: 'Wer war Karl Johan?' },
  { name: 'Helm', lang: 'fr', query: 'Comment installer un chart Helm ?' },
  { name: 'Fleuve', lang: 'fr', query: 'Quel fleuve se jette dans l’océan Indien ?' },
  { name: 'Locomotora', lang: 'es', query: '¿Quién construyó la primera locomotora de vapor?' },
  { name: 'マルコ・ポーロ', lang: 'ja', query: 'マルコ・ポーロはいつアジアへ旅に出たか' },
  { name: '예외', lang: 'ko', query: '예외가 발생하면 finally 절은 언제 실행되나요?' },
  { name: 'اسکار', lang: 'fa', query: 'چرا به جایزه اسکار اسکار می‌گویند؟' },
]
