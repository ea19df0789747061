"""Writes a Qwen3 checkpoint with random weights: checkpoint.py NAME TOKENIZER_FOLDER OUT

NAME is LAYERSxWIDTH. The weights are the same on every machine.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from recipe import CONFIG, draw_tensors, seed
from safetensors.torch import save_file

SHAPES = {
    "2x128": dict(num_hidden_layers=2, hidden_size=128, intermediate_size=384, num_attention_heads=4, num_key_value_heads=2, head_dim=32),
    "4x1024": dict(num_hidden_layers=4, hidden_size=1024, intermediate_size=3072, num_attention_heads=16, num_key_value_heads=8, head_dim=128),
    "28x1024": dict(num_hidden_layers=28, hidden_size=1024, intermediate_size=3072, num_attention_heads=16, num_key_value_heads=8, head_dim=128),
}

def tensors(name, shape):
    made = {}

    def generator(tensor):
        return np.random.Generator(np.random.PCG64(seed(name, tensor)))

    def matrix(tensor, rows, columns, deviation):
        values = generator(tensor).standard_normal((rows, columns), dtype=np.float32) * np.float32(deviation)
        made[tensor + ".weight"] = torch.from_numpy(values).to(torch.bfloat16)

    def norm(tensor, width, low, high):
        made[tensor + ".weight"] = torch.from_numpy(generator(tensor).uniform(low, high, width).astype(np.float32)).to(torch.bfloat16)

    draw_tensors({**CONFIG, **shape}, matrix, norm)
    return made


if __name__ == "__main__":
    name, tokenizer, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / file, out)
    (out / "config.json").write_text(json.dumps({**CONFIG, **SHAPES[name]}, indent=1))
    save_file(tensors(name, SHAPES[name]), out / "model.safetensors", metadata={"format": "pt"})
