"""The structured start of the network: from the first step on it compares query and document.

Context-free token vectors (`embed.py`) know which words belong together; what a random network would have to learn first is to look
them up in the other text. Here attention heads are written that do so, by the features that a small study found to rank best: how well
each query token is covered by its nearest document token, counted once; the product of the weighted means of both texts; words and pairs of
neighbours that both texts share. How sharp a head looks, where its threshold lies and what its answer weighs are some seventy constants; the
whole start is a differentiable function of them, and `calibrate.py` trains them before `train.py` trains everything; `constants.json` has those that were found.

hidden = [M 44 | B 44 | identity 4 + 52 | code of the matched query token 44 | marks, 4 each]. The first four numbers of the identity say which of four
words of the prompt a token is, exactly; the others are random. A block of four equal entries is one mark. The rows of "yes" and "no", which are the output's weights too, have no
identity, so that the answer is a function of the marks alone.

| layer | what its heads do |
|---|---|
| 0 | marks: after "<query", after "<document"; identity codes of the two previous tokens, added to the token's own |
| 1 | a document token finds its nearest query token by M (MATCH, its weight, its code), by identity (EXACT), by identity and previous tokens (PAIR); the ">:" after "<document" gathers the mean of the query's M and of its B; the feed-forward part makes a step of MATCH |
| 2 | SEEN: how much of what has the same code is in the document and not in the query, so whether an earlier document token found the same query token; a softer match (SOFT); the last token gathers the means of the document; the feed-forward part makes a step of MATCH that is not SEEN |
| 3 | the last token sums the weights of query tokens that were found (COVER, WORDS), averages SOFT over the document (SHARE), measures its length (LENGTH) and fetches the query's means, which the feed-forward part multiplies with the document's (MEANS) |
| 4 | the last token sums PAIR (PAIRS) |

In a head q and k have unit length times 8 g, so a logit is 8 g^2 cos(q, k); what does not depend on the token takes part of that length and so makes a head less
sharp. Where nothing is to be looked up, attention rests on the sink, a word of the prompt whose values are made zero. Sums are made by attention too: the tokens found
share it with the query's own tokens, which have found themselves, so that what falls to the document is r / (1 + r) with r the part of the query's weight that was found,
whatever the query's length. What is to be counted is made nearly all or nothing before, by steps of two SwiGLU units: soft matches of a hundred tokens would outweigh
the few that are meant. The product of two numbers is exact in SwiGLU: silu(x) u - silu(-x) u = x u. The hidden state's norm stands below it, which the document's mean
has a part in: so the product lies between a scalar product and a cosine. RoPE's theta is so large that all pairs from the seventh on are as good as unrotated within
the context; the fast ones find previous tokens, and keep a token from finding itself in layer 2. The other feed-forward parts begin with zero output.

Means of many unit vectors are short, so whatever all tokens have in common in M or B drowns them. What could write it there is therefore not trained (`protect`).
"""
import os

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from model import Reranker, heads, norm, swiglu
from prompt import PREFIX, SUFFIX
from report import write_json

HEADS, HEAD_DIM, HIDDEN, LAYERS, M_DIM, WORD_DIM, CODE_DIM = 6, 64, 256, 5, 44, 4, 52
MARKS = ["CONST", "SINK", "WEIGHT", "IN_QUERY", "IN_DOCUMENT", "MATCH", "MATCH_WEIGHT", "PAIR", "SOFT", "SEEN", "COVER", "SHARE", "MEANS", "PAIRS", "EXACT", "WORDS", "LENGTH"]
ANSWER = {"COVER": 1.4, "SHARE": 1.9, "MEANS": 0.5, "PAIRS": 1.0, "WORDS": 0.7, "LENGTH": 0.0}  # what the answer takes of each
# Q4_K rounds each 32 numbers of an embedding row together, to 15 steps from the least to the greatest. The last eight marks are such a part: in the rows of "yes" and "no", where
# they are the answer's weights, a small amount beside great ones would be lost. So a mark's four numbers lie a quarter of a step apart, and what matters is their sum.
ROUNDED, DITHER = MARKS[-8:], torch.tensor([-3.0, -1.0, 1.0, 3.0]) / 8
assert set(ANSWER) <= set(ROUNDED)
SINK_WORD, QUERY_END, LAST = "judge", ">:", "ĊĊ"
WORDS = ("<document", "<query", QUERY_END, LAST)
TEMPLATE = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "Ċ", "ĊĊ", "assistant", "<instruct", "<query", "<document", ">:", "judge"]
SIZE = 2.0  # norm of M, B and the identity in an embedding row
CONST, MARK = 1.75, 1.5  # norms of the constant and of a mark
PER = 0.35  # of the weight's block for one natural logarithm
# Inverses of the root mean square of the hidden state where values are read, by layer: only values depend on it, not keys or queries.
NORM_0, NORM_1, NORM_MARK, NORM_F = 4.1, 3.7, 2.6, 2.2


def blocks():
    at, n = {}, 0
    for name, size in [("M", M_DIM), ("B", M_DIM), ("ID", WORD_DIM + CODE_DIM), ("CODE", M_DIM)] + [(mark, 4) for mark in MARKS]:
        at[name] = torch.arange(n, n + size)
        n += size
    assert n <= HIDDEN
    return at


def write_vectors(path, vectors, log_weight):
    np.savez(path + ".tmp.npz", vectors=vectors, weight=np.exp(log_weight), log_weight=log_weight)
    os.replace(path + ".tmp.npz", path)


class Constants(nn.Module):
    """Numbers by name, each trained as a factor of what it begins with (as a difference if that is nearly zero)."""

    def __init__(self, saved):
        super().__init__()
        self.trained, self.first, self.saved = nn.ParameterDict(), {}, saved

    def __call__(self, name, value):
        if name not in self.trained:
            self.trained[name] = nn.Parameter(torch.tensor(0.0))
            self.first[name] = self.saved.get(name, value)
        return self.of(name)

    def of(self, name):
        first, x = self.first[name], self.trained[name]
        return first * x.exp() if abs(first) > 1e-3 else first + x

    def values(self):
        with torch.no_grad():
            return {name: float(self.of(name)) for name in self.trained}

    def set(self, name, value):
        self.first[name] = value
        with torch.no_grad():
            self.trained[name].zero_()


def last_input(model, ids, layers):
    """The last token's normalised input of layer `layers`, for one short sequence: [H]"""
    with torch.no_grad():
        x, n, eps = model.embed[ids], len(ids), model.c["rms_norm_eps"]
        angle = torch.arange(n)[:, None, None] * model.freq
        for l in model.layers[:layers]:
            y = F.linear(norm(x, l.norm1, eps), l.qkv).view(n, -1, HEAD_DIM)
            q, k, v = heads(y, l.q_norm, l.k_norm, angle.cos(), angle.sin(), HEADS, HEADS, eps)
            o = F.scaled_dot_product_attention(*(t.transpose(0, 1)[None] for t in (q, k, v)), is_causal=True)
            x = x + F.linear(o[0].transpose(0, 1).reshape(n, -1), l.o)
            x = x + F.linear(swiglu(F.linear(norm(x, l.norm2, eps), l.gate_up)), l.down)
        return norm(x, model.layers[layers].norm1, eps)[-1]


class Start(nn.Module):
    """`model`: a network whose weights are plain tensors, functions of `constants`, `vectors` and `log_weight`; `build` computes them."""

    def __init__(self, config, tok, embed_npz, saved=None, seed=0, dtype=torch.float32, rounding="none"):
        super().__init__()
        c, token = config, tok.token_to_id
        if (c["hidden_size"], c["head_dim"], c["num_attention_heads"], c["num_key_value_heads"]) != (HIDDEN, HEAD_DIM, HEADS, HEADS) or c["num_hidden_layers"] < LAYERS:
            raise ValueError(f"the structured start is written for at least {LAYERS} layers of {HEADS} heads of {HEAD_DIM}, hidden {HIDDEN}")
        if 4 * M_DIM > c["intermediate_size"]:
            raise ValueError(f"the structured start multiplies means in {4 * M_DIM} units; the feed-forward parts have {c['intermediate_size']}")
        missing = [t for t in [*TEMPLATE, "yes", "no"] if token(t) is None]
        if missing:
            raise ValueError(f"the tokenizer has no token {missing[0]!r}: it is not one that tokenizer.py of this version made")
        self.token, self.constants = token, Constants(saved or {})
        z = np.load(embed_npz)
        self.vectors = nn.Parameter(torch.from_numpy(z["vectors"]).clone())
        if "log_weight" in z:  # made by calibrate.py
            self.log_weight = nn.Parameter(torch.from_numpy(z["log_weight"]).clone())
        else:
            w = torch.from_numpy(z["weight"]).log()
            self.log_weight = nn.Parameter((w - w.mean()).clamp(-3, 1.5))
        g = torch.Generator().manual_seed(seed)
        rnd = lambda *s: torch.randn(*s, generator=g)
        frame = lambda n, k: torch.linalg.qr(rnd(n, k))[0]
        self.previous = [(frame(CODE_DIM, CODE_DIM), frame(CODE_DIM, CODE_DIM)) for _ in range(2)]
        self.code, self.pair = frame(CODE_DIM, M_DIM).T, frame(CODE_DIM, M_DIM).T
        self.identity = F.pad(F.normalize(rnd(c["vocab_size"], CODE_DIM), dim=-1), (WORD_DIM, 0))
        for i, word in enumerate(WORDS):
            self.identity[token(word)] = torch.eye(WORD_DIM + CODE_DIM)[i]
        # Words of the prompt have vectors that mean nothing, or none, and next to no weight.
        self.own = torch.ones(c["vocab_size"], 1)
        self.prompt_vectors, self.prompt_weight = torch.zeros(c["vocab_size"], 2 * M_DIM), torch.zeros(c["vocab_size"])
        for word in TEMPLATE:
            i = token(word)
            self.own[i], self.prompt_weight[i] = 0, 0 if word == SINK_WORD else -5
            if word not in (SINK_WORD, QUERY_END, LAST):
                self.prompt_vectors[i] = F.normalize(rnd(2, M_DIM), dim=-1).flatten()
        answers = [token("yes"), token("no")]
        self.own[answers], self.identity[answers] = 0, 0  # their rows are the answer's weights too: it takes the marks, and nothing else
        ids = lambda text: torch.tensor(tok.encode(text, add_special_tokens=False).ids)
        prefix = ids(PREFIX)
        self.to_sink = prefix[: prefix.tolist().index(token(SINK_WORD)) + 1]
        self.example = ids(PREFIX + "a\n<Query>: b\n<Document>: c" + SUFFIX)
        m = c["intermediate_size"]
        self.unwritten = [(rnd(3, HEADS, HEAD_DIM, HIDDEN) * HIDDEN**-0.5, rnd(HIDDEN, HEADS, HEAD_DIM) * 0.001, rnd(2 * m, HIDDEN) * 0.8 * HIDDEN**-0.5)
                          for _ in range(c["num_hidden_layers"])]
        self.model = Reranker(c, token("yes"), token("no"), dtype, rounding)
        for part, names in [(self.model, ("embed", "norm", "answer"))] + [(l, ("q_norm", "k_norm", "qkv", "o", "gate_up", "down")) for l in self.model.layers]:
            for name in names:
                value = part._parameters.pop(name)
                setattr(part, name, value.detach())
        self.build()

    def last(self, b):
        """The normalised state of each document's last token, of a batch (data.Batch): [B * candidates, H]"""
        return self.model.last(*map(torch.from_numpy, (b.head.astype(np.int64), b.query, b.query_len, b.doc, b.doc_len)), b.candidates)

    def weights(self):
        """Natural logarithms of the tokens' weights: [V]"""
        return self.log_weight.clamp(-3.5, 2.5)

    def embeddings(self):
        at, one = blocks(), torch.full((4,), 0.5)
        vectors = torch.cat([F.normalize(part, dim=-1) for part in (self.vectors[:, :M_DIM], self.vectors[:, M_DIM:])], -1)
        log_weight = self.weights() * self.own[:, 0] + self.prompt_weight
        E = torch.zeros(len(vectors), HIDDEN)
        E[:, : 2 * M_DIM] = SIZE * (vectors * self.own + self.prompt_vectors)
        E[:, at["ID"]] = SIZE * self.identity
        E[:, at["CONST"]] = CONST * one
        E[:, at["WEIGHT"]] = PER * log_weight[:, None] * one
        sink = self.token(SINK_WORD)
        E[sink, at["ID"]] = 0
        E[sink, at["SINK"]] = CONST * one
        amounts = {mark: self.constants("answer " + mark, amount) / 2 for mark, amount in ANSWER.items()}
        rounded = [amounts.get(mark, torch.tensor(0.0)) for mark in ROUNDED]
        step = (max(rounded) - min(rounded)).detach() / 15
        for word, sign in (("yes", 1), ("no", -1)):
            for mark, amount in zip(ROUNDED, rounded):
                E[self.token(word), at[mark]] = sign * amount + DITHER * step
            E[self.token(word), at["CONST"]] += sign * self.constants("answer CONST", 0.0) * one  # where the score is 0.5
        return E

    def build(self):
        C, at, model = self.constants, blocks(), self.model
        one = torch.full((4,), 0.5)
        model.embed = self.embeddings()
        model.norm = torch.ones(HIDDEN)
        word = lambda t: self.identity[self.token(t)]

        # Directions of the hidden state with the factor that makes the typical value 1.
        const, sink, in_query, in_document = (one / CONST, one / CONST, one / MARK, one / MARK)
        slow = torch.tensor([i + j for j in (0, 32) for i in range(10, 32)])  # 44 dimensions for codes
        bias = torch.tensor([7, 8, 9, 39, 40, 41])  # and 6 for what does not depend on the token
        UA, UB, UC, US, UW, UN = torch.eye(6)

        def put(W, dims, block, value):
            """W[dims, block] += value; a pair of vectors is their outer product, a number that times the identity"""
            if isinstance(value, tuple):
                value = value[0][:, None] * value[1]
            elif not torch.is_tensor(value) or value.ndim == 0:
                value = value * torch.eye(len(dims), len(block))
            W[dims[:, None], block] = W[dims[:, None], block] + value

        def is_query(W, u, amount):
            """amount at tokens of the query, -amount elsewhere"""
            put(W, bias, at["IN_QUERY"], (2 * amount * u, in_query)), put(W, bias, at["IN_DOCUMENT"], (-2 * amount * u, in_document))
            put(W, bias, at["CONST"], (-amount * u, const))

        def is_document(W, u, amount):
            put(W, bias, at["IN_DOCUMENT"], (2 * amount * u, in_document)), put(W, bias, at["CONST"], (-amount * u, const))

        def fixed(W, u, amount):
            put(W, bias, at["CONST"], (amount * u, const))

        def sink_key(W, u, amount):
            put(W, bias, at["SINK"], (amount * u, sink))

        def only_at(W, t, u, amount):
            put(W, bias, at["ID"], (amount * u / SIZE, word(t)))

        def carry(V, O, mark, dims, source):
            """mark += its typical value times the attention on tokens whose `source` is 1"""
            for block, direction, sign in source:
                put(V, dims, at[block], (sign * one, direction / NORM_MARK))
            put(O, at[mark], dims, MARK * torch.eye(4))

        IS_QUERY = [("IN_QUERY", in_query, 1.0), ("IN_DOCUMENT", in_document, -1.0)]
        IS_DOCUMENT = [("IN_DOCUMENT", in_document, 1.0)]
        r = lambda i: torch.arange(4 * i, 4 * i + 4)
        wide = torch.arange(12, 12 + M_DIM)

        def look_up(name, Q, K, block, code, key, part, threshold, soft):
            """Document tokens find the query token with the nearest code; below the threshold they rest on the sink."""
            put(K, slow, block, code), put(Q, slow, block, code)
            is_query(K, UA, C(name + " key", key)), only_at(K, QUERY_END, UA, -2.0), fixed(Q, UA, C(name + " part", part))
            sink_key(K, US, 8.0)
            fixed(Q, US, C(name + " threshold", threshold)), fixed(Q, UN, C(name + " soft", soft))

        def gather(name, Q, K, V, O, block, place, part, weight, out):
            """At `place`, the mean of the part's tokens, weighted; elsewhere nothing."""
            part(K, UA, 1.0), put(K, bias, at["WEIGHT"], (C(name + " weight", weight) / PER * UW, one)), sink_key(K, UN, 8.0)
            only_at(Q, place, UA, 1.0), only_at(Q, place, UW, 1.0), fixed(Q, UN, 0.6), only_at(Q, place, UN, -0.6)
            put(V, wide, at[block], 1 / NORM_1), put(O, at[block], wide, C(name + " out", out))

        def sums(name, Q, K, V, O, plus, minus, mark, amounts, weight, slope):
            """Query tokens found in the document, by weight, over these and all tokens of the query, which have found themselves. Only the last
            token matters where this stands; it is not asked whether a query is it."""
            put(K, bias, at[plus], (C(name + " plus", amounts[0]) * UA, one / MARK))
            for block in minus:
                put(K, bias, at[block], (-C(name + " minus", amounts[1]) * UA, one / MARK))
            put(K, bias, at["MATCH_WEIGHT"], (C(name + " weight", weight) / PER * UW, one)), fixed(K, UC, 2.0), sink_key(K, UC, 8.0)
            fixed(Q, UA, 1.0), fixed(Q, UW, 1.0), fixed(Q, UN, C(name + " slope", slope))
            carry(V, O, mark, r(0), IS_DOCUMENT)

        parts = [(qkv.clone(), o.clone()) for qkv, o, _ in self.unwritten]

        def fresh(layer, head):
            qkv, o = parts[layer]
            qkv[:, head], o[:, head] = 0, 0
            return *(qkv[i, head] for i in range(3)), o[:, head]

        def finish(layer, gain, resting=()):
            """Sets the layer's tensors. The values of the heads `resting` are made zero for the sink: what rests on it gets nothing."""
            l, (qkv, o) = model.layers[layer], parts[layer]
            m = model.c["intermediate_size"]
            l.q_norm = l.k_norm = C(f"gain {layer}", gain) * torch.ones(HEAD_DIM)
            l.o, l.gate_up, l.down = o.reshape(HIDDEN, -1), self.unwritten[layer][2], torch.zeros(HIDDEN, m)
            if resting:
                x, out, values = last_input(model, self.to_sink, layer), torch.zeros(HIDDEN), torch.zeros_like(qkv)
                out[at["SINK"]] = one
                values[2, list(resting)] = (qkv[2, list(resting)] @ x)[..., None] * out / (out @ x)
                qkv = qkv - values
            l.qkv = qkv.reshape(-1, HIDDEN)

        # Layer 0
        for h, (t, mark) in enumerate(zip(WORDS, ("IN_DOCUMENT", "IN_QUERY"))):
            Q, K, V, O = fresh(0, h)
            only_at(K, t, UA, 2.0), fixed(K, UN, 0.4), sink_key(K, UB, 2.0)
            fixed(Q, UA, 1.0), fixed(Q, UB, 0.7)
            put(V, r(0), at["ID"], (one, word(t) / SIZE / NORM_0)), put(O, at[mark], r(0), MARK * torch.eye(4))
        fast, codes, own_code = torch.arange(5), torch.arange(CODE_DIM), at["ID"][WORD_DIM:]
        for back, amount in ((1, 0.5), (2, 0.25)):
            Q, K, V, O = fresh(0, 1 + back)
            f = model.freq[:5] * back
            put(K, fast, at["CONST"], (torch.ones(5), const))
            put(Q, fast, at["CONST"], (f.cos(), const)), put(Q, 32 + fast, at["CONST"], (-f.sin(), const))
            read, write = self.previous[back - 1]
            put(V, codes, own_code, read / NORM_0), put(O, own_code, codes, C(f"previous {back}", amount) * write)
        finish(0, 2.0, (0, 1))

        # Layer 1
        Q, K, V, O = fresh(1, 0)
        look_up("match", Q, K, at["M"], 1 / SIZE, 1.4, 0.4, 0.7, 0.3)
        carry(V, O, "MATCH", r(0), IS_QUERY)
        put(V, r(1), at["WEIGHT"], torch.eye(4) / NORM_1), put(O, at["MATCH_WEIGHT"], r(1), 1.0)
        put(V, wide, own_code, self.code / SIZE / NORM_1 * 1.4), put(O, at["CODE"], wide, SIZE)
        for h, name, code, amounts in ((1, "pair", self.pair, (1.0, 0.25, 0.97, 0.06)), (4, "exact", self.code, (1.1, 0.5, 0.95, 0.17))):
            Q, K, V, O = fresh(1, h)
            look_up(name, Q, K, own_code, code * 1.2 / SIZE / 1.15, *amounts)
            carry(V, O, name.upper(), r(0), IS_QUERY)
        for h, block in ((2, "M"), (3, "B")):
            gather("query " + block, *fresh(1, h), block, QUERY_END, is_query, 0.123, 2.0)
        finish(1, 1.2, range(5))
        self.steps(1, "match step", [("MATCH", 1.0)], 0.8, "MATCH")

        # Layer 2
        Q, K, V, O = fresh(2, 0)
        put(K, slow, at["CODE"], 2 / SIZE), put(Q, slow, at["CODE"], 2 / SIZE)
        three = torch.arange(3)
        put(K, three, at["CONST"], (torch.full((3,), 0.5) * C("seen self", 2.0), const)), put(Q, three, at["CONST"], (torch.full((3,), -0.5), const))
        is_document(K, UA, C("seen document", 0.25)), fixed(Q, UA, 1.0), fixed(K, UC, C("seen rest", 0.5))
        put(K, bias, at["MATCH"], (C("seen match", 0.5) * UA, one / MARK)), fixed(K, UA, -C("seen match less", 0.5))
        sink_key(K, US, 8.0), fixed(Q, US, C("seen threshold", 0.13))
        carry(V, O, "SEEN", r(0), IS_DOCUMENT)
        Q, K, V, O = fresh(2, 1)
        look_up("softly", Q, K, at["M"], 1 / SIZE, 2.4, 0.2, 0.7, 1.1)
        carry(V, O, "SOFT", r(0), IS_QUERY)
        for h, block in ((2, "M"), (3, "B")):
            gather("document " + block, *fresh(2, h), block, LAST, is_document, 0.069, 6.0)
        finish(2, 1.6, range(4))
        self.steps(2, "match new", [("MATCH", 1.0), ("SEEN", -C("match seen", 6.0))], -0.35, "MATCH")

        # Layer 3
        sums("cover", *fresh(3, 0), "MATCH", ["SEEN"], "COVER", (0.75, 0.85), 0.25, 1.9)
        Q, K, V, O = fresh(3, 1)
        is_document(K, UA, 1.0), put(K, bias, at["WEIGHT"], (C("share weight", 0.044) / PER * UW, one))
        fixed(Q, UA, 1.0), fixed(Q, UW, 1.0)
        put(V, r(0), at["SOFT"], torch.eye(4) / NORM_1), put(O, at["SHARE"], r(0), 1.5)
        room = {"M": at["CODE"], "B": own_code[-M_DIM:]}  # where the query's means come to lie at the last token
        for h, block in ((2, "M"), (3, "B")):
            Q, K, V, O = fresh(3, h)
            only_at(K, QUERY_END, UA, 2.0), is_document(K, UA, 1.0), fixed(K, UC, 1.0), fixed(Q, UA, 4.0), fixed(Q, UC, -4.0)
            put(V, wide, at[block], 1 / NORM_1), put(O, room[block], wide, C("fetch " + block, 1.5))
        sums("words", *fresh(3, 4), "EXACT", ["SEEN"], "WORDS", (1.3, 0.55), 0.22, 2.4)
        Q, K, V, O = fresh(3, 5)
        is_document(K, UA, 1.0), sink_key(K, UB, 8.0), fixed(K, UC, 1.0), fixed(Q, UA, 1.0), fixed(Q, UB, C("length", 0.9))
        carry(V, O, "LENGTH", r(0), IS_DOCUMENT)
        finish(3, 2.0, (0, 1, 4, 5))
        self.products(room, one, put)

        # Layer 4
        sums("pairs", *fresh(4, 0), "PAIR", [], "PAIRS", (2.0,), 0.2, 1.0)
        finish(4, 1.5, (0,))
        for layer in range(LAYERS, len(model.layers)):
            finish(layer, 1.5)

    def write(self, out, **facts):
        """OUT.npz with the vectors, in embed.py's form, then OUT.json with the constants and the facts."""
        stem, _ = os.path.splitext(out)
        write_vectors(stem + ".npz", self.vectors.detach().numpy(), self.log_weight.detach().numpy())
        write_json(out, {"constants": self.constants.values(), **facts})

    def steps(self, layer, name, sources, threshold, mark):
        """The mark rises by one step where a weighted sum of marks is over the threshold: silu(p + 1/2) - silu(p - 1/2), p being the steep distance from it."""
        at, l, C, one = blocks(), self.model.layers[layer], self.constants, torch.full((4,), 0.5)
        m, slope = self.model.c["intermediate_size"], C(name + " slope", 20.0) / NORM_F
        gate_up, l.down = l.gate_up.clone(), l.down.clone()
        gate_up[[0, 1, m, m + 1]] = 0
        for unit, sign in ((0, 1.0), (1, -1.0)):
            for source, factor in sources:
                gate_up[unit, at[source]] = slope * factor * one / MARK
            gate_up[unit, at["CONST"]] = (sign * 0.5 / NORM_F - slope * C(name, threshold)) * one / CONST
            gate_up[m + unit, at["CONST"]] = one / CONST / NORM_F
            l.down[at[mark], unit] = sign * C(name + " amount", 1.0) * MARK * one
        l.gate_up = gate_up

    def products(self, room, one, put):
        """MEANS: two units for each number of the means. The gate reads the query's mean, less what lies there without a query."""
        at, l, C = blocks(), self.model.layers[3], self.constants
        x, m = last_input(self.model, self.example, 3), self.model.c["intermediate_size"]
        gate, up, down = torch.zeros(m, HIDDEN), torch.zeros(m, HIDDEN), torch.zeros(HIDDEN, m)
        units = iter(torch.arange(4 * M_DIM).split(M_DIM))
        for block in ("M", "B"):
            for sign in (1.0, -1.0):
                u = next(units)
                put(gate, u, room[block], sign * 0.5)
                put(gate, u, at["CONST"], (-sign * 0.5 * x[room[block]] / (one @ x[at["CONST"]]), one))
                put(up, u, at[block], 0.5)
                put(down, at["MEANS"], u, (one, sign * torch.ones(M_DIM) * C("means " + block, 0.3)))
        l.gate_up, l.down = torch.cat([gate, up]), down


def structured(model, start):
    """Gives the model's parameters the start's values."""
    with torch.no_grad():
        start.build()
        model.embed.copy_(start.model.embed), model.norm.copy_(start.model.norm)
        for to, of in zip(model.layers, start.model.layers):
            for name in ("q_norm", "k_norm", "qkv", "o", "gate_up", "down"):
                getattr(to, name).copy_(getattr(of, name))


def protect(model):
    """Keeps training from what could write the same into M and B of all tokens: layer 0, and what layers 1 and 2 write there."""
    first = model.layers[0]
    for w in (first.qkv, first.o, first.gate_up, first.down):
        w.requires_grad_(False)

    def fixed(w, rows):
        mask = torch.ones_like(w)
        mask[rows] = 0
        w.register_hook(lambda gradient: gradient * mask)

    means, values = slice(0, 2 * M_DIM), 2 * HEADS * HEAD_DIM
    for l in model.layers[1:3]:
        fixed(l.o, means), fixed(l.down, means)
        fixed(l.qkv, slice(values + 2 * HEAD_DIM, values + 4 * HEAD_DIM))
