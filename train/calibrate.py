"""Train the constants of the structured start (start.py), and with --vector-lr the token vectors through it.

The constants are some seventy numbers, so that a few minutes and a high rate are enough. The loss is that of train.py, listwise and pointwise, on the same lists; everything else
of the network follows from the constants and from the vectors. That loss alone leaves the mark COVER a poor count of the query's words that a document has; with --cover it is
told what to count. Beside OUT.json the vectors are written as OUT.npz, in embed.py's form.
"""
import argparse
import os
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads are costly on a machine that does other work too

import numpy as np
import torch
import torch.nn.functional as F

import data as D
import options
from prompt import SUFFIX
from report import hardware, read_json
from start import M_DIM, Start, blocks
from train import loss_of


def coverage(start, b, tail, suffix, nearest=0.5):
    """[B, candidates]: of the query's weight, the part of tokens that are the nearest one of some document token, by a cosine of M over `nearest`"""
    with torch.no_grad():
        M, w = F.normalize(start.vectors[:, :M_DIM], dim=-1), start.weights().exp()
        doc = torch.from_numpy(b.doc.astype(np.int64)).view(len(b.query), b.candidates, -1)
        inside = torch.arange(doc.shape[-1]) < torch.from_numpy(b.doc_len - suffix).view(*doc.shape[:2], 1)
        out = []
        for query, length, docs, own in zip(b.query, b.query_len, doc, inside):
            q = torch.from_numpy(query[: max(length - tail, 1)].astype(np.int64))
            cosine, at = (M[docs] @ M[q].T).max(-1)
            found = torch.zeros(len(docs), len(q) + 1).scatter_(1, torch.where(own & (cosine > nearest), at, len(q)), 1.0)
            out.append(found[:, :-1] @ w[q] / w[q].sum())
        return torch.stack(out)


def within(x, y):
    """The correlation of x and y [B, candidates] within lists"""
    x, y = (t - t.mean(1, keepdim=True) for t in (x, y))
    return (x * y).sum() / (x.square().sum() * y.square().sum()).sqrt().clamp(min=1e-6)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--data", required=True, help="data folder (train/ and dev/)")
    options.network(p)
    options.batches(p, candidates=8, tokens=5000, long_share=0.2)
    p.add_argument("--embeddings", required=True, help=".npz made by embed.py")
    p.add_argument("--cache", required=True, help="folder of the encoded data, the one of train.py: WORK/cache")
    p.add_argument("--init", help="JSON of an earlier run, whose constants these begin with (its vectors: --embeddings)")
    p.add_argument("--out", required=True, help=".json to write: the constants, and how they were found")
    p.add_argument("--steps", type=int, default=150)
    p.add_argument("--lr", type=float, default=0.04)
    p.add_argument("--vector-lr", type=float, default=0.0, help="of the token vectors and their weights; 0: they stay as they are")
    p.add_argument("--cover", type=float, default=0.0, help="weight of what COVER lacks in correlation, within lists, with the coverage that it stands for")
    p.add_argument("--pointwise", type=float, default=0.5, help="weight of the pointwise loss: positives over 0.5, negatives under it")
    options.rounding(p)
    p.add_argument("--precision", choices=["bf16", "f32"], default="bf16")
    p.add_argument("--seed", type=int, default=1, help="of the lists' order")
    a, tok, c = options.calibration(p)
    saved = read_json(a.init)["constants"] if a.init else None
    start = Start(c, tok, a.embeddings, saved, a.start_seed, torch.bfloat16 if a.precision == "bf16" else torch.float32, a.rounding)
    groups = [{"params": list(start.constants.parameters()), "peak": a.lr}]
    if a.vector_lr:
        groups.append({"params": [start.vectors, start.log_weight], "peak": a.vector_lr})
    batches = options.batcher(a, tok, D.load_train(a.data, tok, a.cache), a.seed)
    opt = torch.optim.Adam(groups, betas=(0.9, 0.97))
    tail, suffix, cover = D.query_tail(tok), D.length(tok, SUFFIX), blocks()["COVER"]
    began, running = time.time(), None
    for step in range(a.steps):
        for g in opt.param_groups:
            g["lr"] = g["peak"] * min(1, (step + 1) / 10, 2 * (1 - step / a.steps))
        b = next(batches)
        start.build()
        last = start.last(b)
        total, loss, _ = loss_of(start.model.score(last), b.candidates, a.pointwise)
        if a.cover:
            lack = 1 - within(last[:, cover].sum(-1).view(-1, b.candidates), coverage(start, b, tail, suffix))
            total = total + a.cover * lack
        opt.zero_grad()
        (total * len(b.query) / 16).backward()  # every list counts alike
        opt.step()
        running = loss.item() if running is None else 0.95 * running + 0.05 * loss.item()
        if (step + 1) % 25 == 0 or step + 1 == a.steps:
            print(f"step {step + 1} minutes {(time.time() - began) / 60:.2f} ce {running:.3f}", flush=True)
    start.write(a.out, steps=a.steps, minutes=round((time.time() - began) / 60, 1), options=vars(a), loss=round(running, 3), hardware=hardware("cpu"))


if __name__ == "__main__":
    main()
