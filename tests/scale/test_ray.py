"""examples/ray on a real Ray cluster: python tests/scale/test_ray.py

Needs examples/ray/requirements.txt and target/release/edge-reranker (or $EDGE_RERANKER). Programs and workers are killed in mid-run; the output must then be
what one program gives that nobody disturbs: every row, once.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "examples/ray"
sys.path.insert(0, str(HERE))
os.environ.update(RAY_USAGE_STATS_ENABLED="0", PYTHONPATH=str(HERE))  # where the workers of this process find the modules

import pyarrow as pa
import pyarrow.parquet as pq
import ray

import engine
import rerank
import rows
import shards

PROGRAM = Path(os.environ.get("EDGE_RERANKER", ROOT / "target/release/edge-reranker")).resolve()
WORDS = "river mountain lake heat gas compressor city capital tree bridge engine paper music history winter signal garden memory ocean iron".split()
PATIENCE = 300  # seconds until something that must happen counts as missing

# Lines that are rejected, and a part of the reason.
BAD = [
    (b'{"query": "cut off', "is not JSON"),
    (b'["a list"]', "is no object but a list"),
    (b'{"documents": ["no query"]}', "query is no text but missing or null"),
    (b'{"query": " ", "documents": ["blank query"]}', "query is empty"),
    (b'{"query": "no documents"}', "has no documents"),
    (b'{"query": "null", "documents": ["a", null]}', "documents[1] is no text"),
    (b'{"query": "one text", "documents": "a"}', "documents is no list but a text"),
    (b'{"query": "latin-1: \xe9", "documents": ["a"]}', "is not UTF-8: byte 20"),
    (b'{"query": "surrogate", "documents": ["\\ud800"]}', "half a surrogate pair"),
    (b'{"query": "not a number", "documents": ["a"], "x": NaN}', "NaN is not a value of JSON"),
    (b"[" * 100_000, "is nested too deeply"),
    (json.dumps({"query": "long " * 9000, "documents": ["no room is left for the document"]}).encode(), "the query take"),
]


def corpus():
    """Lines of a corpus, good and bad ones, and the good ones' fields in order."""
    lines, good = [], []
    for i in range(72):
        texts = [" ".join(WORDS[(i * 7 + j * 3 + k * (j + 2)) % len(WORDS)] for k in range(120)) for j in range(8)]
        documents = [{"id": f"d{i}-{j}", "text": text} for j, text in enumerate(texts)] if i % 2 else texts
        row = {
            "query_id": i,
            "query": f"what of the {WORDS[i % 20]} and the {WORDS[i * 3 % 20]}?",
            ("candidates" if i % 3 else "documents"): documents,
        }
        if i % 5 == 0:
            row["instruction"] = "Find texts about nature"
        good.append((len(lines) + 1, row))
        lines.append(json.dumps(row).encode())
        if i % 6 == 0:
            lines.append(BAD[i // 6][0])
        if i % 10 == 0:
            lines.append(b"")
    return lines, good


def answers(good):
    """What one program says of all pairs, in one go."""
    asked = [rows.Row(row) for _, row in good]
    pairs = "\n".join(json.dumps(pair) for row in asked for pair in row.pairs())
    out = subprocess.run(
        [PROGRAM, "score", "-", "--quiet", "--device", "cpu", "--threads", "1"], input=pairs, capture_output=True, encoding="utf8", check=True
    ).stdout
    lines = iter(out.splitlines())
    return [row.results([json.loads(next(lines)) for _ in row.documents]) for row in asked]


def programs():
    """Processes that run `cls.program`: each with its parent."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if (folder / "cmdline").read_bytes().split(b"\0")[0] == bytes(Scale.program) and (folder / "stat").read_text().rsplit(")", 1)[
                    1
                ].split()[0] != "Z":
                    found[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                pass
    return found


def rows_of(path):
    with path.open() as lines:
        return [json.loads(line) for line in lines]


def until(happened, what):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if value := happened():
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited {PATIENCE} s: {what}")


class Scale(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.program = cls.folder / "edge-reranker"  # a name by which this test's processes are known
        cls.program.symlink_to(PROGRAM)
        lines, cls.good = corpus()
        cls.input = cls.folder / "corpus.jsonl"
        cls.input.write_bytes(b"\n".join(lines))
        cls.lines = lines
        cls.expected = [
            {**{k: v for k, v in row.items() if k not in rows.TEXTS}, "source": f"corpus.jsonl:{line}", "results": results}
            for (line, row), results in zip(cls.good, answers(cls.good), strict=True)
        ]
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        cls.addClassCleanup(ray.shutdown)
        cls.address = ray.get_runtime_context().gcs_address

    def options(self, output, *more, input=None):
        return [
            "--input",
            str(input or self.input),
            "--output",
            str(self.folder / output),
            "--program",
            str(self.program),
            "--batch",
            "6",
            *map(str, more),
        ]

    def command(self, output, *more):
        return [sys.executable, str(HERE / "rerank.py"), *self.options(output, "--replicas", 2, "--address", self.address, *more)]

    def start(self, output):
        """A run of its own, held once it has written two parts: (its process, its programs with their workers, first the one that has scored)."""
        said = open(self.folder / f"{output}.log", "w+")
        self.addCleanup(said.close)
        driver = subprocess.Popen(self.command(output), stdout=said, stderr=said)
        self.addCleanup(driver.wait)
        self.addCleanup(driver.kill)

        def held():
            self.assertIsNone(driver.poll(), Path(said.name).read_text())
            if len(list((self.folder / output).glob("part-*"))) >= 2:
                for pid, worker in programs().items():
                    if pid not in found:
                        os.kill(pid, signal.SIGSTOP)
                        found[pid] = worker
            return len(found) == 2

        found = {}
        until(held, "two parts and two programs")
        self.assertLess(len(list((self.folder / output).glob("part-*"))), 14, "it was done before anything could be killed")
        return driver, found

    def finish(self, driver, output):
        code = driver.wait(PATIENCE)
        said = (self.folder / f"{output}.log").read_text()
        self.assertEqual(code, 0, said)
        return said

    def check(self, output):
        """Every row once, in order, with the scores of one program that nobody disturbed; every bad row once, with its reason."""
        folder = self.folder / output
        parts = sorted(folder.glob("part-*"))
        self.assertEqual([part.name for part in parts], [f"part-{i:06}.jsonl" for i in range(len(parts))])
        self.assertEqual([row for part in parts for row in rows_of(part)], self.expected)
        rejects = [row for part in sorted(folder.glob("rejects-*")) for row in rows_of(part)]
        self.assertEqual(len(rejects), len(BAD))
        by_place = {reject["source"]: reject for reject in rejects}
        for line, reason in BAD:
            reject = by_place[f"corpus.jsonl:{self.lines.index(line) + 1}"]
            self.assertIn(reason, reject["reason"])
            if "UTF-8" not in reason:
                self.assertEqual(reject["line"].encode(), line)
        until(lambda: not programs(), "programs that end when their run has ended")
        self.assertEqual([path.name for path in folder.glob(".*.partial")], [])

    def test_a_program_and_a_worker_killed(self):
        driver, found = self.start("killed")
        (program, _), (other, worker) = found.items()
        os.kill(program, signal.SIGKILL)
        os.kill(worker, signal.SIGKILL)
        os.kill(other, signal.SIGCONT)
        until(lambda: other not in programs(), "a program that ends with its worker")
        said = self.finish(driver, "killed")
        self.assertIn("starting the program again: the program ended with SIGKILL", said)
        self.check("killed")

    def test_the_run_itself_killed(self):
        driver, found = self.start("resumed")
        driver.kill()
        driver.wait()
        for pid in found:
            os.kill(pid, signal.SIGCONT)
        until(lambda: not programs(), "programs that end with their run")
        about = lambda: {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in (self.folder / "resumed").glob("part-*")}
        before = about()
        (self.folder / "resumed" / ".part-000099.jsonl.elsewhere-1.partial").write_bytes(b"half a pa")
        again = subprocess.run(self.command("resumed"), capture_output=True, encoding="utf8", check=False)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertIn(f"{len(before)} of them done before", again.stderr)
        self.assertEqual({name: about()[name] for name in before}, before, "what was done was done again")
        self.check("resumed")
        self.refuses_other_settings()

    def refuses_other_settings(self):
        run = lambda *more, **kw: rerank.run(rerank.options_of(self.options("resumed", *more, **kw)))
        with self.assertRaisesRegex(shards.Unusable, r"begun with other settings \(instruction\).*--overwrite"):
            run("--instruction", "Another")
        changed = self.folder / "elsewhere/corpus.jsonl"
        changed.parent.mkdir()
        changed.write_bytes(self.input.read_bytes().replace(b"river", b"delta"))
        with self.assertRaisesRegex(shards.Unusable, r"other settings \(sha256\)"):
            run(input=changed)
        self.assertEqual(run(), [], "all is done")
        with rerank.locked(self.folder / "resumed"), self.assertRaisesRegex(shards.Unusable, "another run"):
            run()

    def test_parquet(self):
        good = [{"query_id": row["query_id"], "query": row["query"], "documents": [d if isinstance(d, str) else d["text"] for d in row.get("documents") or row["candidates"]]}
                for _, row in self.good[:20]]  # fmt: skip
        table = [*good[:3], {"query_id": 900, "query": None, "documents": ["a"]}, {"query_id": 901, "query": "nothing", "documents": []}, *good[3:]]
        path = self.folder / "corpus.parquet"
        pq.write_table(pa.Table.from_pylist(table), path, row_group_size=7)
        reports = rerank.run(rerank.options_of(self.options("parquet", "--top-n", 3, "--return-documents", "--replicas", 1, input=path)))
        self.assertEqual((sum(r["rows"] for r in reports), sum(r["rejects"] for r in reports)), (21, 1))
        got = [row for part in sorted((self.folder / "parquet").glob("part-*")) for row in pq.read_table(part).to_pylist()]
        self.assertEqual([row["query_id"] for row in got], [row["query_id"] for row in table if row["query"]])
        self.assertEqual({len(pq.read_schema(part).names) for part in (self.folder / "parquet").glob("part-*")}, {4})
        self.assertEqual(next(row for row in got if row["query_id"] == 901)["results"], [])
        first = got[0]
        self.assertEqual((first["source"], len(first["results"])), ("corpus.parquet:1", 3))
        row = rows.Row(good[0])
        expected = answers([(1, good[0])])[0]
        for result, wanted in zip(first["results"], expected):
            self.assertEqual((result["index"], result["document"], result["id"]), (wanted["index"], row.documents[wanted["index"]], None))
            self.assertAlmostEqual(result["logit"], wanted["logit"], places=6)
        rejects = [row for path in (self.folder / "parquet").glob("rejects-*") for row in rows_of(path)]
        self.assertEqual([(r["source"], r["row"]["query_id"]) for r in rejects], [("corpus.parquet:4", 900)])

    def test_a_model_that_is_not_there(self):
        with self.assertRaisesRegex(engine.Broken, 'model "/not/there": no such file'):
            rerank.run(rerank.options_of(self.options("broken", "--model", "/not/there", "--replicas", 2)))

    def test_a_program_that_is_not_there(self):
        with self.assertRaisesRegex(shards.Unusable, "/not/there: no such program"):
            rerank.run(rerank.options_of(self.options("missing", "--program", "/not/there")))

    def test_more_replicas_than_room(self):
        with self.assertRaisesRegex(shards.Unusable, "no room for 9 replicas of 1 CPUs each"):
            rerank.run(rerank.options_of(self.options("crowded", "--replicas", 9)))


class Input(unittest.TestCase):
    """What needs no cluster."""

    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def file(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        return str(path)

    def test_shards_hold_every_line_once(self):
        lines = [f'{{"query": "{i}", "documents": []}}'.encode() for i in range(23)]
        for end in (b"", b"\n", b"\r\n\r\n"):
            path = self.file("a.jsonl", b"\xef\xbb\xbf" + b"\r\n".join(lines) + end)
            for batch in (1, 4, 23, 100):
                every, _ = shards.divide([path], batch)
                read = [row for shard in every for row in shard.read()]
                self.assertEqual([(place, fields["query"]) for place, _, fields in read], [(f"a.jsonl:{i + 1}", str(i)) for i in range(23)])
        self.assertEqual(shards.divide([self.file("empty.jsonl", b"")], 4)[0], [])

    def test_parquet_shards_hold_every_row_once(self):
        path = str(self.folder / "a.parquet")
        pq.write_table(pa.Table.from_pylist([{"query": str(i), "documents": ["x"]} for i in range(23)]), path, row_group_size=5)
        for batch in (1, 4, 23, 100):
            every, _ = shards.divide([path], batch)
            self.assertEqual([fields["query"] for shard in every for _, _, fields in shard.read()], [str(i) for i in range(23)])

    def test_input_that_cannot_be_used(self):
        unusable = lambda text: self.assertRaisesRegex(shards.Unusable, text)
        (self.folder / "empty").mkdir()
        for paths, text in [
            (["s3://bucket/corpus.jsonl"], "mount the storage"),
            ([str(self.folder / "none.jsonl")], "no such file"),
            ([str(self.folder / "empty")], "no .jsonl and no .parquet"),
            ([self.file("a.jsonl.gz", b"")], "unpack"),
            ([self.file("a.jsonl", b"")] * 2, "named twice"),
        ]:
            with unusable(text):
                shards.find(paths)
        with unusable("cannot be read"):
            shards.divide([self.file("a.parquet", b"not one")], 4)
        pq.write_table(pa.table({"query": ["a"]}), self.folder / "b.parquet")
        with unusable("expected the columns query and documents"):
            shards.divide([str(self.folder / "b.parquet")], 4)


class Pipe(unittest.TestCase):
    """The program behind its pipe."""

    def engine(self, *more):
        made = engine.Engine([str(PROGRAM), "score", "-", "--quiet", "--device", "cpu", "--threads", "1", *more], PATIENCE)
        self.addCleanup(made.close)
        return made

    def test_lists_after_lists(self):
        made = self.engine()
        pid = made.pid
        pairs = [{"query": f"what of {i // 3}?", "document": WORDS[i % 20] * (i % 5)} for i in range(3000)]  # more than the pipes hold
        whole = made.score(pairs)
        self.assertEqual(len(whole), len(pairs))
        self.assertEqual(made.score([]), [])
        for at in (0, 1, 2, 1500):
            self.assertEqual(made.score(pairs[at : at + 4]), whole[at : at + 4])
        self.assertEqual(made.pid, pid)

    def test_refused_killed_and_hung(self):
        made = self.engine()
        with self.assertRaisesRegex(engine.Refused, "the query take"):
            made.score([{"query": "long " * 9000, "document": "a"}])
        made.start()
        os.kill(made.pid, signal.SIGSTOP)
        made.hung = 1
        with self.assertRaisesRegex(engine.Died, "SIGKILL"):
            made.score([{"query": "a", "document": "a"}])
        made.hung = PATIENCE
        made.start()
        self.assertEqual(len(made.score([{"query": "a", "document": "a"}])), 1)
        with self.assertRaisesRegex(engine.Broken, "max-length"):
            self.engine("--max-length", "zero")
        with self.assertRaisesRegex(engine.Broken, "No such file"):
            engine.Engine(["/not/there"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
