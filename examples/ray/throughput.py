"""Throughput against the number of replicas: python throughput.py 1,2,4 --input corpus.jsonl [options of rerank.py but --output and --replicas]

Every number of replicas scores the whole corpus on a cluster of its own. What counts is the time in which all replicas work: neither the start of Ray and
of the programs nor the end, when some have nothing left to do. So give it a corpus of many shards.
"""

import collections
import contextlib
import os
import sys
import tempfile
import time

import ray

import rerank
import rows
import shards
from engine import Broken, Engine


def alone(options):
    """(documents, seconds) of one program in this process, without Ray: reading rows and writing nothing."""
    every, _ = shards.divide(shards.find(options.input), options.batch)
    engine, documents, began = Engine(rerank.program(options)), 0, time.monotonic()
    for shard in every:
        pairs = []
        for _, _, fields in shard.read():
            with contextlib.suppress(rows.Bad):
                pairs += rows.Row(fields).pairs() if isinstance(fields, dict) else []
        documents += len(engine.score(pairs))
    engine.close()
    return documents, time.monotonic() - began


def together(reports):
    """(documents, seconds) of the time in which every replica that took part was at work; a shard that was begun before counts for its share."""
    began, ended = collections.defaultdict(list), collections.defaultdict(list)
    for report in reports:
        began[report["process"]].append(report["began"])
        ended[report["process"]].append(report["ended"])
    start, end = max(map(min, began.values())), min(map(max, ended.values()))
    share = lambda r: max(0, min(end, r["ended"]) - max(start, r["began"])) / (r["ended"] - r["began"])
    return sum(r["documents"] * share(r) for r in reports), end - start


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__.strip())
    counts = [int(n) for n in sys.argv[1].split(",")]
    options = rerank.options_of([*sys.argv[2:], "--output", "unused"])
    try:
        measured = [("none: the program alone", *alone(options))]
        for options.replicas in counts:
            with tempfile.TemporaryDirectory() as options.output:
                began = time.monotonic()
                reports = rerank.run(options)
                whole = time.monotonic() - began
            ray.shutdown()
            used = len({report["process"] for report in reports})
            rerank.say(f"{options.replicas} replicas: {used} took part; {whole:.1f} s with the start of Ray and of the programs")
            measured.append((options.replicas, *together(reports)))
    except (shards.Unusable, Broken) as e:
        sys.exit(f"error: {e}")
    print(
        f"{os.cpu_count()} CPUs here, {options.threads} threads a replica, model {options.model}, device {options.device}, shards of {options.batch} rows\n"
    )
    print("| replicas | documents | seconds | documents/s | beside the first number of replicas |\n|--:|--:|--:|--:|--:|")
    first = measured[1][1] / measured[1][2]
    for count, documents, took in measured:
        print(f"| {count} | {documents:.0f} | {took:.2f} | {documents / took:.1f} | {documents / took / first:.2f} |")


if __name__ == "__main__":
    main()
