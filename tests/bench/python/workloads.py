"""Writes the queries and documents that are ranked: workloads.py TOKENIZER.json OUT.json

The texts are common words drawn from a seed, so that a document has exactly as many tokens as it should. The weights are random too:
nothing is lost by texts that mean nothing.
"""

import json
import random
import sys

from prompt import INSTRUCTION, PREFIX, SUFFIX, head, prompt
from tokenizers import Tokenizer
from words import WORDS

QUERY_TOKENS = 16
SHAPES = {"W1": (20, 128), "W2": (50, 64), "W3": (8, 512)}  # documents, tokens in each

tokenizer = Tokenizer.from_file(sys.argv[1])


def ids(text):
    return tokenizer.encode(text, add_special_tokens=False).ids


def text(draw, tokens):
    words = " ".join(draw.choice(WORDS) for _ in range(tokens))
    assert len(ids(" " + words)) == tokens, "a word has several tokens"
    return words


made = {}
for name, (documents, tokens) in SHAPES.items():
    draw = random.Random(name)
    query = text(draw, QUERY_TOKENS)
    texts = [text(draw, tokens) for _ in range(documents)]
    other_query = " ".join(reversed(query.split()))
    prompts = [prompt(query, document) for document in texts]
    made[name] = {
        "prefix": PREFIX,
        "instruction": INSTRUCTION,
        "suffix": SUFFIX,
        "query": query,
        "warmUpQuery": other_query,
        "documents": texts,
        "prompts": prompts,
        "sharedTokens": len(ids(head(query))),
        "promptIds": [ids(one) for one in prompts],
        "promptTokens": [len(ids(one)) for one in prompts],
        "warmUpIds": ids(prompt(other_query, texts[0])),
        "yes": ids("yes")[0],
        "no": ids("no")[0],
    }
json.dump(made, open(sys.argv[2], "w"), ensure_ascii=False)
