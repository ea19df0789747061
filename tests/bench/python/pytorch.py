"""Hugging Face transformers in bfloat16 on one prompt after the other: pytorch.py CHECKPOINT JOB.json

The job holds `promptIds` (the warm-up's first), the ids `yes` and `no`, `threads`, and `seconds`, after which no further prompt begins.
Prints `begin` and `end` around the measured prompts, then a line of JSON.
"""

import json
import sys
from pathlib import Path
from time import perf_counter

import torch
from transformers import AutoModelForCausalLM

job = json.loads(Path(sys.argv[2]).read_text())
torch.set_num_threads(job["threads"])
started = perf_counter()
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16).eval()
load_seconds = perf_counter() - started


@torch.inference_mode()
def score(ids):
    row = model(input_ids=torch.tensor([ids]), use_cache=False, logits_to_keep=1).logits[0, -1].float()
    return float(torch.sigmoid(row[job["yes"]] - row[job["no"]]))


score(job["promptIds"][0])
print("begin", flush=True)
started, scores, first = perf_counter(), [], None
for ids in job["promptIds"][1:]:
    scores.append(score(ids))
    first = first or perf_counter() - started
    if perf_counter() - started >= job["seconds"]:
        break
pass_seconds = perf_counter() - started
print("end", flush=True)
print(json.dumps({"loadSeconds": load_seconds, "passSeconds": pass_seconds, "firstScoreSeconds": first, "scores": scores}))
