// Questions to the demo texts. Few of the answers can be found by looking for the question's words.

import { INSTRUCTIONS } from './samples.js'

/** `answers` are the ids of the texts that answer, whatever their language; `lang` is that of the question where it is not English. */
export const QUERIES = [
  { name: 'Movable type', query: 'Who invented printing with movable type?', answers: ['en-nq:48'] },
  { name: 'Double click', query: 'Why does my double-click not work?', answers: ['xl-gnome-help:33', 'xl-gnome-help:97', 'xl-gnome-help:44'] },
  { name: 'Hiccups', query: 'Are hiccups hereditary?', instruction: INSTRUCTIONS[3].text, answers: ['en-medquad:43'] },
  { name: 'Smaller files', query: 'make a file smaller to save disk space', instruction: INSTRUCTIONS[2].text, answers: ['xl-tldr:22'] },
  { name: 'Locomotora', lang: 'es', query: '¿Quién construyó la primera locomotora de vapor?', answers: ['es-squad:82'] },
  { name: '主食', lang: 'zh-Hans', query: '韩国人的主食是什么？', answers: ['zh-drcd:33'] },
  { name: '毒きのこ', lang: 'ja', query: '光るきのこには毒がありますか', answers: ['ja-jaquad:188', 'ja-jaquad:27', 'ja-jaquad:52'] },
  { name: 'Pivot-Tabelle', lang: 'de', query: 'Wie lösche ich eine Pivot-Tabelle?', answers: ['xl-libreoffice:105', 'xl-libreoffice:80'] },
  { name: 'اسکار', lang: 'fa', query: 'چرا به جایزه اسکار اسکار می‌گویند؟', answers: ['fa-pquad:35'] },
  { name: 'Fleuve', lang: 'fr', query: 'Quel fleuve se jette dans l’océan Indien ?', answers: ['xl-afriqa:18'] },
]
