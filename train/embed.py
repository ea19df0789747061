"""Pretrain token vectors without context, as a start for the reranker's embedding table.

A token has two vectors, M and B, each of unit length, and a weight; both are made of a vector of its own and those of the n-grams in its spelling. Two losses are added:

* bags: query and passage are weighted sums of the tokens' [M | B]; a passage must be nearer to its own query than the other passages of the batch
  and one hard negative of each;
* lists: the positive of a query must win against its negatives by a late interaction over M, the weighted mean over the query's tokens of their
  greatest similarity with a token of the passage (MaxSim), and, at half the weight, by the bags' similarity. Each by itself: of their sum the
  late interaction is soon left out.

This aligns tokens across languages, between synonyms, and between descriptions and commands, which a small transformer would need far
longer to learn by itself. Tokens are dropped at random, so that no pair is learned by a single one. The positives of lists that the network trains on
(data.held_passages) are left out.
"""
import argparse
import os
import time
import unicodedata

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import data as D
from report import hardware, write_json
from start import M_DIM


def spelling(tok):
    """The n-grams in each token's spelling, by number: ids and offsets as embedding_bag takes them, and how many n-grams there are. They have two to four
    characters, "^" for the space before a word among them; combining marks are left out, and Hangul is spelled in its letters. A Chinese character or a kana
    counts by itself, too. Tokens without letters, or of some bytes of a character, have none."""
    ids, offsets, numbers = [], [], {}
    for i in range(tok.get_vocab_size()):
        text = tok.decode([i], skip_special_tokens=False)
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
        if text.startswith(" "):
            text = "^" + text[1:]
        offsets.append(len(ids))
        if any(c.isalpha() for c in text) and "\N{REPLACEMENT CHARACTER}" not in text:
            grams = {text[at : at + n] for n in (2, 3, 4) for at in range(len(text) - n + 1)} | {c for c in text if c > "\u2e7f"}
            ids += [numbers.setdefault(gram, len(numbers)) for gram in sorted(grams)]
    return torch.tensor(ids, dtype=torch.long), torch.tensor(offsets), len(numbers)


class Vectors(torch.nn.Module):
    """A token's vector is one of its own plus the sum of those of the n-grams in its spelling, divided by the root of their number (the sum is fastText's:
    Bojanowski et al., 2017, Enriching Word Vectors with Subword Information). So forms of a word begin near each other, and what is learned of one helps rarer ones."""

    def __init__(self, idf, dim, tok):
        super().__init__()
        ids, offsets, grams = spelling(tok)
        count = torch.diff(offsets, append=torch.tensor([len(ids)]))
        for name, value in (("ids", ids), ("offsets", offsets), ("share", count.clamp(min=1).rsqrt()[:, None])):
            self.register_buffer(name, value)
        self.own = torch.nn.Parameter(torch.randn(len(idf), dim) / dim**0.5)
        self.grams = torch.nn.Parameter(torch.randn(grams, dim) / dim**0.5)
        self.log_weight = torch.nn.Parameter(torch.log(idf.clamp(min=0.05)))
        self.log_scale = torch.nn.Parameter(torch.tensor([3.0, 3.0]))  # in lists: of the bags, of the late interaction

    def tables(self):
        """[V, dim] = [M | B], each of unit length, and the weights [V]"""
        vectors = self.own + self.share * F.embedding_bag(self.ids, self.grams, self.offsets, mode="sum")
        unit = [F.normalize(part, dim=-1) for part in vectors.split([M_DIM, vectors.shape[1] - M_DIM], dim=1)]
        return torch.cat(unit, -1), self.log_weight.exp()


def bags(vectors, weight, seqs):
    """[n, dim]: of each sequence the weighted sum of its vectors, made one long"""
    offset = np.zeros(len(seqs), np.int64)
    np.cumsum([len(s) for s in seqs[:-1]], out=offset[1:])
    ids, offset = (torch.from_numpy(x).to(vectors.device) for x in (np.concatenate(seqs).astype(np.int64), offset))
    return F.normalize(F.embedding_bag(ids, vectors, offset, per_sample_weights=weight[ids], mode="sum"), dim=-1)


def batch_loss(vectors, weight, queries, passages, ids, temperature):
    """passages: the positives in the order of the queries, then hard negatives; ids: their numbers"""
    logits = bags(vectors, weight, queries) @ bags(vectors, weight, passages).T / temperature
    n, own = len(queries), torch.arange(len(queries))
    ids = torch.tensor(ids)
    same = ids[None, :] == ids[:n, None]  # a passage equal to the query's own positive is no negative
    same[own, own] = False
    return F.cross_entropy(logits.masked_fill(same.to(logits.device), -1e9), own.to(logits.device))


def list_loss(vectors, weight, log_scale, queries, passages):
    """passages: for each query the positive, then its negatives"""
    n, candidates = len(queries), len(passages) // len(queries)
    q, q_len = D.pad(queries)
    d, d_len = D.pad(passages)
    tensor = lambda x: torch.from_numpy(x).to(vectors.device)
    in_q, in_d = (tensor(np.arange(x.shape[1]) < length[:, None]) for x, length in ((q, q_len), (d, d_len)))
    q, d = tensor(q), tensor(d)
    qv, dv, qw, dw = F.embedding(q, vectors), F.embedding(d, vectors), weight[q] * in_q, weight[d] * in_d
    near = torch.bmm(qv[..., :M_DIM], dv[..., :M_DIM].reshape(n, -1, M_DIM).transpose(1, 2)).view(n, q.shape[1], candidates, -1)
    near = near.masked_fill(~in_d.view(n, 1, candidates, -1), -1.0).max(-1).values
    late = (qw[:, :, None] * near).sum(1) / qw.sum(1, keepdim=True)
    mean = lambda v, w: F.normalize((v * w[..., None]).sum(1), dim=-1)
    bag = (mean(qv, qw)[:, None] * mean(dv, dw).view(n, candidates, -1)).sum(-1)
    first, scale = torch.zeros(n, dtype=torch.long, device=vectors.device), log_scale.exp()
    return F.cross_entropy(scale[1] * late, first) + F.cross_entropy(scale[0] * bag, first) / 2


class Sampler:
    """Queries and passages as token sequences, some of their tokens dropped."""

    def __init__(self, sets, tok, seed, power, factors, dropout, all_lists):
        self.sets, self.rng, self.dropout = sets, np.random.default_rng(seed), dropout
        self.weight = D.draw_weights(sets, power, factors)
        self.known = [np.ones(len(s.passages), bool) if all_lists else ~D.held_passages(s) for s in sets]
        self.free = [np.flatnonzero(known) for known in self.known]
        self.rows = [np.flatnonzero(known[s.positives()]) for s, known in zip(sets, self.known)]
        self.weight[[len(r) == 0 for r in self.rows]] = 0
        if not self.weight.any():
            raise SystemExit("embed.py: no query to train on; the sets are too small to hold any back (--all-lists)")
        self.weight /= self.weight.sum()
        self.tail = D.query_tail(tok)

    def list(self, k, i):
        """Row i of set k: the positive, then those negatives that are not held back"""
        l = self.sets[k].lists[i]
        return l[self.known[k][l]]

    def anything(self, k, n):
        """n passages of the set, not held back"""
        return self.rng.choice(self.free[k], n)

    def draw(self, n=None):
        return self.rng.choice(len(self.sets), n, p=self.weight)

    def drop(self, seq):
        """Up to `dropout` of a sequence's tokens, on average half as many, are left out."""
        if not self.dropout or len(seq) <= 3:
            return seq
        keep = self.rng.random(len(seq)) > self.dropout * self.rng.random()
        return seq[keep] if keep.any() else seq

    def query(self, s, i, limit):
        q = s.queries[i]
        return self.drop((q[: -self.tail] if len(q) > self.tail + 2 else q)[:limit])

    def passage(self, s, j, limit):
        return self.drop(s.passages[j][:limit])

    def batch(self, size, query_tokens, passage_tokens):
        """Queries of one set, their positives and one negative of each"""
        k = self.draw()
        s, known, rng = self.sets[k], self.rows[k], self.rng
        rows = rng.choice(known, min(size, len(known)), replace=False)
        lists = [self.list(k, i) for i in rows]
        other = lambda l: l[rng.integers(1, len(l))] if len(l) > 1 else self.anything(k, 1)[0]
        ids = [int(l[0]) for l in lists] + [int(other(l)) for l in lists]
        return [self.query(s, i, query_tokens) for i in rows], [self.passage(s, j, passage_tokens) for j in ids], ids

    def lists(self, n, negatives, query_tokens, passage_tokens):
        """Queries of any sets, each with its positive, its first three negatives and some of the others"""
        queries, passages, rng = [], [], self.rng
        for k in self.draw(n):
            s, i = self.sets[k], rng.choice(self.rows[k])
            l = self.list(k, i)
            ids = list(l[1:4])[:negatives]
            rest = min(len(l) - 4, negatives - len(ids))
            ids += list(rng.choice(l[4:], rest, replace=False)) if rest > 0 else []
            ids += list(self.anything(k, negatives - len(ids)))
            queries.append(self.query(s, i, query_tokens))
            passages += [self.passage(s, j, passage_tokens) for j in [l[0], *ids]]
        return queries, passages


def neighbours(vectors, tok, words=(" dog", " king", " water", " list", " casa", " Wasser", "水")):
    for word in words:
        ids = tok.encode(word).ids
        if len(ids) == 1:
            print(repr(word), [tok.decode([int(i)]) for i in (vectors @ vectors[ids[0]]).topk(8).indices])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True)
    p.add_argument("--tokenizer", required=True, help="tokenizer.json")
    p.add_argument("--cache", required=True, help="folder of the encoded data, the one of train.py: WORK/cache")
    p.add_argument("--out", required=True, help=".npz to write")
    p.add_argument("--steps", type=int, default=28000)
    p.add_argument("--dim", type=int, default=2 * M_DIM, help="of M and B together; start.py reads the default")
    p.add_argument("--batch", type=int, default=512, help="queries of the bags")
    p.add_argument("--lists", type=int, default=48)
    p.add_argument("--negatives", type=int, default=5, help="of each list")
    p.add_argument("--lr", type=float, default=5e-3)
    p.add_argument("--temperature", type=float, default=0.05, help="of the bags")
    p.add_argument("--dropout", type=float, default=0.4, help="greatest share of tokens left out of a text")
    p.add_argument("--power", type=float, default=0.6, help="a set is drawn in proportion to its size to this power")
    p.add_argument("--weight", action="append", metavar="PREFIX=FACTOR", help="draw these sets more or less often (default: xb-=0.6)")
    p.add_argument("--all-lists", action="store_true", help="also those that the network trains on (bad for it, good for use alone)")
    p.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    factors = ["xb-=0.6"] if a.weight is None else a.weight
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    tok = Tokenizer.from_file(a.tokenizer)
    sets = D.load_train(a.data, tok, a.cache)
    draw = Sampler(sets, tok, a.seed, a.power, factors, a.dropout, a.all_lists)
    idf = torch.from_numpy(D.idf(sets, tok.get_vocab_size()))
    model = Vectors(idf, a.dim, tok).to(a.device)
    opt = torch.optim.Adam(model.parameters(), lr=a.lr, betas=(0.9, 0.98), fused=True)
    start, running = time.time(), None
    for step in range(a.steps):
        for g in opt.param_groups:
            g["lr"] = a.lr * min(1, 2 * (1 - step / a.steps), (step + 1) / 50)
        vectors, weight = model.tables()
        in_batch = batch_loss(vectors, weight, *draw.batch(a.batch, 96, 160), a.temperature)
        in_lists = list_loss(vectors, weight, model.log_scale, *draw.lists(a.lists, a.negatives, 64, 128))
        opt.zero_grad()
        (in_batch + in_lists).backward()
        opt.step()
        losses = np.array([in_batch.item(), in_lists.item()])
        running = losses if running is None else 0.99 * running + 0.01 * losses
        if (step + 1) % 200 == 0 or step + 1 == a.steps:
            spent = (time.time() - start) / 60
            print(f"step {step + 1} minutes {spent:.2f} bags {running[0]:.3f} lists {running[1]:.3f}", flush=True)
    with torch.no_grad():
        vectors, weight = (x.cpu() for x in model.tables())
    write_json(a.out + ".json", {
        "steps": a.steps, "minutes": round((time.time() - start) / 60, 1), "options": {**vars(a), "weight": factors},
        "losses": [round(float(x), 3) for x in running], "queries": sum(map(len, draw.rows)), "hardware": hardware(a.device)})
    np.savez(a.out + ".tmp.npz", vectors=vectors.numpy(), weight=weight.numpy(), idf=idf.numpy())
    os.replace(a.out + ".tmp.npz", a.out)
    neighbours(vectors, tok)


if __name__ == "__main__":
    main()
