"""A small Qwen3 network for training on CPU, its structured initialisation, and its export as a Hugging Face folder.

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
    vocab_size=16384, hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4,
    num_key_value_heads=2, head_dim=64, rope_theta=1e10, rms_norm_eps=1e-6, max_position_embeddings=8192,
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
    def __init__(self, c, yes, no, dtype=torch.bfloat16):
        super().__init__()
        self.c, self.yes, self.no, self.dtype = c, yes, no, dtype
        self.embed = nn.Parameter(torch.randn(c["vocab_size"], c["hidden_size"]) * 0.25)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c["num_hidden_layers"]))
        self.norm = nn.Parameter(torch.ones(c["hidden_size"]))
        half = c["head_dim"] // 2
        self.freq = c["rope_theta"] ** (-torch.arange(half) / half)

    def rms(self, x, w):
        return norm(x, w, self.c["rms_norm_eps"])

    def forward(self, head, query, query_len, doc, doc_len, candidates):
        """head [P], query [B, Lq], doc [B * candidates, Ld] -> yes - no [B * candidates]"""
        dt, d, qh, kh = self.dtype, self.c["head_dim"], self.c["num_attention_heads"], self.c["num_key_value_heads"]
        P, (B, Lq), (N, Ld) = len(head), query.shape, doc.shape
        pos = torch.cat([
            torch.arange(P),
            (P + torch.arange(Lq)).expand(B, Lq).reshape(-1),
            (P + query_len.repeat_interleave(candidates)[:, None] + torch.arange(Ld)).reshape(-1),
        ])
        angle = pos[:, None, None] * self.freq
        cos, sin = angle.cos(), angle.sin()
        ninf = torch.finfo(dt).min
        # Additive masks. Padded queries of the mask still see something (their own position), so no row is empty.
        causal = torch.ones(max(Lq, Ld), max(Lq, Ld), dtype=torch.bool).tril()
        ok_q = torch.cat([torch.ones(Lq, P, dtype=torch.bool), causal[:Lq, :Lq]], 1)
        mask_q = torch.zeros(1, 1, Lq, P + Lq, dtype=dt).masked_fill(~ok_q, ninf)
        see_q = torch.arange(Lq) < query_len.repeat_interleave(candidates)[:, None]
        see = torch.cat([torch.ones(N, P, dtype=torch.bool), see_q], 1)[:, None, None, :].expand(N, 1, Ld, P + Lq)
        mask_d = torch.zeros(N, 1, Ld, P + Lq + Ld, dtype=dt).masked_fill(
            ~torch.cat([see, causal[:Ld, :Ld].expand(N, 1, Ld, Ld)], -1), ninf)
        rows = torch.arange(N)
        last = doc_len - 1
        last_flat = P + B * Lq + rows * Ld + last

        att = lambda q, k, v, m=None, causal=False: F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=m, is_causal=causal, enable_gqa=True
        ).transpose(1, 2).reshape(-1, qh * d)
        x = F.embedding(torch.cat([head, query.reshape(-1), doc.reshape(-1)]), self.embed)
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
        return self.rms(x.float(), self.norm) @ (self.embed[self.yes] - self.embed[self.no])


def structured_init(model, tok, embed_npz, seed=0):
    """Start from a network that already compares query and document.

    hidden = [context-free vectors 88 | random identity code 128 | const 4 | weight 4 | after-"<Query" 4 | after-"<Document" 4 |
              identity match 4 | similarity match 4 | pooled similarity 4 | free 12]
    Layer 0 marks the query and the document part and adds the two previous tokens' codes to each token's identity code.
    Layer 1 gathers the weighted mean vector of the query at the ">:" that ends it, and that of the document at the last token.
    Layer 2 lets each document token look for the same (or a similar) token in the query: a match attends to the query, no match
    attends to itself. In layer 3 the last token attends to that ">:" as strongly as the two means agree, and to the matches.
    Positions must not disturb these comparisons, so they use the slowly rotating dimensions of each head (8 and up of 32).
    All of it is only a start: every weight is trained.
    """
    c = model.c
    h, d, qh, kh = c["hidden_size"], c["head_dim"], c["num_attention_heads"], c["num_key_value_heads"]
    assert (h, d, qh, kh, c["num_hidden_layers"]) == (256, 64, 4, 2, 4), "the layout below is for these dimensions"
    g = torch.Generator().manual_seed(seed)
    rnd = lambda *s: torch.randn(*s, generator=g)
    unit = lambda t: F.normalize(t, dim=-1)
    frame = lambda n, k: torch.linalg.qr(rnd(n, k))[0]  # n x k, orthonormal columns
    z = np.load(embed_npz)
    st, weight = torch.from_numpy(z["vectors"]), torch.from_numpy(z["weight"])
    weight = weight * st.norm(dim=-1)
    st = unit(st) @ frame(88, 88)
    cols = torch.arange(h)
    ST, ID = cols[:88], cols[88:216]
    CONST, WEIGHT, INQ, IND, MID, MST, SIM = (cols[216 + 4 * i : 220 + 4 * i] for i in range(7))
    HALF = (ST[:44], ST[44:])
    s, unit_const, unit_mark = 2.5, 1.75, 1.5
    lw = weight.log()
    lw = (lw - lw.mean()).clamp(-3, 1.5)
    token = tok.token_to_id
    template = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "Ċ", "ĊĊ", "assistant",
                "<Instruct", "<Query", "<Document", ">:"]
    assert all(token(t) is not None for t in template + ["Judge", "yes", "no"])
    E = torch.zeros_like(model.embed)
    E[:, ST], E[:, ID] = s * st, s * unit(rnd(len(E), 128))
    E[:, CONST] = unit_const / 2
    for t in template + ["Judge"]:
        lw[token(t)] = -3
        E[token(t), ST] = 0
    per = 0.35  # residual units of the weight block for one natural logarithm
    E[:, WEIGHT] = s * per / 2 * lw[:, None]
    ident = lambda t: unit(E[token(t), ID])
    slow = lambda a, b: torch.tensor([i + j for j in (0, 32) for i in range(a, b)])  # rotation pairs a..b-1
    one = torch.full((4,), 0.5)  # unit vector over a block of four

    def put(W, dims, block, value):
        """W[dims, block] += value, a matrix or (column, row) vectors"""
        if isinstance(value, tuple):
            value = value[0][:, None] * value[1]
        W[dims[:, None], block] += value

    with torch.no_grad():
        for t, sign in (("yes", 1), ("no", -1)):
            E[token(t), ST] = 0
            for block, amount in ((MID, 1.0), (MST, 0.3), (SIM, 2.0)):
                E[token(t), block] = sign * amount * one
        model.embed.copy_(E)
        model.norm.fill_(1.0)
        part = []
        for l, gain in zip(model.layers, (2.0, 2.0, 1.6, 1.4)):
            l.q_norm.fill_(gain)
            l.k_norm.fill_(gain)
            W = l.qkv.view(qh + 2 * kh, d, h)
            Q, K, V, O = W[:qh], W[qh : qh + kh], W[qh + kh :], l.o.view(h, qh, d)
            Q.zero_(), K.zero_(), V.mul_(0.1), O.mul_(0.2), l.down.mul_(0.1)
            part.append((Q, K, V, O))

        # Layer 0: heads 0 and 1 look for "<Document" and "<Query", heads 2 and 3 for the two previous tokens.
        Q, K, V, O = part[0]
        dims = slow(14, 32)
        u = frame(len(dims), 2).T
        put(K[0], dims, ID, 0.6 * rnd(len(dims), 128) / len(dims) ** 0.5)
        for j, (word, block) in enumerate((("<Document", IND), ("<Query", INQ))):
            put(Q[j], dims, CONST, (u[j], one))
            put(K[0], dims, ID, (u[j], ident(word)))
            r = cols[4 * j : 4 * j + 4]
            V[0, r] = 0
            put(V[0], r, ID, (one, ident(word) / 8.5))
            O[:, j] = 0
            put(O[:, j], block, r, unit_mark * torch.eye(4))
        fast = torch.arange(5)
        put(K[1], fast, CONST, (torch.ones(5), one))
        V[1] = 0
        put(V[1], cols[:64], ID, frame(128, 64).T / 3.4)
        for back, amount in ((1, 0.5), (2, 0.25)):
            f = model.freq[:5] * back
            put(Q[1 + back], fast, CONST, (f.cos(), one))
            put(Q[1 + back], 32 + fast, CONST, (-f.sin(), one))
            O[:, 1 + back] = 0
            put(O[:, 1 + back], ID, cols[:64], amount * frame(128, 64))

        # Layer 1: weighted means. Key-value head n carries one half of the vectors; its first query head works at ">:", the other
        # at the last token; elsewhere both rest on "Judge", whose vector is zero.
        Q, K, V, O = part[1]
        dims = slow(20, 32)
        for kv in range(kh):
            uA, uB, uW, uN, uC = frame(len(dims), 5).T
            put(K[kv], dims, CONST, (0.8 * uC / unit_const, one))
            put(K[kv], dims, INQ, (0.6 * uA / unit_mark, one))
            put(K[kv], dims, IND, (-0.6 * uA / unit_mark, one))
            put(K[kv], dims, IND, (0.6 * uB / unit_mark, one))
            put(K[kv], dims, WEIGHT, (uW * 0.035 / (s * per), one))
            put(K[kv], dims, ID, (1.3 * uN / s, ident("Judge")))
            for j, (u, word) in enumerate(((uA, ">:"), (uB, "ĊĊ"))):
                q = Q[2 * kv + j]
                put(q, dims, ID, ((0.6 * u + 0.8 * uW) / s, ident(word)))
                put(q, dims, CONST, (0.35 * uN / unit_const, one))
                put(q, dims, ID, (-0.35 * uN / s, ident(word)))
                O[:, 2 * kv + j] = 0
                put(O[:, 2 * kv + j], HALF[kv], cols[:44], 1.2 * torch.eye(44))
            V[kv] = 0
            put(V[kv], cols[:44], HALF[kv], torch.eye(44) / 3.4)

        # Layer 2: matches of single tokens, by identity (with the two tokens before) and by vector.
        Q, K, V, O = part[2]
        code, seg = slow(8, 28), slow(28, 32)
        for kv, (block, out, beta2) in enumerate(((ID, MID, 0.5), (ST, MST, 0.6))):
            R = rnd(len(code), len(block)) / len(code) ** 0.5 * (1 / 2.8 if kv == 0 else 1 / 2.5)
            u, b = unit(rnd(len(seg))), beta2**0.5
            put(K[kv], code, block, R)
            put(K[kv], seg, INQ, (b / unit_mark * u, one))
            put(K[kv], seg, IND, (-b / unit_mark * u, one))
            V[kv, :4] = 0
            put(V[kv], cols[:4], INQ, torch.eye(4) / 3.4)
            put(V[kv], cols[:4], IND, -torch.eye(4) / 3.4)
            for j in (2 * kv, 2 * kv + 1):
                put(Q[j], code, block, R)
                put(Q[j], seg, CONST, (b / unit_const * u, one))
                O[:, j, :4] = 0
                put(O[:, j], out, cols[:4], 0.5 * torch.eye(4))

        # Layer 3: similarity of the means (first query head of each group), weighted mean of the matches (second one).
        Q, K, V, O = part[3]
        code, bias = slow(8, 30), slow(30, 32)
        for kv in range(kh):
            R, (u, v, w, _) = frame(44, 44), frame(4, 4).T
            put(K[kv], code, HALF[kv], R / 1.7)
            put(K[kv], bias, ID, (u / s, ident(">:")))
            put(K[kv], bias, CONST, (-0.5 * u / unit_const, one))
            put(K[kv], bias, IND, (0.4 * v / unit_mark, one))
            put(K[kv], bias, WEIGHT, (0.12 * w / (s * per), one))
            put(Q[2 * kv], code, HALF[kv], R / 1.7)
            put(Q[2 * kv], bias, CONST, (u / unit_const, one))
            put(Q[2 * kv + 1], bias, CONST, ((v + w - 0.5 * u) / unit_const, one))
            V[kv, :12] = 0
            put(V[kv], cols[:4], IND, (one, one / (3.4 * unit_mark)))
            put(V[kv], cols[4:8], MID, torch.eye(4) / 3.4)
            put(V[kv], cols[8:12], MST, torch.eye(4) / 3.4)
            O[:, 2 * kv, :12] = 0
            O[:, 2 * kv + 1, :12] = 0
            put(O[:, 2 * kv], SIM, cols[:4], 3 * torch.eye(4))
            put(O[:, 2 * kv + 1], MID, cols[4:8], 1.5 * torch.eye(4))
            put(O[:, 2 * kv + 1], MST, cols[8:12], 0.7 * torch.eye(4))


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
    out = {"model.embed_tokens.weight": model.embed, "model.norm.weight": model.norm}
    for i, l in enumerate(model.layers):
        p = f"model.layers.{i}."
        q, k, v = l.qkv.split([qh * d, kh * d, kh * d])
        out |= {p + "self_attn.q_proj.weight": q, p + "self_attn.k_proj.weight": k, p + "self_attn.v_proj.weight": v}
        out |= {p + "self_attn.o_proj.weight": l.o, p + "self_attn.q_norm.weight": l.q_norm, p + "self_attn.k_norm.weight": l.k_norm}
        out |= {p + "mlp.gate_proj.weight": l.gate_up[:m], p + "mlp.up_proj.weight": l.gate_up[m:], p + "mlp.down_proj.weight": l.down}
        out |= {p + "input_layernorm.weight": l.norm1, p + "post_attention_layernorm.weight": l.norm2}
    return {k: v.detach().float().contiguous().clone() for k, v in out.items()}


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
        "pad_token": "<|endoftext|>", "split_special_tokens": False, "tokenizer_class": "Qwen2Tokenizer", "unk_token": None,
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
