"""BM25 over passages, for hard negatives: the `bm25s` package with terms that suit the script."""
import unicodedata

import bm25s
import regex

# Written without spaces between words: pairs of neighbouring characters are the terms.
UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
PIECE = regex.compile(rf"(?P<run>[{UNSPACED}][{UNSPACED}\p{{M}}ー々]*)|(?:(?![{UNSPACED}])[\p{{L}}\p{{N}}\p{{M}}_])+")
PARTS = regex.compile(r"\p{Lu}+(?!\p{Ll})|\p{Lu}?[\p{Ll}\p{M}]+|\p{N}+|[\p{L}\p{M}]+")


def terms(text):
    """Words in lower case, identifiers also by their parts; bigrams of scripts without spaces."""
    out = []
    for m in PIECE.finditer(unicodedata.normalize("NFKC", text)):
        piece = m.group()
        if m.group("run"):
            out += [piece[i : i + 2] for i in range(len(piece) - 1)] or [piece]
            continue
        out.append(piece.casefold())
        parts = PARTS.findall(piece)
        if len(parts) > 1:
            out += [x.casefold() for x in parts]
    return out


class Index:
    """Some of the passages, by number"""

    def __init__(self, texts, ids, k1=1.2, b=0.75):
        self.ids, self.number = ids, set(ids)
        bags = [terms(texts[i]) for i in ids]
        self.known = {t for bag in bags for t in bag}
        self.bm25 = bm25s.BM25(k1=k1, b=b, method="lucene")
        if self.known:
            self.bm25.index(bags, show_progress=False)

    def search(self, queries, k):
        """For each query at most k passages that share a term with it, the best first."""
        out, asked = [[] for _ in queries], []
        for n, q in enumerate(queries):
            bag = [t for t in terms(q) if t in self.known]
            if bag:
                asked.append((n, bag))
        if asked:
            docs, scores = self.bm25.retrieve([bag for _, bag in asked], k=min(k, len(self.ids)), show_progress=False, n_threads=0)
            for (n, _), d, s in zip(asked, docs, scores):
                out[n] = [self.ids[int(i)] for i, x in zip(d, s) if x > 0]
        return out
