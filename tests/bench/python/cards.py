"""Measures `edge-reranker --device cuda` beside PyTorch on the same card: see ../cuda.sh, which calls this.

For each model: a checkpoint from a seed, in the exact shape and in bf16; the logits of a few prompts in float32 by Hugging Face transformers, and how far ours
and PyTorch's own in bf16 are from them; then, for each workload, tokens a second and milliseconds a pair of both, and the share of what the card
reaches in one large bf16 product. PyTorch gets all prompts of one length in batches, with flash attention and the output matrix for
the last position alone.
"""

import argparse
import gc
import json
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from prompt import prompt
from recipe import CONFIG, draw_tensors, seed
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AutoModelForCausalLM
from words import WORDS

SHAPES = {
    "0.6B": dict(num_hidden_layers=28, hidden_size=1024, intermediate_size=3072, num_attention_heads=16, tie_word_embeddings=True),
    "4B": dict(num_hidden_layers=36, hidden_size=2560, intermediate_size=9728, num_attention_heads=32, tie_word_embeddings=True),
    "8B": dict(num_hidden_layers=36, hidden_size=4096, intermediate_size=12288, num_attention_heads=32, tie_word_embeddings=False),
}
COMMON = {**CONFIG, "num_key_value_heads": 8, "head_dim": 128}
WORKLOADS = {"20 x 128": (20, 128), "50 x 64": (50, 64), "100 x 512": (100, 512), "1 x 32k": (1, 32_000)}
# Tokens that PyTorch takes at once.
AT_ONCE = 32_768
# How much further from float32 ours may be than PyTorch's bf16, which rounds the residual stream too.
FARTHER = 1.5


def make_checkpoint(name, folder, tokenizer):
    done = folder / "done"
    if done.exists():
        return
    config = {**COMMON, **SHAPES[name]}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = {}

    def generator(tensor):
        return torch.Generator("cuda").manual_seed(seed(name, tensor))

    def matrix(tensor, rows, columns, deviation):
        values = torch.randn(rows, columns, generator=generator(tensor), device="cuda") * deviation
        made[tensor + ".weight"] = values.to(torch.bfloat16).cpu()

    def norm(tensor, width, low, high):
        values = torch.rand(width, generator=generator(tensor), device="cuda") * (high - low) + low
        made[tensor + ".weight"] = values.to(torch.bfloat16).cpu()

    draw_tensors(config, matrix, norm)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    shutil.copy(tokenizer, folder / "tokenizer.json")
    save_file(made, folder / "model.safetensors", metadata={"format": "pt"})
    done.touch()


def make_pairs(tokenizer, documents, tokens, file):
    draw = random.Random(f"{documents} x {tokens}")

    def text(count):
        words = " ".join(draw.choice(WORDS) for _ in range(count))
        assert len(tokenizer.encode(" " + words, add_special_tokens=False).ids) == count, "a word has several tokens"
        return words

    query, texts = text(16), [text(tokens) for _ in range(documents)]
    file.write_text("".join(json.dumps({"query": query, "document": document}) + "\n" for document in texts))
    return [tokenizer.encode(prompt(query, document), add_special_tokens=False).ids for document in texts]


def peak():
    """TFLOP/s of one large bf16 product of random numbers: the median of ten."""
    a, b = (torch.randn(8192, 8192, device="cuda").to(torch.bfloat16) for _ in range(2))
    times = []
    for i in range(13):
        torch.cuda.synchronize()
        started = time.perf_counter()
        a @ b
        torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return 2 * 8192**3 / statistics.median(times[3:]) / 1e12


@torch.inference_mode()
def pytorch_logits(model, prompts, yes, no):
    """yes - no of every prompt; all have one length."""
    at_once = max(1, AT_ONCE // len(prompts[0]))
    out = []
    for start in range(0, len(prompts), at_once):
        ids = torch.tensor(prompts[start : start + at_once], device="cuda")
        rows = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1].float()
        out.append(rows[:, yes] - rows[:, no])
    return torch.cat(out).cpu().tolist()


def pytorch(folder, dtype):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").cuda().eval()


def free():
    gc.collect()
    torch.cuda.empty_cache()


def timed(repeat, work):
    work()
    times = []
    for _ in range(repeat):
        torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def ours(options, model, pairs):
    command = [options.binary, "bench", "--device", "cuda", "--model", model, "--data", pairs, "--max-length", 40_000]
    command += ["--repeat", options.repeat, "--format", "json", "--quiet"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


def distance(a, b):
    off = [abs(x - y) for x, y in zip(a, b, strict=True)]
    return {"largest": max(off), "mean": sum(off) / len(off)}


def measure(options, name, tokenizer, card_peak):
    folder = options.work / name
    make_checkpoint(name, folder, options.tokenizer)
    free()
    yes, no = (tokenizer.token_to_id(word) for word in ("yes", "no"))
    prompts = {}
    for workload, (documents, tokens) in WORKLOADS.items():
        prompts[workload] = make_pairs(tokenizer, documents, tokens, options.work / f"{workload.replace(' ', '')}.jsonl")

    # The truth, where it is affordable: all but the longest list and document.
    truth = {}
    torch.backends.cuda.matmul.allow_tf32 = False
    model = pytorch(folder, torch.float32)
    for workload in list(WORKLOADS)[:2]:
        truth[workload] = pytorch_logits(model, prompts[workload], yes, no)
    del model
    free()

    rows = {}
    model = pytorch(folder, torch.bfloat16)
    for workload, ids in prompts.items():
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            logits = pytorch_logits(model, ids, yes, no)
            seconds = timed(options.repeat, lambda ids=ids: pytorch_logits(model, ids, yes, no))
        rows[workload] = {"pytorch": {"seconds": seconds, "logits": logits}}
    del model
    free()

    for workload, row in rows.items():
        report = ours(options, folder, options.work / f"{workload.replace(' ', '')}.jsonl")
        seconds = report["ms_per_pair"]["median"] * report["documents"] / 1000
        tokens = report["prompt_tokens"]
        row["ours"] = {"seconds": seconds, "logits": report["scores"], "report": {**report, "scores": None}}
        row["tokens"], row["computed"] = tokens, tokens - report["prefix_reused_tokens"]
        row["ms_per_pair"] = {"ours": 1000 * seconds / report["documents"], "pytorch": 1000 * row["pytorch"]["seconds"] / report["documents"]}
        row["tokens_per_second"] = {"ours": tokens / seconds, "ours, computed": row["computed"] / seconds, "pytorch": tokens / row["pytorch"]["seconds"]}
        row["share_of_peak"] = report["gops"] / 1000 / card_peak
        row["apart"] = distance(row["ours"]["logits"], row["pytorch"]["logits"])
        if workload in truth:
            row["off"] = {side: distance(row[side]["logits"], truth[workload]) for side in ("ours", "pytorch")}
            row["exact_enough"] = row["off"]["ours"]["mean"] <= FARTHER * row["off"]["pytorch"]["mean"]
    if not options.keep:
        shutil.rmtree(folder)
    return rows


def table(model, rows):
    print(f"\n{model}\n| documents x tokens | ms a pair | PyTorch's | tokens/s | computed | PyTorch's | of the peak | off by (PyTorch) |\n|---|--:|--:|--:|--:|--:|--:|--:|")
    for workload, row in rows.items():
        speed, pair, off = row["tokens_per_second"], row["ms_per_pair"], row.get("off")
        error = f"{off['ours']['mean']:.3f} ({off['pytorch']['mean']:.3f})" if off else f"apart {row['apart']['mean']:.3f}"
        print(
            f"| {workload} | {pair['ours']:.2f} | {pair['pytorch']:.2f} | {speed['ours']:,.0f} | {speed['ours, computed']:,.0f} | "
            f"{speed['pytorch']:,.0f} | {row['share_of_peak']:.0%} | {error} |",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True, type=Path)
    parser.add_argument("--tokenizer", required=True, type=Path)
    parser.add_argument("--models", default="0.6B,4B,8B")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("target/bench/cuda"))
    parser.add_argument("--out", type=Path, default=Path("target/bench/cuda.json"))
    parser.add_argument("--keep", action="store_true", help="keep the checkpoints")
    options = parser.parse_args()
    unknown = set(options.models.split(",")) - set(SHAPES)
    if unknown:
        parser.error(f"--models: {', '.join(sorted(unknown))}; there are {', '.join(SHAPES)}")
    options.work.mkdir(parents=True, exist_ok=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(options.tokenizer))
    results = {"card": torch.cuda.get_device_name(), "torch": torch.__version__, "peak_tflops": peak(), "models": {}}
    print(f"{results['card']}: {results['peak_tflops']:.0f} TFLOP/s in a bf16 product of 8192 x 8192 x 8192", flush=True)
    failed = []
    for name in options.models.split(","):
        rows = measure(options, name, tokenizer, results["peak_tflops"])
        results["models"][name] = rows
        # After every model: a run that is cut short has given what it had.
        options.out.write_text(json.dumps(results, indent=1))
        table(name, rows)
        failed += [f"{name} {workload}" for workload, row in rows.items() if row.get("exact_enough") is False]
    if failed:
        sys.exit(f"further from float32 than {FARTHER} times PyTorch's bf16: {', '.join(failed)}")
