"""Writes the queries and documents that are ranked: workloads.py TOKENIZER.json OUT.json

The texts are common words drawn from a seed, so that a document has exactly as many tokens as it should. The weights are random too:
nothing is lost by texts that mean nothing.
"""

import json
import random
import sys

from prompt import INSTRUCTION, PREFIX, SUFFIX, head, prompt
from tokenizers import Tokenizer

QUERY_TOKENS = 16
SHAPES = {"W1": (20, 128), "W2": (50, 64), "W3": (8, 512)}  # documents, tokens in each
WORDS = (
    "about above after again air along animal answer area around back bank before begin below between book both bread bridge bring build "
    "carry case cause change children city clear close cold color country course cover cross day deep door down draw early earth east eat "
    "end enough even ever example eye face family far farm father feel few field fire first fish five follow food form friend front full "
    "garden give glass good green ground group grow hand hard head hear heat help high hold home horse hour house idea island keep kind "
    "king know land large last late lead learn leave left letter life light line list live long low machine main map mark measure metal "
    "mile money moon morning mountain move music name near never next night north note number ocean often old open order other page paper "
    "part path pattern people piece plain plan plant point power press question rain reach ready red rest river road rock room round run "
    "school science sea season second seed send set ship short side sky sleep slow small snow song sound south stand star start state stay "
    "step stone story street strong summer sun table talk teach tell time town travel tree turn under unit valley voice walk warm watch "
    "water weather week west wheel white wind window winter wood word work world write year young"
).split()

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
