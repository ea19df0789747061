"""Reading, encoding, sampling and batching of training lists."""
import gzip
import hashlib
import json
import os
from dataclasses import dataclass

import numpy as np

from prompt import DEFAULT_INSTRUCTION, PREFIX, SUFFIX, document_part, head_part, query_part

# One instruction per kind of set (train/sets.json names the kind; a set without one uses the default instruction only).
INSTRUCTIONS = {
    "qa": "Given a question, retrieve passages that answer the question",
    "claim": "Given a scientific claim, retrieve documents that support or refute the claim",
    "function": "Given a description of a function, retrieve the code that implements it",
    "shell": "Given a description of a task, retrieve the shell command that does it",
    "software": "Given a description of a software package, retrieve the matching package",
    "help": "Given a title or question, retrieve the help page about it",
    "translation": "Given a sentence, retrieve its translation",
    "paragraph": "Given a sentence of documentation, retrieve the paragraph it belongs to",
    "command": "Given the name or purpose of a command, retrieve its help page",
    "definition": "Given a word, retrieve its definition",
}


def load_instructions(data):
    """All instructions that training uses, the default one first."""
    kinds = sorted({v for v in set_kinds(data).values() if v})
    return [DEFAULT_INSTRUCTION] + [INSTRUCTIONS[k] for k in kinds]


def set_kinds(data):
    path = os.path.join(data, "train", "sets.json")
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf8") as f:
        sets = json.load(f)
    first = lambda v: (v.get("instruction") or "").split(" ")[0]
    return {name: first(v) if first(v) in INSTRUCTIONS else None for name, v in sets.items()}


def set_names(data):
    """The training sets, by their files"""
    end = ".passages.jsonl.gz"
    return [f[: -len(end)] for f in sorted(os.listdir(os.path.join(data, "train"))) if f.endswith(end)]


def read(path):
    with gzip.open(path, "rt", encoding="utf8") as f:
        return [json.loads(line) for line in f]


class Ragged:
    """Many short integer sequences in one flat array."""

    def __init__(self, flat, start):
        self.flat, self.start = flat, start

    @classmethod
    def of(cls, seqs):
        start = np.zeros(len(seqs) + 1, np.int64)
        np.cumsum([len(s) for s in seqs], out=start[1:])
        flat = np.empty(start[-1], np.int32)
        for i, s in enumerate(seqs):
            flat[start[i] : start[i + 1]] = s
        return cls(flat, start)

    def __len__(self):
        return len(self.start) - 1

    def __getitem__(self, i):
        return self.flat[self.start[i] : self.start[i + 1]]


def encode_all(tok, texts, limit, chunk=4096):
    out = []
    for i in range(0, len(texts), chunk):
        out += [e.ids[:limit] for e in tok.encode_batch_fast(texts[i : i + chunk], add_special_tokens=False)]
    return out


@dataclass
class TrainSet:
    name: str
    queries: Ragged
    passages: Ragged
    lists: Ragged  # [positive, negatives...] of each query
    scores: np.ndarray | None = None  # a teacher's, beside lists.flat; NaN where there is none

    def positives(self):
        return self.lists.flat[self.lists.start[:-1]]


def fingerprint(tok, *files):
    """Changes with the tokenizer and with what the files hold: a gzip file ends with the checksum of its content."""
    h = hashlib.sha256(tok.to_str().encode())
    for path in files:
        with open(path, "rb") as f:
            h.update(str(f.seek(0, os.SEEK_END)).encode())
            f.seek(-8, os.SEEK_END)
            h.update(f.read())
    return h.hexdigest()


def read_lists(path, rows, passages):
    """Lists of passage numbers and, if any row has them, the teacher's scores beside them; what is wrong is named by line."""
    scores = np.full(sum(1 + len(r["negatives"]) for r in rows), np.nan, np.float32)
    lists, n = [], 0
    for i, r in enumerate(rows):
        l = [r["positive"]] + r["negatives"]
        if not all(0 <= j < passages for j in l):
            raise ValueError(f"{path}, line {i + 1}: a passage number outside 0..{passages - 1}")
        if r.get("scores") is not None:
            if len(r["scores"]) != len(l):
                raise ValueError(f"{path}, line {i + 1}: {len(r['scores'])} scores for {len(l)} passages")
            scores[n : n + len(l)] = [np.nan if x is None else x for x in r["scores"]]
        lists.append(l)
        n += len(l)
    return Ragged.of(lists), None if np.isnan(scores).all() else scores


def load_train(data, tok, cache, max_query=96, max_passage=640):
    """Encode every training set once; keep the result in `cache` until the data or the tokenizer changes."""
    os.makedirs(cache, exist_ok=True)
    folder = os.path.join(data, "train")
    sets = []
    for name in set_names(data):
        path = os.path.join(cache, name + ".npz")
        passage_file, list_file = (os.path.join(folder, name + end) for end in (".passages.jsonl.gz", ".jsonl.gz"))
        key = fingerprint(tok, passage_file, list_file)
        if not (os.path.exists(path) and str(np.load(path).get("key")) == key):
            passages = [x["text"] for x in read(passage_file)]
            rows = read(list_file)
            # The query part keeps its end ("\n<Document>:"), so an over-long query is cut as text first.
            q = Ragged.of(encode_all(tok, [query_part(r["query"][: 4 * max_query]) for r in rows], 8 * max_query))
            p = Ragged.of(encode_all(tok, [document_part(t) for t in passages], max_passage))
            lists, scores = read_lists(list_file, rows, len(passages))
            taught = {} if scores is None else {"scores": scores}
            np.savez(path + ".tmp.npz", key=key, qf=q.flat, qs=q.start, pf=p.flat, ps=p.start, lf=lists.flat, ls=lists.start, **taught)
            os.replace(path + ".tmp.npz", path)
        z = np.load(path)
        r = lambda x: Ragged(z[x + "f"], z[x + "s"])
        sets.append(TrainSet(name, r("q"), r("p"), r("l"), z.get("scores")))
    return sets


HELD = 7


def held_passages(s):
    """[passages] bool: those that the context-free vectors never meet. The network trains on the queries that they answer: on others the vectors
    know the answer, and it would learn to trust them blindly. A passage met with other queries only is known too: it still agrees with its queries
    better than an unknown one."""
    return np.arange(len(s.passages)) % HELD == 0


def held_lists(s):
    """The rows whose positive is held back"""
    return np.flatnonzero(held_passages(s)[s.positives()])


def draw_weights(sets, power, factors=()):
    """How often each set is drawn: its size to a power, times the factors of the prefixes ("PREFIX=FACTOR") that its name begins with."""
    w = np.array([float(len(s.lists)) ** power for s in sets])
    for prefix, factor in (f.rsplit("=", 1) for f in factors):
        w *= [float(factor) if s.name.startswith(prefix) else 1.0 for s in sets]
    return w / w.sum() if w.any() else w


def idf(sets, vocab):
    df, n = np.zeros(vocab), 0
    for s in sets:
        for i in range(0, len(s.passages), 7):
            df[np.unique(s.passages[i])] += 1
            n += 1
    return np.log((n + 1) / (df + 1)).astype(np.float32)


@dataclass
class Batch:
    head: np.ndarray  # [P] PREFIX + instruction, shared by the whole batch
    query: np.ndarray  # [B, Lq] right-padded
    query_len: np.ndarray  # [B]
    doc: np.ndarray  # [B * C, Ld] right-padded, SUFFIX included
    doc_len: np.ndarray  # [B * C]
    candidates: int  # C; the first candidate of each list is the positive
    teacher: np.ndarray | None = None  # [B, C] scores, NaN where there is none; None if no list of the batch has any


def length(tok, text):
    return len(tok.encode(text, add_special_tokens=False).ids)


def query_tail(tok):
    """Tokens of the end of a query's part, "\\n<Document>:" """
    return length(tok, query_part("a")) - length(tok, " a")


class Batcher:
    """Endless stream of batches.

    A batch has one instruction, so PREFIX and instruction are computed once for all of it; a query is computed once for all of
    its candidates. Documents longer than the batch's limit are cut to the window that shares the most (idf-weighted) tokens
    with the query, by the same rule for positives and negatives, so that an answer is rarely cut off.

    A reranker gets what a search by words has found, and its first hits are the hard negatives. Lists are left out whose positive shares less than `found` times the
    (idf-weighted) tokens with the query that its first three negatives share on average: no such search would have found it, and from them the network learns that
    shared words speak against a document.
    """

    def __init__(self, data, sets, tok, seed, candidates=5, tokens=9000, limit=112, long_limit=320, long_share=0.15,
                 own_share=0.2, power=0.5, factors=(), held=False, found=0.0):
        self.rng, self.found = np.random.default_rng(seed), found
        self.sets, self.candidates, self.tokens = sets, candidates, tokens
        self.limit, self.long_limit, self.long_share = limit, long_limit, long_share
        self.own_share = own_share
        for s in sets:
            if len(s.passages) < candidates:
                raise ValueError(f"the set {s.name} has {len(s.passages)} passages; lists of {candidates} need as many")
        if candidates < 2:
            raise ValueError("a list needs a positive and a negative: at least two candidates")
        self.rows = [held_lists(s) if held else np.arange(len(s.lists)) for s in sets]
        self.weight = draw_weights(sets, power, factors)
        self.weight[[len(r) == 0 for r in self.rows]] = 0
        if not self.weight.any():
            raise ValueError("no query to train on: of these few passages none that answers is held back from the vectors (--all-lists uses all)")
        self.weight /= self.weight.sum()
        enc = lambda t: np.array(tok.encode(t, add_special_tokens=False).ids, np.int32)
        self.suffix = enc(SUFFIX)
        kinds = set_kinds(data)
        self.heads = {k: np.concatenate([enc(PREFIX), enc(head_part(INSTRUCTIONS[k] if k else DEFAULT_INSTRUCTION))])
                      for k in {None, *kinds.values()}}
        self.kind = [kinds.get(s.name) for s in sets]
        self.idf = idf(sets, tok.get_vocab_size())
        self.scratch = np.zeros_like(self.idf)
        self.order = [np.empty(0, np.int64) for _ in sets]

    def next_query(self, k):
        """Queries of a set come in random order without repetition within an epoch of that set."""
        if not len(self.order[k]):
            self.order[k] = self.rng.permutation(self.rows[k])
        i, self.order[k] = self.order[k][-1], self.order[k][:-1]
        return i

    def is_found(self, s, l):
        """Of the list's query `scratch` holds the idf"""
        shared = [self.scratch[np.unique(s.passages[j])].sum() for j in l[:4]]
        return len(l) < 2 or shared[0] >= self.found * np.mean(shared[1:])

    def window(self, doc, limit):
        over = len(doc) - limit
        if over <= 0:
            return doc
        c = np.concatenate([[0], np.cumsum(self.scratch[doc])])
        starts = np.arange(0, over + 1, 8)
        gain = c[starts + limit] - c[starts]
        best = np.flatnonzero(gain >= gain.max() - 1e-6)
        s = starts[best[0] if self.rng.random() < 0.5 else self.rng.choice(best)]
        return doc[s : s + limit]

    def pool(self, lists=1536):
        rng = self.rng
        long = rng.random() < self.long_share
        limit = self.long_limit if long else self.limit
        budget = self.tokens
        rows = {}
        for k in rng.choice(len(self.sets), lists // (4 if long else 1), p=self.weight):
            s = self.sets[k]
            i = self.next_query(k)
            q, l = s.queries[i], s.lists[i]
            self.scratch[q] = self.idf[q]
            if not self.is_found(s, l):
                self.scratch[q] = 0
                continue
            neg = l[1:]
            keep = [l[0], *neg[:3]][: self.candidates]
            rest = list(neg[3:])
            while len(keep) < self.candidates:
                if rest:
                    keep.append(rest.pop(rng.integers(len(rest))))
                else:
                    j = int(rng.integers(len(s.passages)))
                    if j not in l:
                        keep.append(j)
            docs = [self.window(s.passages[j], limit) for j in keep]
            taught = None if s.scores is None else self.taught(s, i, keep)
            self.scratch[q] = 0
            kind = self.kind[k] if rng.random() < self.own_share else None
            rows.setdefault(kind, []).append((q, docs, max(map(len, docs)), taught))
        if not rows:
            raise ValueError(f"of many lists drawn none has a positive that shares {self.found:g} times as much with its query as its first negatives do (--found)")
        batches = []
        for kind, r in rows.items():
            r.sort(key=lambda x: x[2] + 0.2 * len(x[0]) * self.candidates / 5)
            i = 0
            while i < len(r):
                n = 1
                while i + n < len(r) and (n + 1) * (self.candidates * (r[i + n][2] + len(self.suffix)) + len(r[i + n][0])) <= budget:
                    n += 1
                batches.append(self.pack(kind, r[i : i + n]))
                i += n
        rng.shuffle(batches)
        return batches

    def taught(self, s, i, keep):
        """The teacher's scores of the kept passages; a passage drawn at random has none. Of less than two there is nothing to learn."""
        row = slice(s.lists.start[i], s.lists.start[i + 1])
        known = dict(zip(s.lists.flat[row].tolist(), s.scores[row].tolist()))
        t = np.array([known.get(int(j), np.nan) for j in keep], np.float32)
        return t if np.isfinite(t).sum() > 1 else None

    def pack(self, kind, rows):
        queries = [r[0] for r in rows]
        docs = [np.concatenate([d, self.suffix]) for r in rows for d in r[1]]
        teacher = None
        if any(r[3] is not None for r in rows):
            none = np.full(self.candidates, np.nan, np.float32)
            teacher = np.stack([none if r[3] is None else r[3] for r in rows])
        q, ql = pad(queries)
        d, dl = pad(docs)
        return Batch(self.heads[kind], q, ql, d, dl, self.candidates, teacher)

    def __iter__(self):
        while True:
            yield from self.pool()


def pad(seqs):
    n = np.array([len(s) for s in seqs], np.int64)
    out = np.zeros((len(seqs), n.max()), np.int64)
    for i, s in enumerate(seqs):
        out[i, : len(s)] = s
    return out, n


def load_lists(path):
    """Development lists: {"query_id", "query", "candidates": [{"doc_id", "text", "label", "bm25_rank"}]} a line."""
    return read(path)
