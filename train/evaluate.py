"""nDCG@10 on development lists for a model, for BM25 (ranks in the data) and for random order."""
import argparse
import glob
import gzip
import json
import math
import os

import numpy as np
import torch

import data as D
from prompt import DEFAULT_INSTRUCTION, PREFIX, SUFFIX, document_part, head_part, query_part


def ndcg(labels, k=10):
    dcg = lambda v: sum((2**g - 1) / math.log2(i + 2) for i, g in enumerate(v[:k]))
    ideal = dcg(sorted(labels, reverse=True))
    return dcg(labels) / ideal if ideal else 0.0


def dev_files(data):
    return sorted(glob.glob(os.path.join(data, "dev", "*.jsonl.gz")))


class Lists:
    """Development lists, encoded once."""

    def __init__(self, data, tok, limit=None, instruction=DEFAULT_INSTRUCTION, max_document=2048):
        enc = lambda texts: [np.array(e.ids, np.int64) for e in tok.encode_batch(texts, add_special_tokens=False)]
        self.head = np.concatenate(enc([PREFIX, head_part(instruction)]))
        suffix = enc([SUFFIX])[0]
        self.items = []
        for path in dev_files(data):
            name = os.path.basename(path)[: -len(".jsonl.gz")]
            for x in D.load_lists(path)[:limit]:
                c = sorted(x["candidates"], key=lambda c: c["doc_id"])
                docs = [np.concatenate([t[:max_document], suffix]) for t in enc([document_part(y["text"]) for y in c])]
                self.items.append((name, enc([query_part(x["query"])])[0], docs, [y["label"] for y in c], [y["bm25_rank"] for y in c]))

    def scores(self, model, tokens=12000):
        """yes - no of every candidate, list by list."""
        out = [None] * len(self.items)
        order = sorted(range(len(self.items)), key=lambda i: (len(self.items[i][2]), max(map(len, self.items[i][2]))))
        i = 0
        model.eval()
        with torch.no_grad():
            while i < len(order):
                n = len(self.items[order[i]][2])
                group = []
                while i < len(order) and len(self.items[order[i]][2]) == n:
                    longest = max(map(len, self.items[order[i]][2]))
                    if group and (len(group) + 1) * n * longest > tokens:
                        break
                    group.append(order[i])
                    i += 1
                q, ql = D.pad([self.items[j][1] for j in group])
                d, dl = D.pad([t for j in group for t in self.items[j][2]])
                s = model(*map(torch.from_numpy, (self.head, q, ql, d, dl)), n).float().numpy().reshape(len(group), n)
                for j, row in zip(group, s):
                    out[j] = row
        model.train()
        return out

    def table(self, scores=None, key=None):
        """Mean nDCG@10 by set. `scores`: one array a list; or `key`: "bm25" or "random" (expected value, 200 shuffles)."""
        rng = np.random.default_rng(0)
        by = {}
        for n, (name, _, _, labels, bm25) in enumerate(self.items):
            labels = np.array(labels)
            if key == "bm25":
                v = ndcg(labels[np.argsort(bm25, kind="stable")].tolist())
            elif key == "random":
                v = np.mean([ndcg(rng.permutation(labels).tolist()) for _ in range(200)])
            else:
                v = ndcg(labels[np.argsort(-scores[n], kind="stable")].tolist())
            by.setdefault(name, []).append(v)
        t = {k: float(np.mean(v)) for k, v in by.items()}
        t["MEAN"] = float(np.mean(list(t.values())))
        return t


def load_export(folder, dtype=torch.float32):
    from safetensors.torch import load_file
    from tokenizers import Tokenizer

    from model import CONFIG, Reranker

    with open(os.path.join(folder, "config.json"), encoding="utf8") as f:
        j = json.load(f)
    tok = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    model = Reranker({k: j[k] for k in CONFIG}, tok.token_to_id("yes"), tok.token_to_id("no"), dtype)
    w = load_file(os.path.join(folder, "model.safetensors"))
    cat = lambda p, *names: torch.cat([w[p + n] for n in names])
    s = {"embed": w["model.embed_tokens.weight"], "norm": w["model.norm.weight"]}
    for i in range(j["num_hidden_layers"]):
        p, o = f"model.layers.{i}.", f"layers.{i}."
        s[o + "qkv"] = cat(p + "self_attn.", "q_proj.weight", "k_proj.weight", "v_proj.weight")
        s[o + "gate_up"] = cat(p + "mlp.", "gate_proj.weight", "up_proj.weight")
        s[o + "o"], s[o + "down"] = w[p + "self_attn.o_proj.weight"], w[p + "mlp.down_proj.weight"]
        s[o + "q_norm"], s[o + "k_norm"] = w[p + "self_attn.q_norm.weight"], w[p + "self_attn.k_norm.weight"]
        s[o + "norm1"], s[o + "norm2"] = w[p + "input_layernorm.weight"], w[p + "post_attention_layernorm.weight"]
    model.load_state_dict(s)
    return model, tok


def check_against_transformers(folder, data, pairs=20):
    """Greatest difference of yes - no between this code and transformers, through the whole text of the prompt."""
    from transformers import AutoModelForCausalLM
    from tokenizers import Tokenizer

    from prompt import body

    model, tok = load_export(folder)
    ref = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    yes, no = tok.token_to_id("yes"), tok.token_to_id("no")
    enc = lambda t: tok.encode(t, add_special_tokens=False).ids
    worst = 0.0
    files = dev_files(data)
    for n in range(pairs):
        x = D.load_lists(files[n % len(files)])[n]
        c = x["candidates"][:3]
        q, ql = D.pad([np.array(enc(query_part(x["query"])))])
        d, dl = D.pad([np.array(enc(document_part(y["text"])) + enc(SUFFIX)) for y in c])
        head = np.array(enc(PREFIX) + enc(head_part(DEFAULT_INSTRUCTION)))
        with torch.no_grad():
            mine = model(*map(torch.from_numpy, (head, q, ql, d, dl)), len(c))
            for y, m in zip(c, mine):
                ids = enc(PREFIX) + enc(body(DEFAULT_INSTRUCTION, x["query"], y["text"])) + enc(SUFFIX)
                l = ref(torch.tensor([ids])).logits[0, -1]
                worst = max(worst, abs((l[yes] - l[no] - m).item()))
    return worst


def print_table(columns):
    names = list(next(iter(columns.values())))
    print("| set | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for n in names:
        print(f"| {n} | " + " | ".join(f"{c[n]:.4f}" for c in columns.values()) + " |")


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--data", required=True)
    p.add_argument("--model", required=True, help="exported folder")
    p.add_argument("--instruction", default=DEFAULT_INSTRUCTION)
    p.add_argument("--limit", type=int, help="at most so many queries a set")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--check", action="store_true", help="also compare with transformers")
    p.add_argument("--out", help="write the table as JSON")
    p.add_argument("--scores", help="write the scores of each query as JSON lines")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    model, tok = load_export(a.model)
    if a.check:
        print("greatest |difference| from transformers:", check_against_transformers(a.model, a.data))
    lists = Lists(a.data, tok, a.limit, a.instruction)
    s = lists.scores(model)
    if a.scores:
        with open(a.scores, "w") as f:
            for (name, _, _, labels, _), row in zip(lists.items, s):
                f.write(json.dumps({"set": name, "labels": labels, "scores": [round(float(v), 4) for v in row]}) + "\n")
    columns = {"model": lists.table(s), "BM25": lists.table(key="bm25"), "random": lists.table(key="random")}
    print_table(columns)
    if a.out:
        with open(a.out, "w") as f:
            json.dump(columns, f, indent=1)


if __name__ == "__main__":
    main()
