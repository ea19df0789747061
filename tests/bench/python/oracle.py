"""Scores a workload with Hugging Face transformers in float32: oracle.py CHECKPOINT WORKLOADS.json WORKLOAD WEIGHTS OUT.json

WEIGHTS is the checkpoint, or a GGUF or ONNX file made of it, whose weights are unpacked to float32: so what a file's rounding costs is kept
apart from what an engine adds to it.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

GGUF_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def of_gguf(path, no, yes):
    """The classifier's two rows stand in for the rows of the output matrix."""
    import gguf

    weights, classifier = {}, None
    for tensor in gguf.GGUFReader(path).tensors:
        values = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
        layer, name = re.fullmatch(r"(?:blk\.(\d+)\.)?(.+)\.weight", tensor.name).groups()
        if name == "cls.output":
            classifier = values
        else:
            weights[(f"model.layers.{layer}." if layer else "") + GGUF_NAMES[name] + ".weight"] = values
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    weights["lm_head.weight"][[yes, no]] = classifier
    return weights


def of_onnx(path, config):
    """Linear weights are 4-bit in blocks of 32 about 8, or 8-bit with one scale and turned; query, key and value may be one matrix."""
    import onnx
    from onnx import numpy_helper

    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    assert not any(name.endswith("zero_points") for name in stored), "blocks with zero points are not known here"
    weights = {}
    for name, values in stored.items():
        if name.endswith(".weight_Q4"):
            whole = np.stack([values & 15, values >> 4], axis=-1).reshape(*values.shape[:2], 32).astype(np.float32) - 8
            scales = stored[name.replace("_Q4", "_scales")].astype(np.float32).reshape(*values.shape[:2], 1)
            name, values = name.removesuffix("_Q4"), (whole * scales).reshape(len(values), -1)
        elif name.endswith(".weight_quantized"):
            name = name.removesuffix("_quantized")
            values = (values.astype(np.float32) - stored[f"{name}_zero_point"]) * stored[f"{name}_scale"]
            values = values.T if ".MatMul." in name else values
        elif not re.search(r"(norm|embed_tokens)\.weight$", name):
            continue
        name = name.replace(".MatMul.", ".")
        name = re.sub(r"layers\.\d+\.final_norm_layernorm", "norm", name).replace(".attn.", ".self_attn.").replace("_norm.layernorm", "_norm")
        weights[name] = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    weights.setdefault("model.embed_tokens.weight", weights["lm_head.weight"])
    queries, keys = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    for name in [name for name in weights if "qkv_proj" in name]:
        parts = weights.pop(name).split([queries, keys, keys])
        weights |= {name.replace("qkv_proj", f"{letter}_proj"): part for letter, part in zip("qkv", parts)}
    return weights


if __name__ == "__main__":
    checkpoint, workloads, workload, path, out = sys.argv[1:]
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    no, yes = tokenizer.convert_tokens_to_ids(["no", "yes"])
    if path == checkpoint:
        model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    else:
        config = AutoConfig.from_pretrained(checkpoint, tie_word_embeddings=False)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.load_state_dict(of_onnx(path, config) if path.endswith(".onnx") else of_gguf(path, no, yes))
    logits = []
    with torch.no_grad():
        for prompt in json.loads(Path(workloads).read_text())[workload]["prompts"]:
            ids = torch.tensor([tokenizer.encode(prompt, add_special_tokens=False)])
            row = model.eval()(input_ids=ids, use_cache=False, logits_to_keep=1).logits[0, -1]
            logits.append(float(row[yes] - row[no]))
    Path(out).write_text(json.dumps({"logits": logits, "scores": torch.sigmoid(torch.tensor(logits, dtype=torch.float64)).tolist()}))
