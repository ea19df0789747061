"""Seeded toy data in two languages: made-up words, so that a query finds its passage by the words that both hold."""
import json
import os
import random

ENGLISH = (["where does {a} keep the {b} {c}?", "who sold a {c} to {a} in {b}?"],
           "{a} came from {b} with {f} and {g}. The {c} is kept in the old {d} near {e}, where {a} sold it.")
CHINESE = (["{a}的{c}在哪里？", "谁在{b}把{c}卖给{a}？"], "{a}从{b}来。{c}在{e}附近的{d}里，{f}和{g}也在。")


def words(rng, count, chinese):
    if chinese:
        signs = [chr(0x4E00 + 7 * i) for i in range(120)]
        return ["".join(rng.sample(signs, 2)) for _ in range(count)]
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    return ["".join(rng.choice(syllables) for _ in range(rng.randint(2, 4))) for _ in range(count)]


def examples(rng, count, chinese):
    questions, passage = CHINESE if chinese else ENGLISH
    pool = words(rng, 150, chinese)
    for i in range(count):
        w = dict(zip("abcdefg", rng.sample(pool, 7)))
        yield questions[i % 2].format(**w), passage.format(**w), w["c"]


def write(folder, pairs=70, seed=3):
    """FOLDER/pairs.jsonl (Chinese, some with answers and own negatives) and FOLDER/{corpus,queries}.jsonl with qrels.tsv (English)"""
    rng = random.Random(seed)
    os.makedirs(folder, exist_ok=True)

    def dump(name, rows):
        with open(os.path.join(folder, name), "w", encoding="utf8") as f:
            f.writelines(json.dumps(r) + "\n" for r in rows)

    chinese = list(examples(rng, pairs, True))
    rows = [{"query": q, "document": d, "lang": "zh", "answers": [c]} for q, d, c in chinese]
    for i in range(0, pairs, 5):
        rows[i] |= {"negatives": [chinese[i - 1][1]], "scores": [3.5, -2.0]}
    dump("pairs.jsonl", rows)
    english = list(examples(rng, pairs, False))
    dump("corpus.jsonl", ({"_id": f"d{i}", "title": "", "text": d} for i, (_, d, _) in enumerate(english)))
    dump("queries.jsonl", ({"_id": f"q{i}", "text": q} for i, (q, _, _) in enumerate(english)))
    with open(os.path.join(folder, "qrels.tsv"), "w", encoding="utf8") as f:
        f.write("query-id\tcorpus-id\tscore\n" + "".join(f"q{i}\td{i}\t1\n" for i in range(pairs)))
