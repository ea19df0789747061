"""nDCG@10 on development lists, by set and by language, for a model, for BM25 (ranks in the data) and for random order.

The model is an exported folder, or a GGUF file, which `edge-reranker score` scores.
"""
import argparse
import glob
import json
import math
import os

import numpy as np
import torch

import data as D
import native
from prompt import DEFAULT_INSTRUCTION, PREFIX, SUFFIX, document_part, head_part, query_part
from report import read_json, write_json


def ndcg(labels, k=10):
    dcg = lambda v: sum((2**g - 1) / math.log2(i + 2) for i, g in enumerate(v[:k]))
    ideal = dcg(sorted(labels, reverse=True))
    return dcg(labels) / ideal if ideal else 0.0


def dev_files(data):
    return sorted(glob.glob(os.path.join(data, "dev", "*.jsonl.gz")))


class Dev:
    """The development lists as text. Candidates are in the order of their ids, so that equal scores do not follow the order in the file."""

    def __init__(self, data, limit=None):
        self.names, self.langs, self.queries, self.texts, self.labels, self.bm25 = [], [], [], [], [], []
        for path in dev_files(data):
            for x in D.load_lists(path)[:limit]:
                c = sorted(x["candidates"], key=lambda c: str(c["doc_id"]))
                self.names.append(os.path.basename(path)[: -len(".jsonl.gz")])
                self.langs.append(x.get("lang") or "unknown")
                self.queries.append(x["query"])
                self.texts.append([y["text"] for y in c])
                self.labels.append([y["label"] for y in c])
                self.bm25.append([y.get("bm25_rank", len(c) + 1) for y in c])

    def native(self, model, instruction, threads):
        """yes - no of every candidate, list by list, by the program."""
        s = iter(native.score(model, [(q, t) for q, ts in zip(self.queries, self.texts) for t in ts], instruction, threads))
        return [np.array([next(s) for _ in ts]) for ts in self.texts]

    def table(self, scores=None, key=None, by="names"):
        """Mean nDCG@10 by set, or by language (by="langs"). `scores`: one array a list; or `key`: "bm25" or "random" (expected value, 200 shuffles)."""
        rng = np.random.default_rng(0)
        groups = {}
        for n in range(len(self.labels)):
            group, labels, bm25 = getattr(self, by)[n], np.array(self.labels[n]), self.bm25[n]
            if key == "bm25":
                v = ndcg(labels[np.argsort(bm25, kind="stable")].tolist())
            elif key == "random":
                v = np.mean([ndcg(rng.permutation(labels).tolist()) for _ in range(200)])
            else:
                v = ndcg(labels[np.argsort(-scores[n], kind="stable")].tolist())
            groups.setdefault(group, []).append(v)
        t = {k: float(np.mean(v)) for k, v in sorted(groups.items())}
        if by == "names":
            t["MEAN"] = float(np.mean(list(t.values())))
        return t


class Lists(Dev):
    """Development lists, encoded once."""

    def __init__(self, data, tok, limit=None, instruction=DEFAULT_INSTRUCTION, max_document=2048):
        super().__init__(data, limit)
        enc = lambda texts: [np.array(e.ids, np.int64) for e in tok.encode_batch(texts, add_special_tokens=False)]
        self.head = np.concatenate(enc([PREFIX, head_part(instruction)]))
        suffix = enc([SUFFIX])[0]
        docs = [[np.concatenate([t[:max_document], suffix]) for t in enc([document_part(t) for t in ts])] for ts in self.texts]
        self.items = list(zip(enc([query_part(q) for q in self.queries]), docs))

    def scores(self, model, tokens=12000):
        """yes - no of every candidate, list by list."""
        model.eval()
        out, docs = [None] * len(self.items), [d for _, d in self.items]
        longest = [max(map(len, d)) for d in docs]
        order = sorted(range(len(docs)), key=lambda i: (len(docs[i]), longest[i]))
        tensor = lambda x: torch.from_numpy(x).to(model.embed.device)
        i = 0
        with torch.no_grad():
            while i < len(order):
                n = len(docs[order[i]])
                group = []
                while i < len(order) and len(docs[order[i]]) == n:
                    if group and (len(group) + 1) * n * longest[order[i]] > tokens:
                        break
                    group.append(order[i])
                    i += 1
                q, ql = D.pad([self.items[j][0] for j in group])
                d, dl = D.pad([t for j in group for t in docs[j]])
                s = model(*map(tensor, (self.head, q, ql, d, dl)), n).float().cpu().numpy()
                for j, row in zip(group, s.reshape(len(group), n)):
                    out[j] = row
        model.train()
        return out


def load_export(folder, dtype=torch.float32, rounding="none"):
    """rounding: that of the embedding rows in training (model.ROUNDING)"""
    from safetensors.torch import load_file
    from tokenizers import Tokenizer

    from model import CONFIG, Reranker

    with open(os.path.join(folder, "config.json"), encoding="utf8") as f:
        j = json.load(f)
    tok = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    model = Reranker({k: j[k] for k in CONFIG}, tok.token_to_id("yes"), tok.token_to_id("no"), dtype, rounding)
    w = load_file(os.path.join(folder, "model.safetensors"))
    cat = lambda p, *names: torch.cat([w[p + n] for n in names])
    s = {"embed": w["model.embed_tokens.weight"], "norm": w["model.norm.weight"], "answer": model.answer.detach()}
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
    """Greatest difference of yes - no between this code and transformers, its tokenizer and its network, through the whole text of the prompt."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from tokenizers import Tokenizer

    from prompt import body

    model, tok = load_export(folder)
    ref = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    theirs = AutoTokenizer.from_pretrained(folder)
    yes, no = tok.token_to_id("yes"), tok.token_to_id("no")
    enc = lambda t: tok.encode(t, add_special_tokens=False).ids
    worst = 0.0
    files = dev_files(data)
    for n in range(pairs):
        lists = D.load_lists(files[n % len(files)])
        x = lists[n % len(lists)]
        c = x["candidates"][:3]
        q, ql = D.pad([np.array(enc(query_part(x["query"])))])
        d, dl = D.pad([np.array(enc(document_part(y["text"])) + enc(SUFFIX)) for y in c])
        head = np.array(enc(PREFIX) + enc(head_part(DEFAULT_INSTRUCTION)))
        with torch.no_grad():
            mine = model(*map(torch.from_numpy, (head, q, ql, d, dl)), len(c))
            for y, m in zip(c, mine):
                parts = PREFIX, body(DEFAULT_INSTRUCTION, x["query"], y["text"]), SUFFIX
                ids = [i for part in parts for i in theirs(part, add_special_tokens=False).input_ids]
                l = ref(torch.tensor([ids])).logits[0, -1]
                worst = max(worst, abs((l[yes] - l[no] - m).item()))
    return worst


def print_table(columns):
    names = list(next(iter(columns.values())))
    print("| set | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for n in names:
        print(f"| {n} | " + " | ".join(f"{c[n]:.4f}" for c in columns.values()) + " |")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True)
    p.add_argument("--model", required=True, help="exported folder or .gguf file")
    p.add_argument("--instruction", default=DEFAULT_INSTRUCTION)
    p.add_argument("--limit", type=int, help="at most so many queries a set")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--device", default="cpu", help="of a folder: cpu, cuda, cuda:1")
    p.add_argument("--quantised", action="store_true", help="a folder's embedding rows as Q4_1 holds them")
    p.add_argument("--check", action="store_true", help="also compare a folder with transformers; more than 1e-3 is an error")
    p.add_argument("--out", help="write the tables as JSON")
    p.add_argument("--scores", help="write the scores of each query as JSON lines")
    p.add_argument("--against", metavar="JSON", help="the --out of another run on the same lists; print the difference of the means")
    p.add_argument("--drop", type=float, metavar="N", help="with --against: a mean lower than its by more than this is an error")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    result = {}
    if a.model.endswith(".gguf"):
        if a.check or a.quantised:
            p.error("--check and --quantised are for exported folders")
        lists = Dev(a.data, a.limit)
        s = lists.native(a.model, a.instruction, a.threads)
    else:
        if a.check:
            result["check"] = check_against_transformers(a.model, a.data)
            print("greatest |difference| from transformers:", result["check"])
            if not result["check"] < 1e-3:
                raise SystemExit("that is too much")
        model, tok = load_export(a.model, rounding="q4_1" if a.quantised else "none")
        lists = Lists(a.data, tok, a.limit, a.instruction)
        s = lists.scores(model.to(a.device))
    if a.scores:
        with open(a.scores, "w", encoding="utf8") as f:
            for name, labels, row in zip(lists.names, lists.labels, s):
                f.write(json.dumps({"set": name, "labels": labels, "scores": [round(float(v), 4) for v in row]}) + "\n")
    for title, by in (("sets", "names"), ("languages", "langs")):
        columns = {"model": lists.table(s, by=by), "BM25": lists.table(key="bm25", by=by), "random": lists.table(key="random", by=by)}
        count = {n: getattr(lists, by).count(n) for n in columns["model"] if n != "MEAN"}
        result[title] = {**columns, "queries": count}
        print(f"nDCG@10 by {title[:-1]}")
        print_table(columns)
    if a.against:
        other = read_json(a.against)["sets"]
        if other["queries"] != result["sets"]["queries"]:
            raise SystemExit(f"{a.against} is of other lists")
        result["difference"] = result["sets"]["model"]["MEAN"] - other["model"]["MEAN"]
        print(f"mean {result['sets']['model']['MEAN']:.4f}, {result['difference']:+.4f} against {a.against}")
        if a.drop is not None and result["difference"] < -a.drop:
            raise SystemExit(f"the mean fell by more than {a.drop}")
    if a.out:
        write_json(a.out, result)


if __name__ == "__main__":
    main()
