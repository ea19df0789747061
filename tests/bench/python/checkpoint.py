"""Writes a Qwen3 checkpoint with random weights: checkpoint.py NAME TOKENIZER_FOLDER OUT

NAME is LAYERSxWIDTH. Every tensor is drawn from a seed of its own, so the weights are the same on every machine. The scales keep the
residual stream and the attention about as lively as in a trained model: with smaller ones every document would get the same score.
"""

import json
import shutil
import sys
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

VOCABULARY = 151_669
SHAPES = {
    "2x128": dict(num_hidden_layers=2, hidden_size=128, intermediate_size=384, num_attention_heads=4, num_key_value_heads=2, head_dim=32),
    "4x1024": dict(num_hidden_layers=4, hidden_size=1024, intermediate_size=3072, num_attention_heads=16, num_key_value_heads=8, head_dim=128),
    "28x1024": dict(num_hidden_layers=28, hidden_size=1024, intermediate_size=3072, num_attention_heads=16, num_key_value_heads=8, head_dim=128),
}
CONFIG = dict(
    architectures=["Qwen3ForCausalLM"],
    model_type="qwen3",
    vocab_size=VOCABULARY,
    hidden_act="silu",
    attention_bias=False,
    tie_word_embeddings=True,
    rope_theta=1_000_000,
    rms_norm_eps=1e-6,
    max_position_embeddings=40_960,
    torch_dtype="bfloat16",
    bos_token_id=151_643,
    eos_token_id=151_645,
)


def tensors(name, shape):
    hidden, inner, head, layers = (shape[key] for key in ("hidden_size", "intermediate_size", "head_dim", "num_hidden_layers"))
    queries, keys = shape["num_attention_heads"] * head, shape["num_key_value_heads"] * head
    made = {}

    def generator(tensor):
        return np.random.Generator(np.random.PCG64(zlib.crc32(f"{name}/{tensor}".encode())))

    def matrix(tensor, rows, columns, deviation):
        values = generator(tensor).standard_normal((rows, columns), dtype=np.float32) * np.float32(deviation)
        made[tensor + ".weight"] = torch.from_numpy(values).to(torch.bfloat16)

    def norm(tensor, width, low, high):
        made[tensor + ".weight"] = torch.from_numpy(generator(tensor).uniform(low, high, width).astype(np.float32)).to(torch.bfloat16)

    usual = 0.02 * (1024 / hidden) ** 0.5
    residual = (2 * layers) ** -0.5
    matrix("model.embed_tokens", VOCABULARY, hidden, usual)
    norm("model.norm", hidden, 2, 4)
    for layer in range(layers):
        at = f"model.layers.{layer}."
        norm(at + "input_layernorm", hidden, 0.8, 1.2)
        norm(at + "post_attention_layernorm", hidden, 0.8, 1.2)
        norm(at + "self_attn.q_norm", head, 1, 2)
        norm(at + "self_attn.k_norm", head, 1, 2)
        matrix(at + "self_attn.q_proj", queries, hidden, usual)
        matrix(at + "self_attn.k_proj", keys, hidden, usual)
        matrix(at + "self_attn.v_proj", keys, hidden, 2 * usual)
        matrix(at + "self_attn.o_proj", hidden, queries, 2 * usual * residual)
        matrix(at + "mlp.gate_proj", inner, hidden, usual)
        matrix(at + "mlp.up_proj", inner, hidden, usual)
        matrix(at + "mlp.down_proj", hidden, inner, usual * residual)
    return made


if __name__ == "__main__":
    name, tokenizer, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / file, out)
    (out / "config.json").write_text(json.dumps({**CONFIG, **SHAPES[name]}, indent=1))
    save_file(tensors(name, SHAPES[name]), out / "model.safetensors", metadata={"format": "pt"})
