"""What would common mistakes change in the golden logits? A mistake that a model does not notice is not tested by it.

Run by `make.py --check`. For every model and every change: the largest and the mean |change of (yes - no)| over all prompts.
The first two rows are no mistakes: float64 shows the noise of the float32 reference, 8-bit activations what they cost.
"""

import json

import numpy as np
import torch
from transformers.models.qwen3 import modeling_qwen3 as qwen3

import make


def norms(net):
    return [m for m in net.modules() if isinstance(m, qwen3.Qwen3RMSNorm)]


def int8(x, block):
    shape = x.shape
    x = x.reshape(*shape[:-1], -1, block)
    d = x.abs().amax(-1, keepdim=True).clamp_min(1e-12) / 127
    return ((x / d).round() * d).reshape(shape)


def activations_int8(net):
    for m in net.modules():
        if isinstance(m, torch.nn.Linear):
            block = 256 if m.in_features % 256 == 0 else 32
            m.register_forward_pre_hook(lambda _, args, block=block: (int8(args[0], block),))


def float64(net):
    # RoPE's angles stay as they are; the norms of transformers compute in float32 and go back to the input's type
    for m in norms(net):
        m.forward = lambda x, m=m: m.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + m.variance_epsilon))
    net.double()


def theta(net):
    exponent = torch.arange(0, net.config.head_dim, 2).float() / net.config.head_dim
    other = 1e4 if net.config.rope_parameters["rope_theta"] > 1e5 else 1e6
    net.rotary_emb.inv_freq = 1.0 / other**exponent


def eps(net):
    for m in norms(net):
        m.variance_epsilon = 1e-5 if m.variance_epsilon < 1e-3 else 1e-6


def flat_head_norms(net):
    for layer in net.layers:
        layer.self_attn.q_norm.weight.data.fill_(1.0)
        layer.self_attn.k_norm.weight.data.fill_(1.0)


def no_head_norms(net):
    for layer in net.layers:
        layer.self_attn.q_norm = layer.self_attn.k_norm = torch.nn.Identity()


def interleaved(net):
    def rotate(x):
        a, b = x[..., ::2], x[..., 1::2]
        return torch.stack([-b, a], -1).flatten(-2)

    def apply(q, k, cos, sin, unsqueeze_dim=1, **_):
        half = cos.shape[-1] // 2
        cos, sin = (t[..., :half].repeat_interleave(2, -1).unsqueeze(unsqueeze_dim) for t in (cos, sin))
        return q * cos + rotate(q) * sin, k * cos + rotate(k) * sin

    qwen3.apply_rotary_pos_emb = apply


def tiled_heads(net):
    qwen3.repeat_kv = lambda x, n: x.repeat(1, n, 1, 1)


def no_mask(net):
    qwen3.create_causal_mask = lambda **_: None


def gelu(net):
    for layer in net.layers:
        layer.mlp.act_fn = torch.nn.GELU()


def swapped_ffn(net):
    for layer in net.layers:
        layer.mlp.gate_proj, layer.mlp.up_proj = layer.mlp.up_proj, layer.mlp.gate_proj


def late_positions(net):
    old = net.rotary_emb.forward
    net.rotary_emb.forward = lambda x, position_ids: old(x, (position_ids - 60).clamp_min(0))


def no_last_norm(net):
    net.norm.weight.data.fill_(1.0)


CHANGES = [float64, activations_int8, theta, eps, flat_head_norms, no_head_norms, interleaved, tiled_heads, no_mask, gelu]
CHANGES += [swapped_ffn, late_positions, no_last_norm]


def main():
    with open(f"{make.HERE}/scores.json", encoding="utf8") as f:
        golden = json.load(f)
    originals = {k: getattr(qwen3, k) for k in ("apply_rotary_pos_emb", "repeat_kv", "create_causal_mask")}
    prompts = [e["ids"] for r in golden["requests"] for e in r["expected"]]
    for entry in golden["models"]:
        want = np.array([a["logit"] for s in entry["scores"] for a in s])
        print(f"{entry['path']}: logits {want.min():.2f} .. {want.max():.2f}, mean {want.mean():.2f}, std {want.std():.2f}")
        for change in CHANGES:
            net, yes, no = make.load(entry["path"])
            try:
                change(net)
                dtype = net.norm.weight.dtype
                row = (yes if no is None else yes - no).to(dtype)
                got = [float(row @ make.hidden(net, ids).to(dtype)) for ids in prompts]
            finally:
                for k, v in originals.items():
                    setattr(qwen3, k, v)
            diff = np.abs(np.array(got) - want)
            print(f"    {change.__name__:18} max {diff.max():.2e}  mean {diff.mean():.2e}")
