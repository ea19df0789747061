"""Make the data folder of train.py from plain JSON Lines or from a corpus with judged queries.

Pairs: each line {"query", "document" (or "positive"): TEXT, "negatives"?: [TEXT], "lang"?, "doc_lang"?, "answers"?: [TEXT], "scores"?: [...]}.
Judged queries: --corpus {"_id", "title"?, "text"} a line, --queries {"_id", "text"} a line, --qrels query-id, corpus-id, score, tab-separated
(the layout of BEIR). Files may be gzip-compressed.

A part of the passages is held out: queries about them become the development set, with BM25's best candidates among them and its ranks.
Nothing of it, no passage and no query, is trained on. The other queries get hard negatives from BM25: passages that share words with the
query but are not known to answer it, do not hold an answer string, and are not nearly the same text as the answer.
"""
import argparse
import csv
import json
import os
import random

from data import INSTRUCTIONS
from lexical import Index, terms
from report import write_json
from texts import open_text, write_gz


class Bad(SystemExit):
    pass


def rows_of(path):
    with open_text(path) as f:
        for n, line in enumerate(f, 1):
            if line.strip():
                try:
                    x = json.loads(line)
                except ValueError as e:
                    raise Bad(f"{path}, line {n}: not JSON ({e})") from None
                if not isinstance(x, dict):
                    raise Bad(f"{path}, line {n}: not an object")
                yield n, x


def text_of(path, n, x, *names):
    value = next((x[k] for k in names if x.get(k) is not None), None)
    if not isinstance(value, str) or not value.strip():
        raise Bad(f"{path}, line {n}: {' or '.join(names)} must be a text that is not empty")
    return value.strip()


def id_of(path, n, x):
    if not isinstance(x.get("_id"), (str, int)):
        raise Bad(f"{path}, line {n}: _id is missing")
    return str(x["_id"])


class Texts:
    """Passages by number; equal texts have one."""

    def __init__(self):
        self.number, self.all, self.langs = {}, [], []

    def add(self, text, lang):
        n = self.number.setdefault(text, len(self.all))
        if n == len(self.all):
            self.all.append(text)
            self.langs.append(lang)
        return n


def from_pairs(path, lang):
    """Rows (query, lang, positive, negatives, answers, scores) and the passages"""
    passages, rows = Texts(), []
    for n, x in rows_of(path):
        its = x.get("lang") or lang
        own = x.get("negatives") or []
        if not isinstance(own, list) or not all(isinstance(t, str) and t.strip() for t in own):
            raise Bad(f"{path}, line {n}: negatives must be a list of texts")
        texts = [text_of(path, n, x, "document", "positive"), *own]
        scores = x.get("scores")
        if scores is not None and len(scores) != len(texts):
            raise Bad(f"{path}, line {n}: {len(scores)} scores for {len(texts)} passages (the positive, then the negatives)")
        ids = [passages.add(t.strip(), x.get("doc_lang") or its.split(">")[-1]) for t in texts]
        score = dict(zip(reversed(ids), reversed(scores))) if scores is not None else {}
        negatives = [i for i in dict.fromkeys(ids[1:]) if i != ids[0]]
        answers = x.get("answers") or []
        rows.append((text_of(path, n, x, "query"), its, ids[0], negatives, [answers] if isinstance(answers, str) else answers, score))
    return rows, passages


def from_judged(corpus, queries, qrels, lang):
    passages, number, rows = Texts(), {}, []
    for n, x in rows_of(corpus):
        title = (x.get("title") or "").strip()
        text = text_of(corpus, n, x, "text")
        number[id_of(corpus, n, x)] = passages.add(f"{title}\n{text}" if title else text, x.get("lang") or lang)
    text = {id_of(queries, n, x): (text_of(queries, n, x, "text"), x.get("lang") or lang) for n, x in rows_of(queries)}
    with open_text(qrels) as f:
        for n, r in enumerate(csv.reader(f, delimiter="\t"), 1):
            if n == 1 and not r[-1].lstrip("-").isdigit():
                continue  # the header
            q, d, relevance = (r[0], r[-2], r[-1]) if len(r) in (3, 4) else (None, None, "x")
            if q not in text or d not in number or not relevance.lstrip("-").isdigit():
                raise Bad(f"{qrels}, line {n}: query-id, corpus-id and a whole score expected, both ids known")
            if int(relevance) > 0:
                rows.append((text[q][0], text[q][1], number[d], [], [], {}))
    return rows, passages


def held_passages(rows, count, dev, share, rng):
    """Passages for the development set: answers of `dev` queries and ten times as many others, at most a share of all."""
    order = sorted({r[2] for r in rows})
    rng.shuffle(order)
    room = int(count * share)
    answers = order[: min(dev, room // 2)]
    others = sorted(set(range(count)) - set(answers))
    return set(answers) | set(rng.sample(others, min(len(others), room - len(answers), 10 * len(answers))))


def known_answers(rows):
    """Of each query text, everything that answers it"""
    known = {}
    for query, _, positive, *_ in rows:
        known.setdefault(query.casefold(), set()).add(positive)
    return known


def negative_filter(passages, known, query, answers):
    """Whether a passage may count as not answering the query"""
    good = known[query.casefold()]
    bags = [set(terms(passages.all[g])) for g in good]
    strings = [a.casefold() for a in answers if a.strip()]

    def fits(i):
        if i in good or any(a in passages.all[i].casefold() for a in strings):
            return False
        bag = set(terms(passages.all[i]))
        return all(len(bag & b) < 0.8 * len(bag | b) for b in bags)

    return fits


def add_negatives(negatives, ranked, fits, hard, more, rng):
    """From the best ranks until there are `hard`, then `more` from the ranks after the tenth"""
    wanted = len(negatives) + max(0, hard - len(negatives))
    middle = rng.sample(ranked[10:], len(ranked[10:]))
    for candidates, wanted in ((ranked, wanted), (middle, wanted + more)):
        for i in candidates:
            if len(negatives) >= wanted:
                break
            if i not in negatives and fits(i):
                negatives.append(i)
    return negatives


def training(rows, passages, keep, index, known, hard, more, rng):
    """Rows in the data folder's format: own negatives first, then BM25's best, then some of its middle ranks"""
    out = []
    for start in range(0, len(rows), 256):
        part = rows[start : start + 256]
        found = index.search([r[0] for r in part], 60)
        for (query, lang, positive, own, answers, score), ranked in zip(part, found):
            fits = negative_filter(passages, known, query, answers)
            negatives = [i for i in own if i in keep and i not in known[query.casefold()]]
            negatives = add_negatives(negatives, ranked, fits, hard, more, rng)
            row = {"query": query, "lang": lang, "positive": keep[positive], "negatives": [keep[i] for i in negatives]}
            if score:
                row["scores"] = [score.get(i) for i in [positive, *negatives]]
            out.append(row)
    return out


def development(name, rows, passages, index, known, candidates, limit, rng):
    """Lists of answers and BM25's best others, shuffled; ranks are those of BM25 among the candidates."""
    rows = list({r[0].casefold(): r for r in rows}.values())
    rng.shuffle(rows)
    out = []
    for query, lang, positive, _, answers, _ in rows[:limit]:
        fits = negative_filter(passages, known, query, answers)
        good = sorted(i for i in known[query.casefold()] if i in index.number)
        ranked = index.search([query], len(index.ids))[0]
        others = [i for i in ranked if fits(i)]
        rest = [i for i in index.ids if i not in set(ranked) and fits(i)]
        others += rng.sample(rest, min(len(rest), max(0, candidates - len(others))))
        chosen = good + others[: max(0, candidates - len(good))]
        place = {i: n for n, i in enumerate(ranked)}
        order = sorted(chosen, key=lambda i: (place.get(i, len(place)), rng.random()))
        rank = {i: n + 1 for n, i in enumerate(order)}
        rng.shuffle(chosen)
        out.append({"query_id": f"{name}:{len(out)}", "query": query, "lang": lang.split(">")[0], "doc_lang": passages.langs[positive], "candidates": [
            {"doc_id": f"{name}:{i}", "text": passages.all[i], "label": int(i in good), "bm25_rank": rank[i]} for i in chosen]})
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", required=True, help="data folder; sets that it holds already stay")
    p.add_argument("--name", required=True, help="of the set")
    p.add_argument("--pairs", metavar="FILE")
    p.add_argument("--corpus", metavar="FILE"), p.add_argument("--queries", metavar="FILE"), p.add_argument("--qrels", metavar="FILE")
    p.add_argument("--lang", default="en", help="where the rows name none")
    p.add_argument("--instruction", choices=sorted(INSTRUCTIONS), help="train the set with this instruction too (texts in data.py)")
    p.add_argument("--licence", help="for the model card"), p.add_argument("--source", help="for the model card")
    p.add_argument("--dev", type=int, default=40, help="queries of the development set, 0 for none")
    p.add_argument("--dev-share", type=float, default=0.2, help="greatest share of the passages that it may hold")
    p.add_argument("--candidates", type=int, default=10, help="of each development query")
    p.add_argument("--hard", type=int, default=3, help="BM25 negatives of each training query, own ones counted")
    p.add_argument("--more", type=int, default=2, help="negatives from its middle ranks")
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    judged = [a.corpus, a.queries, a.qrels]
    if bool(a.pairs) == any(judged) or any(judged) != all(judged):
        p.error("either --pairs, or --corpus, --queries and --qrels")
    rng = random.Random(a.seed)
    rows, passages = from_pairs(a.pairs, a.lang) if a.pairs else from_judged(*judged, a.lang)
    if not rows:
        raise Bad("no query with an answer")
    known = known_answers(rows)
    held = held_passages(rows, len(passages.all), a.dev, a.dev_share, rng) if a.dev else set()
    held_queries = {q for q, good in known.items() if good & held}
    train_rows = [r for r in rows if r[0].casefold() not in held_queries]
    keep = {i: n for n, i in enumerate(i for i in range(len(passages.all)) if i not in held)}
    if not train_rows:
        raise Bad("nothing is left to train on: lower --dev or --dev-share")
    index = Index(passages.all, list(keep))
    trained = training(train_rows, passages, keep, index, known, a.hard, a.more, rng)
    file = lambda kind, end: os.path.join(a.out, kind, a.name + end)
    write_gz(file("train", ".passages.jsonl.gz"), ({"id": n, "lang": passages.langs[i], "text": passages.all[i]} for i, n in keep.items()))
    write_gz(file("train", ".jsonl.gz"), trained)
    lists = []
    if held:
        # Of a query with answers on both sides, only those that are held out are candidates.
        dev_rows = [r for r in rows if r[2] in held]
        lists = development(a.name, dev_rows, passages, Index(passages.all, sorted(held)), known, a.candidates, a.dev, rng)
        write_gz(file("dev", ".jsonl.gz"), lists)
    elif os.path.exists(file("dev", ".jsonl.gz")):
        os.remove(file("dev", ".jsonl.gz"))  # of an earlier run: its passages are now trained on
    path = os.path.join(a.out, "train", "sets.json")
    sets = json.load(open(path, encoding="utf8")) if os.path.exists(path) else {}
    langs = {}
    for r in trained:
        langs[r["lang"]] = langs.get(r["lang"], 0) + 1
    sets[a.name] = {"queries": len(trained), "passages": len(keep), "langs": langs, "dev_queries": len(lists),
                    "instruction": a.instruction, "licence": a.licence, "source": a.source}
    write_json(path, sets)
    print(f"{a.name}: {len(trained)} queries, {len(keep)} passages; {len(lists)} development queries, {len(held)} passages held out")


if __name__ == "__main__":
    main()
