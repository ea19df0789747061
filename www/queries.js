// Questions to the demo texts. Few of the answers can be found by looking for the question's words.

import { INSTRUCTIONS } from './samples.js'

/** `answers` are the ids of the texts that answer, whatever their language. */
export const QUERIES = [
  { name: 'Screen goes dark', query: 'How do I stop my screen from getting darker by itself?', answers: ['xl-gnome-help:13', 'xl-gnome-help:7', 'xl-gnome-help:91'] },
]
