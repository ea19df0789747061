"""Fit how much the answer takes of each mark of the start (start.py), on training lists with documents as long as they are (up to --long-limit).

The answer is a linear function of the marks and of a constant, and of nothing else, so these few numbers have one best value, which calibrate.py is slow to find: it trains
them as factors, together with everything that the marks are made of, on windows of documents mostly, and for two aims at once. Here the marks' weights are fitted to the listwise
loss, which is about the order alone; then their common scale and the constant to the pointwise one, which all but leaves the order as it is. Sets count alike, unless --weight says otherwise; three of the five
negatives are hard ones.
"""
import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads are costly on a machine that does other work too

import torch

import data as D
import options
from report import hardware, read_json
from start import ANSWER, Start, blocks
from train import loss_of


def least(loss, first):
    """The numbers, found from the first ones on, where a convex loss is smallest"""
    numbers = torch.tensor(first, dtype=torch.float64, requires_grad=True)
    opt = torch.optim.LBFGS([numbers], max_iter=500, line_search_fn="strong_wolfe")

    def closure():
        opt.zero_grad()
        value = loss(numbers)
        value.backward()
        return value

    opt.step(closure)
    return numbers.detach()


def fit(marks, constant, first):
    """marks [lists, candidates, n], constant [lists, candidates]: n weights of the marks and one of the constant, and the listwise loss of marks times weights before (with the
    n first ones) and after"""
    marks, constant = marks.double(), constant.double()
    candidates = marks.shape[1]
    listwise = lambda weights: loss_of(marks @ weights, candidates, 0.0)[1]
    weights = least(listwise, first)
    sums = marks @ weights

    def pointwise(numbers):
        total, ce, _ = loss_of(numbers[0] * sums + numbers[1] * constant, candidates, 1.0)
        return total - ce

    scale, bias = least(pointwise, [1.0, 0.0]).tolist()
    if not scale > 0:
        raise SystemExit(f"answer.py: the marks do not tell positives from the others on these lists (scale {scale:.3g}); draw more (--lists)")
    return (scale * weights).tolist(), bias, float(listwise(torch.tensor(first, dtype=torch.float64))), float(listwise(weights))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--data", required=True, help="data folder (train/)")
    options.network(p)
    options.batches(p, candidates=6, tokens=10000, long_share=1.0, long_limit=640, power=0.0)
    p.add_argument("--cache", required=True, help="folder of the encoded data, the one of train.py: WORK/cache")
    p.add_argument("--embeddings", required=True, help=".npz made by calibrate.py or average.py")
    p.add_argument("--init", required=True, help=".json made with it")
    p.add_argument("--out", required=True, help=".json to write: the constants with these numbers changed; the vectors as .npz beside it")
    p.add_argument("--lists", type=int, default=1000)
    p.add_argument("--seed", type=int, default=7, help="of the lists' order")
    a, tok, c = options.calibration(p)
    start = Start(c, tok, a.embeddings, read_json(a.init)["constants"], a.start_seed, torch.float32, "q4_1")
    names = [*ANSWER, "CONST"]
    row = torch.stack([torch.zeros(c["hidden_size"]).index_fill(0, blocks()[name], 1.0) for name in names], 1)  # "yes" minus "no", each half of 2
    first = [float(start.constants.of("answer " + name)) for name in names]
    marks, count = [], 0
    with torch.no_grad():
        for b in options.batcher(a, tok, D.load_train(a.data, tok, a.cache), a.seed):
            marks.append((start.last(b) @ row).view(-1, b.candidates, len(names)))
            count += len(b.query)
            if count >= a.lists:
                break
    marks = torch.cat(marks)
    weights, bias, before, after = fit(marks[..., :-1], marks[..., -1], first[:-1])
    numbers = [*weights, bias]
    for name, x in zip(names, numbers):
        start.constants.set("answer " + name, x)
    print(f"{count} lists: listwise loss {before:.4f} -> {after:.4f} {dict(zip(names, (round(x, 3) for x in numbers)))}")
    start.write(a.out, lists=count, before=round(before, 4), after=round(after, 4), options=vars(a), hardware=hardware("cpu"))


if __name__ == "__main__":
    main()
