"""Choose how much the answer takes of each mark of the start (start.py) by nDCG@10 on the development lists.

Training lists make too much of some marks: the token vectors have met their passages, with other queries (embed.py), and so the means of both texts
agree better there than anywhere else. These few numbers are therefore chosen on the development lists, one after the other, which makes nDCG there a little better than
elsewhere; how much is said by choosing on every other list and measuring on the rest.
"""
import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads are costly on a machine that does other work too

import numpy as np
import torch
from tokenizers import Tokenizer

import options
from evaluate import Lists
from report import read_json
from start import ANSWER, Start, blocks

STEPS = (-0.5, -0.25, -0.12, 0.12, 0.25, 0.5, 1.0)  # parts of a number that are tried, of 0.3 at least


def choose(first, measure, rounds):
    """Numbers near `first` of which `measure` is great, and its value"""
    best, chosen = measure(first), first
    for _ in range(rounds):
        for i, size in enumerate(np.maximum(abs(first), 0.3)):
            for trial in [chosen + step * size * np.eye(len(first))[i] for step in STEPS]:
                value = measure(trial)
                if value > best + 1e-5:
                    best, chosen = value, trial
    return chosen, best


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--data", required=True, help="data folder (dev/)")
    options.network(p)
    p.add_argument("--embeddings", required=True, help=".npz made by calibrate.py")
    p.add_argument("--init", required=True, help=".json made by calibrate.py with it")
    p.add_argument("--out", required=True, help=".json to write: the constants with these numbers changed; the vectors as .npz beside it")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--limit", type=int, help="queries a set")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    tok = Tokenizer.from_file(a.tokenizer)
    c = options.config(a, tok)
    start = Start(c, tok, a.embeddings, read_json(a.init)["constants"], a.start_seed, torch.bfloat16, True)
    dev, at, model = Lists(a.data, tok, a.limit), blocks(), start.model
    # A list's scores as a function of the numbers: those that it has, and the marks times what the numbers differ from the first ones.
    row = torch.stack([torch.zeros(c["hidden_size"]).index_fill(0, at[mark], 1.0) for mark in ANSWER], 1)  # yes minus no, each half of 2
    both = dev.each(lambda *batch: torch.cat([model.score(last := model.last(*batch))[:, None], last @ row], 1))
    first = np.array([float(start.constants.of("answer " + mark)) for mark in ANSWER])
    scores = lambda numbers: [one[:, 0] + one[:, 1:] @ (numbers - first) for one in both]
    measure = lambda lists: lambda numbers: dev.table(scores(numbers), lists=lists)["MEAN"]
    everything, halves = range(len(dev.names)), []
    for half in (0, 1):
        own, other = (measure([n for n in everything if n % 2 == k]) for k in (half, 1 - half))
        numbers, _ = choose(first, own, a.rounds)
        halves.append({"before": other(first), "after": other(numbers)})
        print(f"chosen on half {half}: the other half {halves[-1]['before']:.4f} -> {halves[-1]['after']:.4f}", flush=True)
    numbers, after = choose(first, measure(everything), a.rounds)
    before = measure(everything)(first)
    print(f"all {before:.4f} -> {after:.4f} {dict(zip(ANSWER, numbers.round(3).tolist()))}")
    for mark, x in zip(ANSWER, numbers):
        start.constants.set("answer " + mark, float(x))
    start.write(a.out, before=before, after=after, halves=halves, options=vars(a))


if __name__ == "__main__":
    main()
