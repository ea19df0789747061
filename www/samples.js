// Instructions worth a click, and examples: in each some documents answer the query and others only share words with it.

export const DEFAULT_INSTRUCTION = 'Given a web search query, retrieve relevant passages that answer the query'

export const INSTRUCTIONS = [
  { name: 'Web search (the model’s default)', text: DEFAULT_INSTRUCTION },
  { name: 'Questions and answers', text: 'Given a question, retrieve passages that contain the answer' },
  { name: 'Code search', text: 'Given a task in plain words, retrieve code or commands that do it' },
  { name: 'Medical questions', text: 'Given a medical question, retrieve passages that answer it correctly' },
  { name: 'Claims and evidence', text: 'Given a scientific claim, retrieve passages that support or refute the claim' },
  { name: 'Duplicate questions', text: 'Given a question, retrieve questions that ask the same thing' },
]

/** `answers` are the places of the documents that answer. */
export const SAMPLES = [
  {
    name: 'Plain question',
    query: 'Why is the sea salty?',
    answers: [3, 6],
    documents: [
      'A knot is one nautical mile an hour.',
      'Turtles return to the beach where they hatched to lay their own eggs.',
      'The Moon and the Sun pull at the oceans, so tides rise and fall twice a day.',
      'Rivers wash salt out of rocks and carry it to the sea. The water evaporates, the salt stays: that is why the sea is salty.',
      'Coral reefs grow in warm, shallow water with plenty of light.',
      'Fish and meat were once preserved in barrels for the winter.',
      'The sea is salty because volcanoes and hot springs on its floor release chloride and sodium, the parts of salt.',
      'Lighthouses warn ships of rocks near the coast.',
    ],
  },
  {
    name: 'Across languages',
    query: 'How high is Mount Everest?',
    answers: [2, 5, 6],
    documents: [
      'Le K2 a été gravi pour la première fois en 1954 par une expédition italienne.',
      'Edmund Hillary and Tenzing Norgay reached the summit together in May 1953.',
      'El monte Everest tiene 8849 metros de altura.',
      'In den Alpen wird im Winter Ski gefahren.',
      'O Kilimanjaro é a montanha mais alta da África.',
      'エベレスト（Mount Everest）の高さは8849メートルである。',
      'Der Mount Everest ist 8849 Meter hoch.',
      'بُني برج خليفة في دبي بين عامي 2004 و2010.',
    ],
  },
  {
    name: 'Code search',
    query: 'find all files larger than 100 MB',
    instruction: INSTRUCTIONS[2].text,
    answers: [3, 7],
    documents: [
      'git log --oneline -n 20',
      'ping -c 4 192.168.1.1',
      'const sum = (numbers) => numbers.reduce((a, b) => a + b, 0)',
      'find . -type f -size +100M   # list files larger than 100 MB',
      'docker run --rm -it alpine sh',
      'SELECT name FROM users WHERE city = \'Oslo\' ORDER BY name;',
      'kill -9 "$(cat server.pid)"',
      'import os\nfor root, _, files in os.walk("."):\n    for file in files:\n        path = os.path.join(root, file)\n        if os.path.getsize(path) > 100 * 1024 ** 2:  # larger than 100 MB\n            print(path)',
    ],
  },
  {
    name: '中文',
    query: '活字印刷术是谁发明的？',
    answers: [4, 5],
    documents: [
      '指南针在宋代用于航海。',
      '长江是亚洲最长的河流，全长约六千三百公里。',
      '蔡伦改进了造纸的方法，原料有树皮、麻头和破布。',
      '火药的配方最早见于唐代炼丹家的著作。',
      '活字印刷术是北宋的毕昇发明的，他用胶泥刻字，烧硬后排版。',
      '沈括在《梦溪笔谈》中记载，发明活字印刷术的人是平民毕昇。',
      '茶树喜欢温暖湿润的气候。',
      '故宫建成于明代永乐十八年。',
    ],
  },
  {
    name: 'Medical',
    query: 'Is it safe to take ibuprofen with a stomach ulcer?',
    instruction: INSTRUCTIONS[3].text,
    answers: [2, 5],
    documents: [
      'A cold usually clears up by itself within ten days.',
      'Vaccination against measles is given in two doses, the first at about one year of age.',
      'Ibuprofen is not safe for people with a stomach ulcer: it can make the ulcer bleed.',
      'Omeprazole lowers the acid of the gut and is usually swallowed before breakfast.',
      'Regular walking lowers blood pressure and strengthens the heart.',
      'With a stomach ulcer, take paracetamol for pain rather than ibuprofen or aspirin, which harm the lining of the stomach.',
      'Adults need between seven and nine hours of sleep a night.',
      'Mouth sores usually heal within one to two weeks without treatment.',
    ],
  },
]
