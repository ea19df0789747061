// Instructions worth a click, and examples: in each some documents answer the query and others only share words with it.

export const DEFAULT_INSTRUCTION = 'Given a web search query, retrieve relevant passages that answer the query'

export const INSTRUCTIONS = [
  { name: 'Web search (the model’s default)', text: DEFAULT_INSTRUCTION },
  { name: 'Questions and answers', text: 'Given a question, retrieve passages that contain the answer' },
  { name: 'Code search', text: 'Given a description of a task, retrieve the code that does it' },
  { name: 'Medical questions', text: 'Given a medical question, retrieve passages that answer it correctly' },
  { name: 'Claims and evidence', text: 'Given a scientific claim, retrieve passages that support or refute the claim' },
  { name: 'Duplicate questions', text: 'Given a question, retrieve questions that ask the same thing' },
]

export const SAMPLES = [
  {
    name: 'Plain question',
    query: 'Why is the sea salty?',
    documents: [
      'Table salt is sodium chloride and has been used to preserve fish and meat for thousands of years.',
      'The Dead Sea lies more than 430 metres below sea level, the lowest shore on Earth.',
      'The tides rise and fall twice a day on most coasts, pulled by the Moon and the Sun.',
      'Hot springs and volcanoes on the sea floor release chloride and sodium, which makes the sea saltier still.',
      'Drinking seawater makes thirst worse, because the kidneys need more water to remove its salt than it supplies.',
      'Sea turtles return to the beach where they hatched to lay their own eggs.',
      'Rain dissolves minerals in rocks, and rivers carry them down to the sea. The water evaporates and the salt stays: that is why seawater is salty.',
      'Sailors measure speed in knots; a knot is one nautical mile an hour.',
    ],
  },
  {
    name: 'Across languages',
    query: 'How high is Mount Everest?',
    documents: [
      'Le K2, deuxième sommet du monde, a été gravi pour la première fois en 1954 par une expédition italienne.',
      'Edmund Hillary and Tenzing Norgay were the first to stand on the summit, on 29 May 1953.',
      'El monte Everest mide 8849 metros sobre el nivel del mar, según la medición de China y Nepal de 2020.',
      'Das Matterhorn in den Walliser Alpen ist 4478 Meter hoch.',
      'O Kilimanjaro é a montanha mais alta da África.',
      'エベレストの標高は8849メートルで、世界で最も高い山である。',
      'Der Mount Everest ist 8849 Meter hoch und liegt an der Grenze zwischen Nepal und China.',
      'يبلغ ارتفاع برج خليفة في دبي 828 مترًا.',
    ],
  },
  {
    name: 'Code search',
    query: 'find all files larger than 100 MB',
    instruction: INSTRUCTIONS[2].text,
    documents: [
      'du -sh * | sort -h',
      'df -h /home',
      'find . -name "*.log" -mtime +30 -delete',
      'find / -type f -size +100M',
      'ls -lS | head -n 5',
      'grep -rn "TODO" --include="*.py" .',
      'tar czf backup.tar.gz ~/documents',
      'import os\nfor root, _, names in os.walk("."):\n    for name in names:\n        path = os.path.join(root, name)\n        if os.path.getsize(path) > 100 * 2**20:\n            print(path)',
    ],
  },
  {
    name: '中文',
    query: '活字印刷术是谁发明的？',
    documents: [
      '造纸术由东汉的蔡伦改进，原料包括树皮、麻头和破布。',
      '雕版印刷在唐代已经用于印制佛经，每一页都要另刻一块木板。',
      '约翰内斯·古腾堡在十五世纪中叶用金属活字和印刷机印制了拉丁文《圣经》。',
      '指南针在宋代用于航海。',
      '北宋庆历年间，毕昇发明了活字印刷术，用胶泥刻字，烧硬后排版印刷，拆下的字可以再用。',
      '宋代科学家沈括在《梦溪笔谈》中记载，布衣毕昇创造了活板。',
      '印刷电路板用铜箔连接电子元件。',
      '火药的配方最早见于唐代炼丹家的著作。',
    ],
  },
  {
    name: 'Medical',
    query: 'Is it safe to take ibuprofen with a stomach ulcer?',
    instruction: INSTRUCTIONS[3].text,
    documents: [
      'Ibuprofen was developed in Britain in the 1960s and has been sold there without a prescription since 1983.',
      'Most peptic ulcers are caused by the bacterium Helicobacter pylori or by long use of anti-inflammatory painkillers.',
      'Nonsteroidal anti-inflammatory drugs block COX-1 and with it the prostaglandins that protect the lining of the stomach. They can cause bleeding, and people with an active ulcer should avoid them.',
      'Paracetamol relieves pain and fever but has little effect on inflammation; too much of it damages the liver.',
      'Mouth ulcers are usually harmless and heal within one to two weeks without treatment.',
      'For mild pain, people who have had an ulcer are usually advised to take paracetamol rather than ibuprofen, aspirin or naproxen.',
      'Proton pump inhibitors such as omeprazole reduce stomach acid and help ulcers to heal, usually within four to eight weeks.',
      'The stomach empties a mixed meal in about four hours; fat slows it down.',
    ],
  },
]
