"""Pretrain token vectors without context, as a start for the reranker's embedding table.

Query and passage are weighted sums of token vectors, trained so that a passage is nearer to its own query than the other
passages of the same set (in-batch) and one hard negative. A few minutes of this align tokens across languages, between synonyms, and
between descriptions and commands, which a small transformer would need far longer to learn by itself.
"""
import argparse
import os
import time

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import data as D


def bags(ragged, rows, limit):
    seqs = [ragged[i][:limit] for i in rows]
    off = np.zeros(len(seqs), np.int64)
    np.cumsum([len(s) for s in seqs[:-1]], out=off[1:])
    return torch.from_numpy(np.concatenate(seqs).astype(np.int64)), torch.from_numpy(off)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True)
    p.add_argument("--tokenizer", required=True, help="tokenizer.json")
    p.add_argument("--cache", required=True)
    p.add_argument("--out", required=True, help=".npz to write")
    p.add_argument("--dim", type=int, default=88, help="as the initialisation in model.py expects")
    p.add_argument("--batch", type=int, default=512)
    p.add_argument("--minutes", type=float, default=4)
    p.add_argument("--lr", type=float, default=5e-3)
    p.add_argument("--passage-tokens", type=int, default=160)
    p.add_argument("--temperature", type=float, default=0.05)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    rng = np.random.default_rng(a.seed)
    tok = Tokenizer.from_file(a.tokenizer)
    vocab = tok.get_vocab_size()
    sets = D.load_train(a.data, tok, a.cache)
    w = np.array([len(s.lists) ** 0.6 for s in sets])
    w /= w.sum()
    idf = torch.from_numpy(D.idf(sets, vocab))
    vec = torch.nn.Parameter(torch.randn(vocab, a.dim) / a.dim**0.5)
    logw = torch.nn.Parameter(torch.log(idf.clamp(min=0.05)))
    opt = torch.optim.Adam([{"params": [vec], "lr": a.lr}, {"params": [logw], "lr": a.lr}], betas=(0.9, 0.98))
    start, step, running = time.time(), 0, None
    pool = lambda ids, off: F.normalize(F.embedding_bag(ids, vec, off, per_sample_weights=logw.exp()[ids], mode="sum"), dim=-1)
    while (spent := (time.time() - start) / 60) < a.minutes:
        left = 1 - spent / a.minutes
        for g in opt.param_groups:
            g["lr"] = a.lr * min(1, 2 * left)
        s = sets[rng.choice(len(sets), p=w)]
        known = np.setdiff1d(np.arange(len(s.lists)), D.held_out(len(s.lists)))
        rows = rng.choice(known, min(a.batch, len(known)), replace=False)
        lists = [s.lists[i] for i in rows]
        pos, neg = [l[0] for l in lists], [l[rng.integers(1, len(l))] for l in lists]
        q, d = pool(*bags(s.queries, rows, 96)), pool(*bags(s.passages, pos + neg, a.passage_tokens))
        logits = q @ d.T / a.temperature
        # Passages equal to the row's own positive are no negatives.
        ids = torch.tensor(pos + neg)
        same = ids[None, :] == torch.tensor(pos)[:, None]
        same[torch.arange(len(pos)), torch.arange(len(pos))] = False
        loss = F.cross_entropy(logits.masked_fill(same, -1e9), torch.arange(len(pos)))
        opt.zero_grad()
        loss.backward()
        opt.step()
        running = loss.item() if running is None else 0.99 * running + 0.01 * loss.item()
        step += 1
        if step % 200 == 0:
            print(f"step {step} minutes {spent:.2f} loss {running:.3f}", flush=True)
    np.savez(a.out, vectors=vec.detach().numpy(), weight=logw.detach().exp().numpy(), idf=idf.numpy())
    for word in (" dog", " king", " water", " list", " casa", " Wasser", "水"):
        t = tok.encode(word).ids
        if len(t) == 1:
            n = F.normalize(vec.detach(), dim=-1)
            print(repr(word), [tok.decode([int(i)]) for i in (n @ n[t[0]]).topk(8).indices])


if __name__ == "__main__":
    main()
