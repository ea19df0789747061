"""A small Qwen3 network for training, and its export as a Hugging Face folder.

The network equals transformers' Qwen3ForCausalLM. What differs is the layout of the work: a batch is (head, queries, documents),
where the head (PREFIX + instruction) is computed once, each query once, and each document attends to head, its own query and itself.
Only the last position's "yes" minus "no" is computed.
"""
import json
import os

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

CONFIG = dict(
    vocab_size=24576, hidden_size=256, intermediate_size=256, num_hidden_layers=5, num_attention_heads=6,
    num_key_value_heads=6, head_dim=64, rope_theta=1e16, rms_norm_eps=1e-6, max_position_embeddings=8192,
)


def norm(x, w, eps):
    return x * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + eps) * w


def heads(y, q_norm, k_norm, cos, sin, qh, kh, eps):
    """[T, heads, d] -> q, k (normalised by head, then rotated) and v"""
    w = torch.cat([q_norm.expand(qh, -1), k_norm.expand(kh, -1)])
    x = norm(y[:, : qh + kh].float(), w, eps)
    a, b = x.chunk(2, -1)
    r = torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(y.dtype)
    return r[:, :qh], r[:, qh:], y[:, qh + kh :]


def q4_0(x):
    """x [.., 32 n] as a GGUF file of type Q4_0 holds it: blocks of 32 codes of four bits and a scale in half precision. The gradient passes as if
    nothing had happened."""
    b = x.detach().float().view(*x.shape[:-1], -1, 32)
    top = b.gather(-1, b.abs().argmax(-1, keepdim=True))  # the largest by size becomes code -8
    code = (b / (top / -8).masked_fill(top == 0, 1) + 8.5).floor().clamp(0, 15) - 8
    held = (code * (top / -8).half().float()).view(x.shape)
    return x + (held - x.detach())


def q4_1(x):
    """x [.., 32 n] as a GGUF file of type Q4_1 holds it: blocks of 32 codes of four bits, the least number and a step in half precision. The gradient passes as if nothing had
    happened."""
    b = x.detach().float().view(*x.shape[:-1], -1, 32)
    least, most = b.amin(-1, keepdim=True), b.amax(-1, keepdim=True)
    step = (most - least) / 15
    code = ((b - least) / step.masked_fill(step == 0, 1) + 0.5).floor().clamp(0, 15)
    held = (code * step.half().float() + least.half().float()).view(x.shape)
    return x + (held - x.detach())


ROUNDING = {"none": None, "q4_0": q4_0, "q4_1": q4_1}


def swiglu(x):
    g, u = x.chunk(2, -1)
    return F.silu(g) * u


def compile_parts():
    """Fuse the element-wise parts (needs a C++ compiler); about a third off the time of a step."""
    global norm, heads, swiglu
    norm, heads, swiglu = (torch.compile(f, dynamic=True) for f in (norm, heads, swiglu))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        h, d, m = c["hidden_size"], c["head_dim"], c["intermediate_size"]
        self.q, self.k = c["num_attention_heads"], c["num_key_value_heads"]
        self.norm1, self.norm2 = nn.Parameter(torch.ones(h)), nn.Parameter(torch.ones(h))
        self.q_norm, self.k_norm = nn.Parameter(torch.ones(d)), nn.Parameter(torch.ones(d))
        self.qkv = nn.Parameter(torch.randn((self.q + 2 * self.k) * d, h) * h**-0.5)
        self.o = nn.Parameter(torch.randn(h, self.q * d) * 0.02)
        self.gate_up = nn.Parameter(torch.randn(2 * m, h) * 0.8 * h**-0.5)
        self.down = nn.Parameter(torch.randn(h, m) * 0.02)


class Reranker(nn.Module):
    def __init__(self, c, yes, no, dtype=torch.bfloat16, rounding="none"):
        super().__init__()
        self.c, self.yes, self.no, self.dtype = c, yes, no, dtype
        self.rounding = ROUNDING[rounding]  # of the embedding rows
        self.embed = nn.Parameter(torch.randn(c["vocab_size"], c["hidden_size"]) * 0.25)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c["num_hidden_layers"]))
        self.norm = nn.Parameter(torch.ones(c["hidden_size"]))
        self.answer = nn.Parameter(torch.zeros(c["hidden_size"]))  # added to the row of "yes" minus that of "no", so that it can be trained at a rate of its own
        half = c["head_dim"] // 2
        self.register_buffer("freq", c["rope_theta"] ** (-torch.arange(half) / half), persistent=False)

    def rms(self, x, w):
        return norm(x, w, self.c["rms_norm_eps"])

    def forward(self, head, query, query_len, doc, doc_len, candidates):
        """head [P], query [B, Lq], doc [B * candidates, Ld] -> yes - no [B * candidates]"""
        return self.score(self.last(head, query, query_len, doc, doc_len, candidates))

    def score(self, last):
        yes, no = self.answers()
        return last @ (yes - no)

    def last(self, head, query, query_len, doc, doc_len, candidates):
        """The normalised state of each document's last token: [B * candidates, H]"""
        dt, d, qh, kh = self.dtype, self.c["head_dim"], self.c["num_attention_heads"], self.c["num_key_value_heads"]
        P, (B, Lq), (N, Ld) = len(head), query.shape, doc.shape
        at = head.device
        arange, ones = lambda n: torch.arange(n, device=at), lambda *n: torch.ones(*n, dtype=torch.bool, device=at)
        pos = torch.cat([
            arange(P),
            (P + arange(Lq)).expand(B, Lq).reshape(-1),
            (P + query_len.repeat_interleave(candidates)[:, None] + arange(Ld)).reshape(-1),
        ])
        angle = pos[:, None, None] * self.freq
        cos, sin = angle.cos(), angle.sin()
        ninf = torch.finfo(dt).min
        # Additive masks. Padded queries of the mask still see something (their own position), so no row is empty.
        causal = ones(max(Lq, Ld), max(Lq, Ld)).tril()
        ok_q = torch.cat([ones(Lq, P), causal[:Lq, :Lq]], 1)
        mask_q = torch.zeros(1, 1, Lq, P + Lq, dtype=dt, device=at).masked_fill(~ok_q, ninf)
        see_q = arange(Lq) < query_len.repeat_interleave(candidates)[:, None]
        see = torch.cat([ones(N, P), see_q], 1)[:, None, None, :].expand(N, 1, Ld, P + Lq)
        mask_d = torch.zeros(N, 1, Ld, P + Lq + Ld, dtype=dt, device=at).masked_fill(
            ~torch.cat([see, causal[:Ld, :Ld].expand(N, 1, Ld, Ld)], -1), ninf)
        rows = arange(N)
        last = doc_len - 1
        last_flat = P + B * Lq + rows * Ld + last

        att = lambda q, k, v, m=None, causal=False: F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=m, is_causal=causal, enable_gqa=qh != kh
        ).transpose(1, 2).reshape(-1, qh * d)
        x = F.embedding(torch.cat([head, query.reshape(-1), doc.reshape(-1)]), self.embed)
        if self.rounding:
            x = self.rounding(x)
        for n, l in enumerate(self.layers):
            final = n == len(self.layers) - 1
            y = F.linear(self.rms(x, l.norm1).to(dt), l.qkv.to(dt)).view(-1, qh + 2 * kh, d)
            q, k, v = heads(y, l.q_norm, l.k_norm, cos, sin, qh, kh, self.c["rms_norm_eps"])
            split = lambda t: (t[:P][None], t[P : P + B * Lq].view(B, Lq, -1, d), t[P + B * Lq :].view(N, Ld, -1, d))
            (q0, q1, q2), (k0, k1, k2), (v0, v1, v2) = split(q), split(k), split(v)
            join = lambda a, b, c: torch.cat([
                a.expand(N, *a.shape[1:]),
                b[:, None].expand(B, candidates, *b.shape[1:]).reshape(N, *b.shape[1:]), c], 1)
            if final:
                # Only the last token of each document is needed from here on.
                o = att(q2[rows, last][:, None], join(k0, k1, k2), join(v0, v1, v2), mask_d[rows, :, last][:, :, None])
                x = x[last_flat]
            else:
                o = torch.cat([
                    att(q0, k0, v0, None, True),
                    att(q1, torch.cat([k0.expand(B, *k0.shape[1:]), k1], 1), torch.cat([v0.expand(B, *v0.shape[1:]), v1], 1), mask_q),
                    att(q2, join(k0, k1, k2), join(v0, v1, v2), mask_d),
                ])
            x = x + F.linear(o, l.o.to(dt))
            h = swiglu(F.linear(self.rms(x, l.norm2).to(dt), l.gate_up.to(dt)))
            x = x + F.linear(h, l.down.to(dt))
        return self.rms(x.float(), self.norm)

    def answers(self):
        """The embedding rows of "yes" and "no", as they are exported"""
        half = self.answer / 2
        rows = self.embed[[self.yes, self.no]] + torch.stack([half, -half])
        return self.rounding(rows) if self.rounding else rows


def hf_config(c, tok):
    return {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_act": "silu", "attention_bias": False,
        "attention_dropout": 0.0, "tie_word_embeddings": True, "use_cache": True, "use_sliding_window": False,
        "sliding_window": None, "max_window_layers": c["num_hidden_layers"], "rope_scaling": None, "initializer_range": 0.02,
        "torch_dtype": "float32", "bos_token_id": tok.token_to_id("<|endoftext|>"),
        "eos_token_id": tok.token_to_id("<|im_end|>"), "pad_token_id": tok.token_to_id("<|endoftext|>"), **c,
    }


def hf_state(model):
    c = model.c
    d, qh, kh, m = c["head_dim"], c["num_attention_heads"], c["num_key_value_heads"], c["intermediate_size"]
    embed = model.embed.detach().clone()
    half = model.answer.detach() / 2
    embed[model.yes] += half
    embed[model.no] -= half
    out = {"model.embed_tokens.weight": embed, "model.norm.weight": model.norm}
    for i, l in enumerate(model.layers):
        p = f"model.layers.{i}."
        q, k, v = l.qkv.split([qh * d, kh * d, kh * d])
        out |= {p + "self_attn.q_proj.weight": q, p + "self_attn.k_proj.weight": k, p + "self_attn.v_proj.weight": v}
        out |= {p + "self_attn.o_proj.weight": l.o, p + "self_attn.q_norm.weight": l.q_norm, p + "self_attn.k_norm.weight": l.k_norm}
        out |= {p + "mlp.gate_proj.weight": l.gate_up[:m], p + "mlp.up_proj.weight": l.gate_up[m:], p + "mlp.down_proj.weight": l.down}
        out |= {p + "input_layernorm.weight": l.norm1, p + "post_attention_layernorm.weight": l.norm2}
    return {k: v.detach().float().cpu().contiguous().clone() for k, v in out.items()}


def export(model, tok, folder):
    """Write a Hugging Face folder; an existing one is replaced only once the new one is complete."""
    from safetensors.torch import save_file

    aside = folder.rstrip("/") + ".new"
    os.makedirs(aside, exist_ok=True)
    save_file(hf_state(model), os.path.join(aside, "model.safetensors"), {"format": "pt"})
    os.chmod(os.path.join(aside, "model.safetensors"), 0o644)
    tok.save(os.path.join(aside, "tokenizer.json"))
    dump = lambda name, x: open(os.path.join(aside, name), "w", encoding="utf8").write(json.dumps(x, indent=2) + "\n")
    dump("config.json", hf_config(model.c, tok))
    added = {
        str(tok.token_to_id(t)): {"content": t, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": sp}
        for t, sp in (("<|endoftext|>", True), ("<|im_start|>", True), ("<|im_end|>", True), ("<think>", False), ("</think>", False))
    }
    dump("tokenizer_config.json", {
        "add_bos_token": False, "add_prefix_space": False, "added_tokens_decoder": added, "bos_token": None,
        "clean_up_tokenization_spaces": False, "eos_token": "<|im_end|>", "errors": "replace", "model_max_length": 8192,
        "pad_token": "<|endoftext|>", "split_special_tokens": False, "tokenizer_class": "PreTrainedTokenizerFast", "unk_token": None,
    })
    if os.path.exists(folder):
        old = folder.rstrip("/") + ".old"
        import shutil

        shutil.rmtree(old, ignore_errors=True)
        os.rename(folder, old)
        os.rename(aside, folder)
        shutil.rmtree(old)
    else:
        os.rename(aside, folder)
