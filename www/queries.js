// Questions to the demo texts. Some share few words with their answers, some are in another language than they.

import { INSTRUCTIONS } from './samples.js'

const [, , CODE] = INSTRUCTIONS

/** `answers` are the ids of the texts that answer, whatever their language; `lang` is that of the question where it is not English. */
export const QUERIES = [
  { name: 'Hiccups', query: 'Are hiccups hereditary?', answers: ['en-medquad:43'] },
  { name: 'New Orleans', query: 'What drink is famous in New Orleans?', answers: ['en-nq:23'] },
  { name: 'Disk space', query: 'make a file smaller to save disk space', instruction: CODE.text, answers: ['xl-tldr:22'] },
  { name: 'Pivot-Tabelle', lang: 'de', query: 'Wie lösche ich eine Pivot-Tabelle?', answers: ['xl-libreoffice:105', 'xl-libreoffice:80'] },
  { name: 'Karl Johan', lang: 'de', query: 'Wer war Karl Johan?', answers: ['ar-no-pt-qa:44'] },
  { name: 'Helm', lang: 'fr', query: 'Comment installer un chart Helm ?', answers: ['xl-tldr:38', 'xl-tldr:1'] },
  { name: 'Fleuve', lang: 'fr', query: 'Quel fleuve se jette dans l’océan Indien ?', answers: ['xl-afriqa:18'] },
  { name: 'Locomotora', lang: 'es', query: '¿Quién construyó la primera locomotora de vapor?', answers: ['es-squad:82'] },
  { name: 'マルコ・ポーロ', lang: 'ja', query: 'マルコ・ポーロはいつアジアへ旅に出たか', answers: ['ja-jaquad:143', 'ja-jaquad:192'] },
  { name: '예외', lang: 'ko', query: '예외가 발생하면 finally 절은 언제 실행되나요?', answers: ['xl-python-docs:141'] },
  { name: 'اسکار', lang: 'fa', query: 'چرا به جایزه اسکار اسکار می‌گویند؟', answers: ['fa-pquad:35'] },
]
