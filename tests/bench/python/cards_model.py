"""Measures one model on the card, as cards.py asks: cards_model.py --part 8B or 8B:q4_k.

bf16: the logits of a few prompts in float32 by Hugging Face transformers, and how far ours and PyTorch's own in bf16 are from them; then, for each
workload, tokens a second and milliseconds a pair of both, and the share of what the card reaches in one large bf16 product. PyTorch gets all
prompts of one length in batches, with flash attention and the output matrix for the last position alone.
Other types: the same weights in files of ours, against this program on the processor, and their speed.
"""

import argparse
import gc
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from prompt import prompt
from recipe import CONFIG, draw_tensors, seed
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AutoModelForCausalLM
from words import WORDS

COMMON = {**CONFIG, "num_key_value_heads": 8, "head_dim": 128}
SHAPES = {
    "0.6B": dict(num_hidden_layers=28, hidden_size=1024, intermediate_size=3072, num_attention_heads=16, tie_word_embeddings=True),
    "4B": dict(num_hidden_layers=36, hidden_size=2560, intermediate_size=9728, num_attention_heads=32, tie_word_embeddings=True),
    "8B": dict(num_hidden_layers=36, hidden_size=4096, intermediate_size=12288, num_attention_heads=32, tie_word_embeddings=False),
    # For a dry run. Blocks of q4_k have 256 numbers.
    "tiny": dict(num_hidden_layers=2, hidden_size=256, intermediate_size=256, num_attention_heads=4, num_key_value_heads=2, head_dim=64, tie_word_embeddings=False),
}
WORKLOADS = {"20 x 128": (20, 128), "50 x 64": (50, 64), "100 x 512": (100, 512), "1 x 32k": (1, 32_000)}
# Files of the same names for a dry run.
DRY = {"20 x 128": (3, 8), "50 x 64": (5, 4), "100 x 512": (4, 32), "1 x 32k": (1, 300)}
# The lists whose truth in float32 is affordable; the first four pairs of the second are for the processor, too.
EXACT = ("20 x 128", "50 x 64")
FEW = 4
# Tokens that PyTorch takes at once.
AT_ONCE = 32_768
# How much further from float32 ours may be than PyTorch's bf16, which rounds the residual stream too; and how far a card may be from the processor.
FARTHER, APART = 1.5, 0.3


def file_of(workload):
    return workload.replace(" ", "") + ".jsonl"


def make_checkpoint(name, folder, tokenizer, device):
    done = folder / "done"
    if done.exists():
        return
    config = {**COMMON, **SHAPES[name]}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = {}

    def generator(tensor):
        return torch.Generator(device).manual_seed(seed(name, tensor))

    def matrix(tensor, rows, columns, deviation):
        values = torch.randn(rows, columns, generator=generator(tensor), device=device) * deviation
        made[tensor + ".weight"] = values.to(torch.bfloat16).cpu()

    def norm(tensor, width, low, high):
        values = torch.rand(width, generator=generator(tensor), device=device) * (high - low) + low
        made[tensor + ".weight"] = values.to(torch.bfloat16).cpu()

    draw_tensors(config, matrix, norm)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    shutil.copy(tokenizer, folder / "tokenizer.json")
    save_file(made, folder / "model.safetensors", metadata={"format": "pt"})
    done.touch()


def make_type(options, folder, kind):
    """The same weights in another type: a folder of f16, or a GGUF file."""
    if kind != "f16":
        file = options.work / f"{folder.name}-{kind}.gguf"
        program([options.binary, "quantize", folder, file, "--type", kind, "--quiet"])
        return file
    other = options.work / f"{folder.name}-f16"
    other.mkdir(exist_ok=True)
    tensors = {name: tensor.to(torch.float16) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "torch_dtype": "float16"}))
    shutil.copy(folder / "tokenizer.json", other)
    return other


def make_pairs(tokenizer, documents, tokens, file):
    draw = random.Random(f"{documents} x {tokens}")

    def text(count):
        words = " ".join(draw.choice(WORDS) for _ in range(count))
        assert len(tokenizer.encode(" " + words, add_special_tokens=False).ids) == count, "a word has several tokens"
        return words

    query, texts = text(16), [text(tokens) for _ in range(documents)]
    file.write_text("".join(json.dumps({"query": query, "document": document}) + "\n" for document in texts))
    return [tokenizer.encode(prompt(query, document), add_special_tokens=False).ids for document in texts]


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def median(repeat, device, work):
    """Seconds; one call before does not count."""
    times = []
    for i in range(repeat + 1):
        wait(device)
        started = time.perf_counter()
        work()
        wait(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def peak(device):
    """TFLOP/s of one large bf16 product of random numbers: the median of ten."""
    n = 8192 if device == "cuda" else 256
    a, b = (torch.randn(n, n, device=device).to(torch.bfloat16) for _ in range(2))
    return 2 * n**3 / median(12, device, lambda: a @ b) / 1e12


@torch.inference_mode()
def pytorch_logits(model, prompts, yes, no):
    """yes - no of every prompt; all have one length."""
    at_once = max(1, AT_ONCE // len(prompts[0]))
    out = []
    for start in range(0, len(prompts), at_once):
        ids = torch.tensor(prompts[start : start + at_once], device=model.device)
        rows = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1].float()
        out.append(rows[:, yes] - rows[:, no])
    return torch.cat(out).cpu().tolist()


def pytorch(folder, dtype, device):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").to(device).eval()


def free():
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def program(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def ours(options, device, model, workload):
    command = [options.binary, "bench", "--device", device, "--model", model, "--data", options.work / file_of(workload)]
    return json.loads(program([*command, "--max-length", 40_000, "--repeat", options.repeat, "--format", "json", "--quiet"]))


def distance(a, b):
    off = [abs(x - y) for x, y in zip(a, b, strict=True)]
    return {"largest": max(off), "mean": sum(off) / len(off)}


def row_of(report, card_peak):
    seconds = report["ms_per_pair"]["median"] * report["documents"] / 1000
    tokens = report["prompt_tokens"]
    computed = tokens - report["prefix_reused_tokens"]
    return {
        "device": report["device"],
        "report": report,
        "tokens": tokens,
        "computed": computed,
        "ms_per_pair": {"ours": report["ms_per_pair"]["median"]},
        "tokens_per_second": {"ours": tokens / seconds, "computed": computed / seconds},
        "share_of_peak": report["gops"] / 1000 / card_peak,
    }


class Results:
    """What is known so far lies in the file: whoever is stopped has given that."""

    def __init__(self, file, device):
        self.file, self.wrong = file, []
        self.found = {"torch": torch.__version__, "peak_tflops": peak(device), "rows": {}}
        if device == "cuda":
            self.found["card"] = torch.cuda.get_device_name()

    def write(self):
        if self.wrong:
            self.found["error"] = "; ".join(self.wrong)
        self.file.write_text(json.dumps(self.found))


def measure_bf16(options, results, folder, prompts, answers, device):
    # First: it is what all this is for, and the others may not fit.
    for workload in prompts:
        results.found["rows"][workload] = row_of(ours(options, device, folder, workload), results.found["peak_tflops"])
        results.write()
    truth = {}
    torch.backends.cuda.matmul.allow_tf32 = False
    model = pytorch(folder, torch.float32, device)
    for workload in EXACT:
        truth[workload] = pytorch_logits(model, prompts[workload], *answers)
    del model
    free()
    model = pytorch(folder, torch.bfloat16, device)
    for workload, ids in prompts.items():
        row = results.found["rows"][workload]
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION) if device == "cuda" else nullcontext():
            logits = pytorch_logits(model, ids, *answers)
            seconds = median(options.repeat, device, lambda ids=ids: pytorch_logits(model, ids, *answers))
        row["ms_per_pair"]["pytorch"] = 1000 * seconds / len(ids)
        row["tokens_per_second"]["pytorch"] = row["tokens"] / seconds
        row["apart"] = distance(row["report"]["scores"], logits)
        if workload in truth:
            row["off"] = {"ours": distance(row["report"]["scores"], truth[workload]), "pytorch": distance(logits, truth[workload])}
            if row["off"]["ours"]["mean"] > FARTHER * row["off"]["pytorch"]["mean"]:
                results.wrong.append(f"{workload}: further from float32 than {FARTHER} times PyTorch's bf16")
        results.write()


def measure_type(options, results, model, prompts, device):
    few = options.work / "few.jsonl"
    few.write_text("".join((options.work / file_of(EXACT[1])).open().readlines()[:FEW]))
    lines = program([options.binary, "score", few, "--device", "cpu", "--model", model, "--quiet"]).splitlines()
    want = [json.loads(line)["logit"] for line in lines]
    for workload in prompts:
        row = row_of(ours(options, device, model, workload), results.found["peak_tflops"])
        if workload == EXACT[1]:
            row["off"] = {"ours": distance(row["report"]["scores"][:FEW], want)}
            if row["off"]["ours"]["mean"] > APART:
                results.wrong.append(f"{workload}: {row['off']['ours']['mean']:.2f} from the processor on average")
        results.found["rows"][workload] = row
        results.write()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", required=True)
    parser.add_argument("--binary", required=True, type=Path)
    parser.add_argument("--tokenizer", required=True, type=Path)
    parser.add_argument("--repeat", required=True, type=int)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    name, _, kind = options.part.partition(":")
    device = "cpu" if options.dry_run else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("PyTorch finds no card")
    folder = options.work / name
    make_checkpoint(name, folder, options.tokenizer, device)
    tokenizer = Tokenizer.from_file(str(options.tokenizer))
    workloads = DRY if options.dry_run else WORKLOADS
    prompts = {one: make_pairs(tokenizer, *size, options.work / file_of(one)) for one, size in workloads.items()}
    results = Results(options.out, device)
    free()
    if kind:
        model = make_type(options, folder, kind)
        try:
            measure_type(options, results, model, prompts, device)
        finally:
            shutil.rmtree(model) if model.is_dir() else os.remove(model)
    else:
        answers = [tokenizer.token_to_id(word) for word in ("yes", "no")]
        measure_bf16(options, results, folder, prompts, answers, device)
    results.write()
