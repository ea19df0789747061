"""Make eval.json: rankings with graded labels, and what pytrec_eval, ranx and scipy say of them.

    python tests/golden/eval.py

Needs pytrec_eval-terrier (pytrec_eval with wheels), ranx, scipy and numpy. Every number comes from a seed. No two scores of a query are equal, since the tools order ties differently:
trec_eval by falling document id, ranx as its sort leaves them, and this project by rising document id. The two tools agree with each other where both
know a measure, which is checked here; trec_eval knows nDCG with linear gain only.
"""

import json
import os
import random
from importlib.metadata import version

import numpy as np
import pytrec_eval
from ranx import Qrels, Run, evaluate
from scipy import stats

HERE = os.path.dirname(os.path.abspath(__file__))
SETS = {"short": (30, 10), "long": (25, 60), "few": (6, 4)}  # queries, ranked documents
CUTS = (1, 3, 10, 100)
TREC = {"ndcg_cut": "ndcg@{} linear", "map_cut": "map@{}", "recall": "recall@{}", "P": "precision@{}"}
RANX = {"ndcg_burges@{}": "ndcg@{} exponential", "ndcg@{}": "ndcg@{} linear"}
RANX_BY_LEVEL = {"map@{}-l{}": "map@{}", "mrr@{}-l{}": "mrr@{}", "recall@{}-l{}": "recall@{}", "precision@{}-l{}": "precision@{}"}
RESAMPLES = 100_000


def make(random):
    """Labels by query and document, and two runs of scores."""
    qrels, good, bad = {}, {}, {}
    for name, (queries, documents) in SETS.items():
        for q in range(queries):
            query = f"{name}-{q}"
            ids = [f"d{i}" for i in range(documents)]
            labels = {d: random.choices((0, 1, 2, 3), (6, 2, 1, 1))[0] for d in ids}
            if q % 10 == 3:
                labels = dict.fromkeys(ids, 0)  # nothing relevant at all
            qrels[query] = dict(labels)
            for extra in range(q % 3):
                qrels[query][f"unranked{extra}"] = random.choice((0, 1, 3)) if q % 10 != 3 else 0
            for run, noise in ((good, 1.0), (bad, 3.0)):
                scores = {d: labels[d] + random.gauss(0, noise) for d in ids}
                assert len(set(scores.values())) == len(ids)
                run[query] = scores
    return qrels, good, bad


def by_trec(qrels, run):
    values = {query: {} for query in qrels}
    for level in (1, 2):
        measures = {f"{measure}.{k}" for measure in TREC for k in CUTS} | {"ndcg", "map", "recip_rank"}
        found = pytrec_eval.RelevanceEvaluator(qrels, measures, relevance_level=level).evaluate(run)
        for query, of_query in found.items():
            into = values[query]
            for measure, name in TREC.items():
                for k in CUTS:
                    into[f"{name.format(k)} from {level}"] = of_query[f"{measure}_{k}"]
            into[f"ndcg linear from {level}"] = of_query["ndcg"]
            into[f"map from {level}"] = of_query["map"]
            into[f"mrr from {level}"] = of_query["recip_rank"]
    return values


def by_ranx(qrels, run):
    names = {}
    for k in CUTS:
        names |= {pattern.format(k): [f"{name.format(k)} from {level}" for level in (1, 2)] for pattern, name in RANX.items()}
        names |= {p.format(k, level): [f"{name.format(k)} from {level}"] for level in (1, 2) for p, name in RANX_BY_LEVEL.items()}
    values = {query: {} for query in qrels}
    run = Run(run)
    evaluate(Qrels(qrels), run, list(names), return_mean=False)
    for metric, ours in names.items():
        for query, value in run.scores[metric].items():
            for name in ours:
                values[query][name] = float(value)
    return values


def intervals(values):
    """Of the differences of two systems, by set and for the mean over sets."""
    generator = np.random.default_rng(5)
    out, drawn = {}, []
    for name in SETS:
        d = np.array([value for query, value in values.items() if query.startswith(f"{name}-")])
        result = stats.bootstrap((d,), np.mean, n_resamples=RESAMPLES, method="percentile", random_state=generator)
        interval = result.confidence_interval
        out[name] = {"values": d.tolist(), "mean": d.mean(), "low": interval.low, "high": interval.high}
        drawn.append(d[generator.integers(0, len(d), (RESAMPLES, len(d)))].mean(axis=1))
    means = np.mean(drawn, axis=0)
    low, high = np.quantile(means, [0.025, 0.975])
    out["mean of sets"] = {"values": [], "mean": float(np.mean([s["mean"] for s in out.values()])), "low": low, "high": high}
    return out


def main():
    qrels, good, bad = make(random.Random(20_260))
    queries, differences = [], {}
    for tag, run in (("good", good), ("bad", bad)):
        trec, ranx = by_trec(qrels, run), by_ranx(qrels, run)
        for query in qrels:
            both = trec[query].keys() & ranx[query].keys()
            assert len(both) > 20
            for name in both:
                assert abs(trec[query][name] - ranx[query][name]) < 1e-6, (query, name, trec[query][name], ranx[query][name])
            ranked = sorted(run[query], key=lambda d: -run[query][d])
            expected = {name: round(value, 9) for name, value in sorted((ranx[query] | trec[query]).items())}
            queries.append({
                "query": query,
                "run": tag,
                "ranked": [qrels[query][d] for d in ranked],
                "judged": list(qrels[query].values()),
                "expected": expected,
            })
            sign = 1 if tag == "good" else -1
            differences[query] = differences.get(query, 0.0) + sign * expected["ndcg@10 exponential from 1"]
    made_with = {name: version(name) for name in ("pytrec_eval-terrier", "ranx", "scipy", "numpy")}
    golden = {"made_with": made_with, "queries": queries, "intervals": intervals(differences)}
    with open(os.path.join(HERE, "eval.json"), "w", encoding="utf8") as out:
        json.dump(golden, out, indent=None, separators=(",", ":"))
        out.write("\n")


if __name__ == "__main__":
    main()
