"""What a replica does: an actor of Ray Data that turns shards into files."""

import os
import re
import sys
import time

import ray

import rows
import shards
from engine import Broken, Died, Engine, Refused

PLACE = re.compile(r"^standard input:[\d-]+: ")  # which of its lines the program means: a number that nobody knows


class Begun:
    """How often each shard was begun: Ray begins one anew, without end, when its worker is lost."""

    def __init__(self, retries):
        self.retries, self.times = retries, {}

    def again(self, shard):
        """Whether it may be begun once more."""
        self.times[shard] = self.times.get(shard, -1) + 1
        return self.times[shard] <= self.retries


class Scorer:
    def __init__(self, command, folder, begun, hung, top_n, return_documents):
        self.folder, self.begun, self.kept = folder, begun, {"top_n": top_n, "return_documents": return_documents}
        self.restarts, self.broken = 0, None
        try:
            self.engine = Engine(command, hung)
        except Broken as e:  # told with the first shard: Ray takes an error here for a lost worker, and would try again
            self.broken = e

    def __call__(self, batch):
        """One shard, as Ray Data hands it over, columns of one value each; the report about it likewise."""
        shard = shards.Shard(**{name: values[0].item() if hasattr(values[0], "item") else values[0] for name, values in batch.items()})
        report = {"shard": shard.number, "rows": 0, "rejects": 0, "documents": 0, "began": time.time(), "error": ""}
        try:
            if self.broken:
                raise self.broken
            if not ray.get(self.begun.again.remote(shard.number)):
                raise Broken(
                    f"{shard.path}: the worker was lost at every attempt to score the {shard.rows} rows from {shard.first} on: is there memory enough?"
                )
            report |= self.shard(shard)
        except (Broken, OSError) as e:  # the run ends with it, without Ray's account of how it got there
            report["error"] = str(e)
        return {name: [value] for name, value in {**report, "ended": time.time(), "restarts": self.restarts, "process": os.getpid()}.items()}

    def shard(self, shard):
        good, bad = [], []
        for i, (place, raw, fields) in enumerate(shard.read()):
            try:
                if isinstance(fields, rows.Bad):
                    raise fields
                good.append((i, place, raw, rows.Row(fields)))
            except rows.Bad as e:
                bad.append((place, raw, str(e)))
        scored = []
        for (i, place, raw, row), answers in zip(good, self.score([row for *_, row in good]), strict=True):
            if isinstance(answers, str):
                bad.append((place, raw, answers))
            else:
                scored.append((i, place, row, row.results(answers, **self.kept)))
        shards.write(self.folder, shard, scored, bad)
        return {"rows": len(scored), "rejects": len(bad), "documents": sum(len(row.documents) for _, _, row, _ in scored)}

    def score(self, asked):
        """For each row its answers, or why it is rejected.

        Where the program ends, it is started anew: with all the rows once more if it was killed, and else with each row alone, which tells the rows
        that it cannot score.
        """
        for attempt in range(2):
            try:
                answers = iter(self.engine.score([pair for row in asked for pair in row.pairs()]))
                return [[next(answers) for _ in row.documents] for row in asked]
            except Refused as e:
                why, attempts = PLACE.sub("", str(e)), 1
            except Died as e:
                why, attempts = f"the program {e}", 2
            self.restarts += 1
            print(f"starting the program again: {why}", file=sys.stderr, flush=True)
            self.engine.start()
            if attempt + 1 == attempts:
                break
        return [why] if len(asked) == 1 else [self.score([row])[0] for row in asked]
