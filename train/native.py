"""Scores from the `edge-reranker` program, so that a GGUF file can be evaluated and can teach."""
import json
import os
import shutil
import subprocess
import tempfile


def program():
    """$EDGE_RERANKER, or the one on PATH, or the one that cargo built in this repository."""
    built = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "target", "release", "edge-reranker")
    for path in (os.environ.get("EDGE_RERANKER"), shutil.which("edge-reranker"), built):
        if path and os.path.exists(path):
            return path
    raise SystemExit("edge-reranker not found: build it (cargo build --release), put it on PATH or set EDGE_RERANKER")


def score(model, pairs, instruction=None, threads=0, device="cpu"):
    """yes - no of every (query, document). Pairs of one query should be neighbours: they share the work on its part of the prompt."""
    common = {"instruction": instruction} if instruction else {}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "pairs.jsonl")
        with open(path, "w", encoding="utf8") as f:
            for query, document in pairs:
                print(json.dumps({"query": query, "document": document, **common}), file=f)
        command = [program(), "score", path, "--model", model, "--threads", str(threads), "--device", device, "--quiet"]
        r = subprocess.run(command, stdout=subprocess.PIPE, check=False, encoding="utf8")
    if r.returncode:
        raise SystemExit(f"{' '.join(command[:2])} failed with exit code {r.returncode} (model {model})")
    out = [json.loads(line)["logit"] for line in r.stdout.splitlines()]
    assert len(out) == len(pairs), (len(out), len(pairs))
    return out
