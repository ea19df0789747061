"""Reranks a corpus on a Ray cluster: python rerank.py --input corpus.jsonl --output out/ --replicas 4

Every row of the corpus, JSONL or Parquet, is a query with its documents; see README.md. What a broken-off run left undone, the same command does.
"""

import argparse
import contextlib
import dataclasses
import fcntl
import json
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody

import ray

import shards
from engine import Broken
from scorer import Begun, Scorer

HERE = Path(__file__).resolve().parent
BLOCKS = 10_000  # that Ray keeps track of at most; of more shards, several go to an actor together
PLAN, OWN = "plan.json", ("part-*", "rejects-*", ".part-*.partial", ".rejects-*.partial", ".plan.json.*.partial", "plan.json")


def options_of(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--input", nargs="+", required=True, metavar="PATH", help=".jsonl and .parquet files, or folders of them")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="on a file system that all nodes share")
    parser.add_argument(
        "--replicas", type=at_least(1), metavar="N", help="how many programs score at a time (default: what the cluster has room for)"
    )
    parser.add_argument(
        "--batch", type=at_least(1), default=256, metavar="N", help="rows of a shard, which is scored, written and repeated as a whole (%(default)s)"
    )
    parser.add_argument("--top-n", type=at_least(1), metavar="N", help="keep only the N best documents of a row")
    parser.add_argument("--return-documents", action="store_true", help="write the documents' texts too")
    parser.add_argument("--overwrite", action="store_true", help="remove what another run left in the output folder")
    model = parser.add_argument_group("model and machine")
    model.add_argument("--model", default="mini", help="as edge-reranker takes it; paths must be there on every node (%(default)s)")
    model.add_argument("--device", default="cpu", choices=["auto", "cpu", "gpu", "cuda"], help="(%(default)s)")
    model.add_argument("--threads", type=at_least(1), default=1, metavar="N", help="threads, and reserved CPUs, of a replica (%(default)s)")
    model.add_argument("--gpus", type=float, metavar="N", help="reserved GPUs of a replica (1 for gpu and cuda, else 0)")
    model.add_argument("--instruction", metavar="TEXT", help="what makes a document relevant; a row's own instruction wins")
    model.add_argument("--template", choices=["card", "eval", "raw"], default="card")
    model.add_argument("--max-length", type=at_least(1), metavar="N", help="the most tokens of a prompt; longer documents are cut")
    model.add_argument(
        "--program", default=os.environ.get("EDGE_RERANKER"), metavar="PATH", help="edge-reranker (default: $EDGE_RERANKER, or the one on PATH)"
    )
    cluster = parser.add_argument_group("cluster")
    cluster.add_argument(
        "--address", default=os.environ.get("RAY_ADDRESS"), help="of a Ray cluster (default: $RAY_ADDRESS, or one that is started here)"
    )
    cluster.add_argument("--cpus", type=at_least(1), metavar="N", help="CPUs of the cluster that is started here (default: all)")
    cluster.add_argument(
        "--retries", type=at_least(0), default=5, metavar="N", help="how often a shard is begun anew when a worker is lost (%(default)s)"
    )
    cluster.add_argument(
        "--hung", type=float, default=3600, metavar="SECONDS", help="without an answer, after which a program is started anew (%(default)s)"
    )
    return parser.parse_args(arguments)


def at_least(least):
    def number(text):
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"must be {least} or more")
        return int(text)

    return number


def program(options):
    """The command that every replica runs."""
    path = options.program or shutil.which("edge-reranker")
    built = HERE.parents[1] / "target/release/edge-reranker"
    path = path or (str(built) if built.is_file() else None)
    if not path:
        raise shards.Unusable("edge-reranker is not on PATH: install it, or name it by --program")
    if not shutil.which(path):
        raise shards.Unusable(f"{path}: no such program")
    if os.path.exists(options.model):
        options.model = os.path.abspath(options.model)  # workers have folders of their own
    command = [
        os.path.abspath(path) if os.path.exists(path) else path,
        "score",
        "-",
        "--quiet",
        "--model",
        options.model,
        "--device",
        options.device,
        "--threads",
        str(options.threads),
        "--template",
        options.template,
    ]
    command += [] if options.instruction is None else [f"--instruction={options.instruction}"]
    return command + ([] if options.max_length is None else ["--max-length", str(options.max_length)])


def identity(path):
    """Of a model that is a file or a folder here: what changes when it is another."""
    files = sorted(Path(path).glob("*")) if os.path.isdir(path) else [Path(path)]
    return [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files if f.is_file()]


@contextlib.contextmanager
def locked(folder):
    """One run at a time writes into a folder (as far as its file system knows of locks)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / ".lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise shards.Unusable(f"{folder}: another run writes into the folder") from None
            yield
    except (PermissionError, NotADirectoryError, FileExistsError) as e:
        raise shards.Unusable(f"{folder}: cannot be written: {e.strerror}") from None


def undone(folder, plan, every, overwrite):
    """The shards that are not there yet, after a look at what is there."""
    remove = lambda patterns: [path.unlink() for pattern in patterns for path in folder.glob(pattern)]
    if overwrite:
        remove(OWN)
    there = {path.name for path in folder.glob("part-*")}
    try:
        before = json.loads((folder / PLAN).read_bytes())
    except (FileNotFoundError, ValueError):
        before = None
    if not there:
        remove(OWN)
        shards.put(folder, PLAN, json.dumps(plan, indent=1, ensure_ascii=False).encode())
    elif before is None:
        raise shards.Unusable(f"{folder}: holds parts, but {PLAN} is missing or damaged: choose another folder, or add --overwrite")
    elif before != plan:
        names = ", ".join(sorted(name for name in plan.keys() | before.keys() if plan.get(name) != before.get(name)))
        raise shards.Unusable(f"{folder}: was begun with other settings ({names}): choose another folder, or add --overwrite")
    remove([pattern for pattern in OWN if pattern.endswith(".partial")])  # of workers that were lost
    return [shard for shard in every if shard.name not in there]


def connect(options):
    """A cluster with room for the replicas; how many they are."""
    if ray.is_initialized():
        pass
    elif options.address:
        ray.init(address=options.address, runtime_env={"working_dir": str(HERE)}, log_to_driver=True)
    else:
        ray.init(num_cpus=options.cpus, include_dashboard=False, log_to_driver=True)
    has = ray.cluster_resources()
    gpus = options.gpus if options.gpus is not None else float(options.device in ("gpu", "cuda"))
    room = int(has.get("CPU", 0) // options.threads)
    if gpus:
        room = min(room, int(has.get("GPU", 0) / gpus))
    replicas = options.replicas or max(room, 1)
    if replicas > room:
        what = f"{options.threads} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
        raise shards.Unusable(
            f"the cluster has {has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs: no room for {replicas} replicas of {what} each"
        )
    return replicas, {"num_cpus": options.threads, "num_gpus": gpus}


def score(options, todo, command, folder, watch):
    """Scores shards; `watch` sees every report."""
    replicas, resources = connect(options)
    begun = ray.remote(num_cpus=0)(Begun).remote(options.retries)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # `watch` says how far it is
    context.print_on_execution_start = False
    context.max_consecutive_actor_init_deaths = options.retries
    reports = ray.data.from_items([dataclasses.asdict(shard) for shard in todo], override_num_blocks=min(len(todo), BLOCKS)).map_batches(
        Scorer,
        fn_constructor_kwargs={
            "command": command,
            "folder": str(folder),
            "begun": begun,
            "hung": options.hung,
            "top_n": options.top_n,
            "return_documents": options.return_documents,
        },
        batch_size=1,
        # One task waits at an actor while another runs.
        compute=ray.data.ActorPoolStrategy(size=min(replicas, len(todo)), max_tasks_in_flight_per_actor=2),
        **resources,
    )
    for report in reports.iter_rows():
        watch(report)


def run(options):
    """The reports of the shards that were done."""
    command, files = program(options), shards.find(options.input)
    folder = Path(options.output).absolute()
    with locked(folder):
        every, digest = shards.divide(files, options.batch)
        plan = {name: getattr(options, name) for name in ("model", "instruction", "template", "max_length", "batch", "top_n", "return_documents")}
        if os.path.exists(options.model):
            plan["model_files"] = identity(options.model)
        version = subprocess.run([command[0], "--version"], capture_output=True, encoding="utf8", check=True).stdout.strip()
        plan |= {"program": version, "input": [os.path.basename(path) for path in files], "sha256": digest}
        todo = undone(folder, plan, every, options.overwrite)
        say(f"{sum(s.rows for s in every)} rows in {len(every)} shards, {len(every) - len(todo)} of them done before")
        reports, progress = [], Progress(len(todo))

        def watch(report):
            if report["error"]:
                raise Broken(report["error"])
            reports.append(report)
            progress.add(report)

        if todo:
            score(options, todo, command, folder, watch)
        left = [shard.name for shard in every if not (folder / shard.name).exists()]
        if left:
            raise Broken(f"{folder}: {len(left)} parts are missing, the first is {left[0]}: is the folder on a file system that all nodes share?")
        rejects = sum(path.read_bytes().count(b"\n") for path in folder.glob("rejects-*.jsonl"))
        say(f"done: {folder}" + (f"; {rejects} rows were rejected, see rejects-*.jsonl there" if rejects else ""))
        return reports


class Progress:
    """Says how far the run is, once a second at most. The clock runs from the first shard's begin, after the start of Ray and of the programs."""

    def __init__(self, total):
        self.total, self.shards, self.documents = total, 0, 0
        self.began, self.ended, self.said = math.inf, 0, 0

    def add(self, report):
        self.shards += 1
        self.documents += report["documents"]
        self.began, self.ended = min(self.began, report["began"]), max(self.ended, report["ended"])
        if self.shards == self.total or time.monotonic() > self.said + 1:
            self.said = time.monotonic()
            seconds = max(self.ended - self.began, 1e-3)
            say(f"{self.shards}/{self.total} shards, {self.documents} documents, {self.documents / seconds:.1f} documents/s")


def say(text):
    print(text, file=sys.stderr, flush=True)


def main():
    options = options_of()
    try:
        run(options)
    except shards.Unusable as e:
        say(f"error: {e}")
        sys.exit(2)
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from here")
        sys.exit(130)
    except (Broken, ray.exceptions.RayError, OSError) as e:
        say(f"error: {e}\nshards that were done stay done: the same command goes on from here")
        sys.exit(1)


if __name__ == "__main__":
    main()
