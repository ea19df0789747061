// The demo texts that answer the page's example questions, whatever their language: name of the question -> ids.

export const ANSWERS = {
  Hiccups: ['en-medquad:43'],
  'New Orleans': ['en-nq:23'],
  'Disk space': ['xl-tldr:22'],
  'Pivot-Tabelle': ['xl-libreoffice:105', 'xl-libreoffice:80'],
  'Karl Johan': ['ar-no-pt-qa:44'],
  Helm: ['xl-tldr:38', 'xl-tldr:1'],
  Fleuve: ['xl-afriqa:18'],
  Locomotora: ['es-squad:82'],
  'マルコ・ポーロ': ['ja-jaquad:143', 'ja-jaquad:192'],
  예외: ['xl-python-docs:141'],
  اسکار: ['fa-pquad:35'],
}
