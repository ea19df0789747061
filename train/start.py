"""The structured start of the network: from the first step on it compares query and document.

Context-free token vectors (`embed.py`) know which words belong together; what a random network would have to learn first is to look
them up in the other text. Here attention heads are written that do so, by the features that a small study found to rank best: how well
each query token is covered by its nearest document token, counted once; how near the weighted means of both texts are; pairs of
neighbours that both texts share. Everything is trained further.

hidden = [M 44 | B 44 | identity 64 | code of the matched query token 44 | marks, 4 each]. A block of four equal entries is one mark.

| layer | heads |
|---|---|
| 0 | marks: after "<Query", after "<Document"; identity codes of the two previous tokens, added to the token's own |
| 1 | a document token finds its nearest query token by M (MATCH, its weight, its code); by identity and previous tokens (PAIR); the ">:" after "<Document" gathers the mean of the query's M and of its B |
| 2 | SEEN: an earlier document token found the same query token; a softer match (SOFT); the last token gathers the means of the document |
| 3 | the last token sums the weights of query tokens that were found (COVER), averages SOFT over the document (SHARE), compares the means of M and of B (MEANS) |
| 4 | the last token sums PAIR (PAIRS) |

In a head q and k have unit length times 8 g, so a logit is 8 g^2 cos(q, k): 32 cos with g = 2, 64 cos with g = 8^(1/2). Where nothing is to be looked up, attention
rests on the sink, a word of the prompt whose values are made zero. Sums are made by attention too: the tokens found share it with the query's own tokens, which have found
themselves, so that what falls to the document is r / (1 + r) with r the part of the query's weight that was found, whatever the query's length. RoPE's theta is so large
that all pairs from the seventh on are as good as unrotated within the context; the fast ones find previous tokens, and keep a token from finding itself in layer 2. The feed-forward parts
begin with zero output: noise in the means costs more than it helps.
"""
import numpy as np
import torch
import torch.nn.functional as F

from prompt import PREFIX

HEADS, HEAD_DIM, HIDDEN, LAYERS, M_DIM, ID_DIM = 4, 64, 256, 5, 44, 64
MARKS = ["CONST", "SINK", "WEIGHT", "INQ", "IND", "MATCH", "MATCHW", "PAIR", "SOFT", "SEEN", "COVER", "SHARE", "MEANS", "PAIRS", "FREE"]
SINK_WORD, QUERY_END, LAST = "Judge", ">:", "ĊĊ"
TEMPLATE = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "Ċ", "ĊĊ", "assistant", "<Instruct", "<Query", "<Document", ">:", "Judge"]
SIZE = 2.0  # norm of M, B and the identity code in an embedding row
CONST, MARK = 1.75, 1.5  # norms of the constant and of a mark
PER = 0.35  # of the weight's block for one natural logarithm


def beginning(model, ids, layers):
    """The last token's normalised input of layer `layers`, for a short sequence: [H]"""
    from model import heads, norm, swiglu

    x, n, d, eps = model.embed[ids], len(ids), HEAD_DIM, model.c["rms_norm_eps"]
    angle = torch.arange(n)[:, None, None] * model.freq
    for l in model.layers[:layers]:
        y = F.linear(norm(x, l.norm1, eps), l.qkv).view(n, -1, d)
        q, k, v = heads(y, l.q_norm, l.k_norm, angle.cos(), angle.sin(), HEADS, HEADS, eps)
        o = F.scaled_dot_product_attention(*(t.transpose(0, 1)[None] for t in (q, k, v)), is_causal=True)
        x = x + F.linear(o[0].transpose(0, 1).reshape(n, -1), l.o)
        x = x + F.linear(swiglu(F.linear(norm(x, l.norm2, eps), l.gate_up)), l.down)
    return norm(x, model.layers[layers].norm1, eps)[-1]


def blocks():
    at = {"M": torch.arange(0, 44), "B": torch.arange(44, 88), "ID": torch.arange(88, 152), "CODE": torch.arange(152, 196)}
    for i, name in enumerate(MARKS):
        at[name] = torch.arange(196 + 4 * i, 200 + 4 * i)
    return at


def structured(model, tok, embed_npz, seed=0):
    c = model.c
    assert (c["hidden_size"], c["head_dim"], c["num_attention_heads"], c["num_key_value_heads"]) == (HIDDEN, HEAD_DIM, HEADS, HEADS)
    assert c["num_hidden_layers"] >= LAYERS
    g = torch.Generator().manual_seed(seed)
    rnd = lambda *s: torch.randn(*s, generator=g)
    unit = lambda t: F.normalize(t, dim=-1)
    frame = lambda n, k: torch.linalg.qr(rnd(n, k))[0]
    at, token = blocks(), tok.token_to_id
    assert all(token(t) is not None for t in TEMPLATE + ["yes", "no"])
    z = np.load(embed_npz)
    vectors, weight = torch.from_numpy(z["vectors"]), torch.from_numpy(z["weight"])
    one = torch.full((4,), 0.5)

    E = torch.zeros_like(model.embed)
    E[:, at["M"]], E[:, at["B"]] = SIZE * unit(vectors[:, :M_DIM]), SIZE * unit(vectors[:, M_DIM:])
    E[:, at["ID"]] = SIZE * unit(rnd(len(E), ID_DIM))
    E[:, at["CONST"]] = CONST * one
    logw = weight.log()
    logw = (logw - logw.mean()).clamp(-3, 1.5)
    for t in TEMPLATE:
        E[token(t), :88] = 0 if t in (SINK_WORD, QUERY_END, LAST) else SIZE * torch.cat([unit(rnd(44)), unit(rnd(44))])
        logw[token(t)] = -5
    logw[token(SINK_WORD)] = 0
    E[:, at["WEIGHT"]] = PER * logw[:, None] * one
    E[token(SINK_WORD), at["ID"]] = 0
    E[token(SINK_WORD), at["SINK"]] = CONST * one
    ident = lambda t: E[token(t), at["ID"]] / SIZE

    # Directions of the hidden state with the factor that makes the typical value 1.
    const, sink, in_query, in_document = (one / CONST, one / CONST, one / MARK, one / MARK)
    slow = torch.tensor([i + j for j in (0, 32) for i in range(10, 32)])  # 44 dimensions for codes
    bias = torch.tensor([7, 8, 9, 39, 40, 41])  # and 6 for what does not depend on the token
    UA, UB, UC, US, UW, UN = torch.eye(6)

    def put(W, dims, block, value):
        """W[dims, block] += value; a pair of vectors is their outer product, a number that times the identity"""
        if isinstance(value, tuple):
            value = value[0][:, None] * value[1]
        elif not torch.is_tensor(value):
            value = value * torch.eye(len(dims), len(block))
        W[dims[:, None], block] += value

    def is_query(W, u, amount):
        """amount at tokens of the query, -amount elsewhere"""
        put(W, bias, at["INQ"], (2 * amount * u, in_query)), put(W, bias, at["IND"], (-2 * amount * u, in_document))
        put(W, bias, at["CONST"], (-amount * u, const))

    def is_document(W, u, amount):
        put(W, bias, at["IND"], (2 * amount * u, in_document)), put(W, bias, at["CONST"], (-amount * u, const))

    def fixed(W, u, amount):
        put(W, bias, at["CONST"], (amount * u, const))

    def sink_key(W, u, amount):
        put(W, bias, at["SINK"], (amount * u, sink))

    def only_at(W, word, u, amount):
        put(W, bias, at["ID"], (amount * u / SIZE, ident(word)))

    norm_of = 3.7  # of the root mean square's inverse; only values, not keys or queries, depend on it

    def carry(V, O, mark, dims, source):
        """mark += its typical value times the attention on tokens whose `source` is 1"""
        for block, direction, sign in source:
            put(V, dims, at[block], (sign * one, direction / 2.6))
        put(O, at[mark], dims, MARK * torch.eye(4))

    IS_QUERY = [("INQ", in_query, 1.0), ("IND", in_document, -1.0)]
    IS_DOCUMENT = [("IND", in_document, 1.0)]
    r = lambda i: torch.arange(4 * i, 4 * i + 4)
    wide = torch.arange(12, 56)

    def look_up(Q, K, block_rows, threshold, soft=0.0):
        """Document tokens find the query token with the nearest code; below the threshold of the cosine they rest on the sink."""
        put(K, slow, *block_rows), put(Q, slow, *block_rows)
        is_query(K, UA, 1.0), only_at(K, QUERY_END, UA, -2.0), fixed(Q, UA, 1.0)
        sink_key(K, US, 8.0)
        fixed(Q, US, (threshold + 1) / 2**0.5)
        fixed(Q, UN, soft)

    def gather(Q, K, V, O, block, word, part, weight):
        """At `word`, the mean of the part's tokens, weighted; elsewhere nothing."""
        part(K, UA, 1.0), put(K, bias, at["WEIGHT"], (weight / PER * UW, one)), sink_key(K, UN, 8.0)
        only_at(Q, word, UA, 1.0), only_at(Q, word, UW, 1.0), fixed(Q, UN, 0.6), only_at(Q, word, UN, -0.6)
        put(V, wide, at[block], 1 / norm_of)
        put(O, at[block], wide, 2.0)

    with torch.no_grad():
        parts = []
        for l, gain in zip(model.layers, (2.0, 8**0.5, 8**0.5, 8**0.5, 8**0.5)):
            l.q_norm.fill_(gain), l.k_norm.fill_(gain)
            W = l.qkv.view(3 * HEADS, HEAD_DIM, HIDDEN)
            parts.append((W[:HEADS], W[HEADS : 2 * HEADS], W[2 * HEADS :], l.o.view(HIDDEN, HEADS, HEAD_DIM)))
            l.o.mul_(0.2), l.down.zero_()

        def fresh(layer, head):
            Q, K, V, O = parts[layer]
            Q[head], K[head], V[head], O[:, head] = 0, 0, 0, 0
            return Q[head], K[head], V[head], O[:, head]

        words = tok.encode(PREFIX, add_special_tokens=False).ids
        words = torch.tensor(words[: words.index(token(SINK_WORD)) + 1])

        def rest(layer, heads):
            """What rests on the sink gets nothing: the values of the heads are made zero for it."""
            x = beginning(model, words, layer)
            V = parts[layer][2]
            out = torch.zeros(HIDDEN)
            out[at["SINK"]] = one
            for h in heads:
                V[h] -= (V[h] @ x)[:, None] * out / (out @ x)

        model.embed.copy_(E)
        # Layer 0
        for h, (word, mark) in enumerate((("<Document", "IND"), ("<Query", "INQ"))):
            Q, K, V, O = fresh(0, h)
            only_at(K, word, UA, 2.0), fixed(K, UN, 0.4), sink_key(K, UB, 2.0)
            fixed(Q, UA, 1.0), fixed(Q, UB, 0.7)
            put(V, r(0), at["ID"], (one, ident(word) / SIZE / 4.1))
            put(O, at[mark], r(0), MARK * torch.eye(4))
        rest(0, (0, 1))
        fast = torch.arange(5)
        for back, amount in ((1, 0.5), (2, 0.25)):
            Q, K, V, O = fresh(0, 1 + back)
            f = model.freq[:5] * back
            put(K, fast, at["CONST"], (torch.ones(5), const))
            put(Q, fast, at["CONST"], (f.cos(), const)), put(Q, 32 + fast, at["CONST"], (-f.sin(), const))
            put(V, torch.arange(64), at["ID"], frame(64, 64) / 4.1)
            put(O, at["ID"], torch.arange(64), amount * frame(64, 64))

        # Layer 1
        code = frame(64, 44).T
        Q, K, V, O = fresh(1, 0)
        look_up(Q, K, (at["M"], 1 / SIZE), 0.6)
        carry(V, O, "MATCH", r(0), IS_QUERY)
        put(V, r(1), at["WEIGHT"], torch.eye(4) / norm_of), put(O, at["MATCHW"], r(1), 1.0)
        put(V, wide, at["ID"], code / SIZE / norm_of * 1.4), put(O, at["CODE"], wide, SIZE)
        Q, K, V, O = fresh(1, 1)
        look_up(Q, K, (at["ID"], frame(64, 44).T * 1.2 / SIZE / 1.15), 0.72)
        carry(V, O, "PAIR", r(0), IS_QUERY)
        for h, block in ((2, "M"), (3, "B")):
            gather(*fresh(1, h), block, QUERY_END, is_query, 0.022)
        rest(1, range(4))

        # Layer 2
        Q, K, V, O = fresh(2, 0)
        put(K, slow, at["CODE"], 2 / SIZE), put(Q, slow, at["CODE"], 2 / SIZE)
        three = torch.arange(3)
        put(K, three, at["CONST"], (torch.full((3,), 0.5), const)), put(Q, three, at["CONST"], (torch.full((3,), -0.5), const))
        is_document(K, UA, 0.25), fixed(Q, UA, 1.0), fixed(K, UC, 0.5)
        sink_key(K, US, 8.0), fixed(Q, US, 0.6)
        carry(V, O, "SEEN", r(0), IS_DOCUMENT)
        Q, K, V, O = fresh(2, 1)
        look_up(Q, K, (at["M"], 1 / SIZE), 0.35, soft=4.0)
        carry(V, O, "SOFT", r(0), IS_QUERY)
        for h, block in ((2, "M"), (3, "B")):
            gather(*fresh(2, h), block, LAST, is_document, 0.022)
        rest(2, range(4))

        # Layer 3: only the last token matters from here on; it is not asked whether a query is it.
        def sums(Q, K, V, O, plus, minus, mark):
            """Query tokens found in the document, by weight, over these and all tokens of the query, which have found themselves."""
            put(K, bias, at[plus], (UA, one / MARK))
            for block in minus:
                put(K, bias, at[block], (-0.7 * UA, one / MARK))
            put(K, bias, at["MATCHW"], (0.09 / PER * UW, one)), fixed(K, UC, 2.0), sink_key(K, UC, 8.0)
            fixed(Q, UA, 1.0), fixed(Q, UW, 1.0), fixed(Q, UN, 2.2)
            carry(V, O, mark, r(0), IS_DOCUMENT)

        sums(*fresh(3, 0), "MATCH", ["SEEN"], "COVER")
        Q, K, V, O = fresh(3, 1)
        is_document(K, UA, 1.0), put(K, bias, at["WEIGHT"], (0.022 / PER * UW, one))
        fixed(Q, UA, 1.0), fixed(Q, UW, 1.0)
        put(V, r(0), at["SOFT"], torch.eye(4) / norm_of), put(O, at["SHARE"], r(0), 1.5)
        for h, block in ((2, "M"), (3, "B")):
            Q, K, V, O = fresh(3, h)
            put(K, slow, at[block], 0.7), put(Q, slow, at[block], 6.0)
            only_at(K, QUERY_END, UA, 6.0), is_document(K, UA, 3.0), fixed(K, UA, -8.7), fixed(Q, UA, 4.0)
            fixed(K, UC, 12.0), sink_key(K, UA, 11.7)
            put(V, r(0), at["ID"], (one, ident(QUERY_END) / SIZE / 3.0)), put(O, at["MEANS"], r(0), MARK * torch.eye(4))
        rest(3, range(4))
        # Layer 4
        sums(*fresh(4, 0), "PAIR", [], "PAIRS")
        rest(4, (0,))

        for t, sign in (("yes", 1), ("no", -1)):
            E[token(t), :88] = 0
            for mark, amount in (("COVER", 0.7), ("SHARE", 0.7), ("MEANS", 0.3), ("PAIRS", 0.7)):
                E[token(t), at[mark]] = sign * amount * one
        model.embed.copy_(E)
        model.norm.fill_(1.0)
