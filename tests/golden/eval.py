"""Make eval.json: rankings with graded labels, and what pytrec_eval, ranx and scipy say of them.

    cargo build --release
    python tests/golden/eval.py

Needs pytrec_eval-terrier (pytrec_eval with wheels), ranx, scipy and numpy. Every number comes from a seed. No two scores of a query are equal, since the tools order ties differently:
trec_eval by falling document id, ranx as its sort leaves them, and this project by lot. The two tools agree with each other where both
know a measure, which is checked here; trec_eval knows nDCG with linear gain only.

`files` is the way through files: queries and a corpus with ties, with a query that BM25 finds nothing for and one that nobody judged, ranked by
`edge-reranker eval --trec`, and what the tools make of the files that it wrote.
"""

import json
import os
import random
import subprocess
import tempfile
from importlib.metadata import version

import numpy as np
import pytrec_eval
from ranx import Qrels, Run, evaluate
from scipy import stats

HERE = os.path.dirname(os.path.abspath(__file__))
EVAL = os.path.join(HERE, "..", "..", "target", "release", "edge-reranker")
SETS = {"short": (12, 10), "long": (8, 40), "few": (6, 4)}  # queries, ranked documents
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
        out[name] = {"values": [round(v, 7) for v in d], "mean": d.mean(), "low": interval.low, "high": interval.high}
        drawn.append(d[generator.integers(0, len(d), (RESAMPLES, len(d)))].mean(axis=1))
    means = np.mean(drawn, axis=0)
    low, high = np.quantile(means, [0.025, 0.975])
    out["mean of sets"] = {"values": [], "mean": float(np.mean([s["mean"] for s in out.values()])), "low": low, "high": high}
    return out


def through_files():
    """BM25's ranking of a small corpus, written by --trec and read by both tools."""
    generator = random.Random(6)
    words = ["river", "castle", "violin", "market"]
    corpus = [{"doc_id": f"d{i:02}", "text": " ".join(generator.choices(words, k=generator.choice((1, 2, 2))))} for i in range(30)]
    queries = []
    for i in range(8):
        relevant = {generator.choice(corpus)["doc_id"]: generator.choice((1, 2, 3)) for _ in range(4)}
        queries.append({"query_id": f"q{i}", "query": " ".join(generator.sample(words, 1 + i % 2)), "relevant": relevant})
    queries.append({"query_id": "nothing-found", "query": "harbour", "relevant": {"d01": 1}})
    queries.append({"query_id": "not-judged", "query": "river", "relevant": {}})
    lines = lambda rows: "".join(json.dumps(row) + "\n" for row in rows)
    with tempfile.TemporaryDirectory() as folder:
        path = lambda name: os.path.join(folder, name)
        for name, rows in (("corpus.jsonl", corpus), ("q.jsonl", queries)):
            with open(path(name), "w", encoding="utf8") as out:
                out.write(lines(rows))
        model = os.path.join(HERE, "tiny-f32.gguf")
        command = [EVAL, "eval", "--device=cpu", "--model", model, "--data", path("q.jsonl"), "--corpus", path("corpus.jsonl"), "--retrieve=12", "--quiet"]
        subprocess.run(command + ["--trec", path("trec")], check=True, stdout=subprocess.DEVNULL)
        labels, run = path("trec/q.qrels"), path("trec/q.baseline.run")
        with open(labels) as qrels_file, open(run) as run_file:
            order = [[line.split()[0], line.split()[2]] for line in run_file]
            run_file.seek(0)
            evaluator = pytrec_eval.RelevanceEvaluator(pytrec_eval.parse_qrel(qrels_file), {"ndcg_cut.10", "map_cut.10", "recip_rank", "recall.5"})
            by_query = evaluator.evaluate(pytrec_eval.parse_run(run_file))
        assert len(by_query) == len(queries)
        mean = lambda measure: sum(values[measure] for values in by_query.values()) / len(by_query)
        trec = {"ndcg@10 linear": mean("ndcg_cut_10"), "map@10": mean("map_cut_10"), "mrr": mean("recip_rank"), "recall@5": mean("recall_5")}
        metrics = {"ndcg@10": "ndcg@10 linear", "ndcg_burges@10": "ndcg@10 exponential", "map@10": "map@10", "mrr": "mrr", "recall@5": "recall@5"}
        found = evaluate(Qrels.from_file(labels, kind="trec"), Run.from_file(run, kind="trec"), list(metrics), make_comparable=True)
        ranx = {metrics[name]: float(value) for name, value in found.items()}
        for name in trec:
            assert abs(trec[name] - ranx[name]) < 1e-6, (name, trec, ranx)
        return {"corpus": corpus, "queries": queries, "order": order, "expected": {name: round(value, 9) for name, value in sorted((ranx | trec).items())}}


def main():
    qrels, good, bad = make(random.Random(20_260))
    queries, differences, names = [], {}, None
    for tag, run in (("good", good), ("bad", bad)):
        trec, ranx = by_trec(qrels, run), by_ranx(qrels, run)
        for query in qrels:
            both = trec[query].keys() & ranx[query].keys()
            assert len(both) > 20
            for name in both:
                assert abs(trec[query][name] - ranx[query][name]) < 1e-6, (query, name, trec[query][name], ranx[query][name])
            ranked = sorted(run[query], key=lambda d: -run[query][d])
            expected = {name: round(value, 7) for name, value in sorted((ranx[query] | trec[query]).items())}
            names = names or list(expected)
            assert names == list(expected)
            queries.append({
                "query": query,
                "run": tag,
                "ranked": [qrels[query][d] for d in ranked],
                "judged": list(qrels[query].values()),
                "expected": list(expected.values()),
            })
            sign = 1 if tag == "good" else -1
            differences[query] = differences.get(query, 0.0) + sign * expected["ndcg@10 exponential from 1"]
    made_with = {name: version(name) for name in ("pytrec_eval-terrier", "ranx", "scipy", "numpy")}
    compact = lambda value: json.dumps(value, separators=(",", ":"))
    each = lambda values: "[\n" + ",\n".join(map(compact, values)) + "\n]"
    files = through_files()
    parts = {"made_with": compact(made_with), "names": compact(names), "queries": each(queries), "intervals": compact(intervals(differences))}
    parts["files"] = "{" + ",\n".join(f'"{name}": {each(part) if name in ("corpus", "queries") else compact(part)}' for name, part in files.items()) + "}"
    with open(os.path.join(HERE, "eval.json"), "w", encoding="utf8") as out:
        out.write("{\n" + ",\n".join(f'"{name}": {part}' for name, part in parts.items()) + "\n}\n")


if __name__ == "__main__":
    main()
